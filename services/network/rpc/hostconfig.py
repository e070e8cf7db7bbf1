"""Answers HostConfigService."""

from typing import Any

from paradrop.network.v1 import hostconfig_pb2 as pb
from paradrop.network.v1 import hostconfig_pb2_grpc

from services.common.documents import bare, from_struct, to_struct, to_value
from services.common.errors import InvalidArgument
from services.common.identity import Role, current_principal
from services.common.timestamps import to_timestamp
from services.network.domain.hostconfig import MAX_CONFIRM_S, MIN_CONFIRM_S, HostConfigs
from services.network.domain.hostdiff import ABSENT, SECRETS, Difference, masked
from services.network.domain.hostschema import HOST_CONFIG_SCHEMA
from services.network.domain.hostversions import HostState, Version
from services.network.domain.unbroken import unbroken
from services.network.rpc.paging import page

SERVICE = pb.DESCRIPTOR.services_by_name["HostConfigService"]
_STATES = {
    "confirmed": pb.HostConfigStatus.STATE_CONFIRMED,
    "probation": pb.HostConfigStatus.STATE_PROBATION,
    "reverted": pb.HostConfigStatus.STATE_REVERTED,
}
_KINDS = {
    "added": pb.HostConfigDifference.KIND_ADDED,
    "removed": pb.HostConfigDifference.KIND_REMOVED,
    "changed": pb.HostConfigDifference.KIND_CHANGED,
}


def shown(document: Any) -> Any:
    """Returns a document as the caller may see it: only owners see keys."""
    return document if current_principal().role >= Role.OWNER else masked(document)


class HostConfigServicer(hostconfig_pb2_grpc.HostConfigServiceServicer):
    """Translates between the wire and the domain."""

    def __init__(self, configs: HostConfigs, managed: bool) -> None:
        self._configs = configs
        self._managed = managed

    async def GetHostConfigSchema(
        self, request: pb.GetHostConfigSchemaRequest, context: Any
    ) -> pb.GetHostConfigSchemaResponse:
        """Returns the JSON Schema."""
        return pb.GetHostConfigSchemaResponse(schema=to_struct(HOST_CONFIG_SCHEMA))

    async def ValidateHostConfig(
        self, request: pb.ValidateHostConfigRequest, context: Any
    ) -> pb.ValidateHostConfigResponse:
        """Checks a document without altering anything."""
        violations, found = self._configs.check(bare(request.config))
        return pb.ValidateHostConfigResponse(
            valid=not violations,
            violations=[
                pb.HostConfigViolation(field=violation.field, description=violation.description)
                for violation in violations
            ],
            differences=map(_difference, found),
        )

    async def ListHostConfigVersions(
        self, request: pb.ListHostConfigVersionsRequest, context: Any
    ) -> pb.ListHostConfigVersionsResponse:
        """Lists the versions that are kept."""
        versions, token = page(
            await self._configs.versions(), lambda v: str(v.version), request.page_size, request.page_token
        )
        return pb.ListHostConfigVersionsResponse(versions=map(self._version, versions), next_page_token=token)

    async def GetHostConfigVersion(
        self, request: pb.GetHostConfigVersionRequest, context: Any
    ) -> pb.GetHostConfigVersionResponse:
        """Returns one version with its document."""
        version, document = await self._configs.version(request.version)
        return pb.GetHostConfigVersionResponse(
            version=self._version(version), config=to_struct(shown(document))
        )

    async def DiffHostConfig(
        self, request: pb.DiffHostConfigRequest, context: Any
    ) -> pb.DiffHostConfigResponse:
        """Tells what differs between two versions."""
        found = await self._configs.diff(request.from_version, request.to_version)
        return pb.DiffHostConfigResponse(differences=map(_difference, found))

    async def GetHostConfigStatus(
        self, request: pb.GetHostConfigStatusRequest, context: Any
    ) -> pb.GetHostConfigStatusResponse:
        """Returns which version is in force."""
        return pb.GetHostConfigStatusResponse(status=self._status(self._configs.state))

    async def ConfirmHostConfig(
        self, request: pb.ConfirmHostConfigRequest, context: Any
    ) -> pb.ConfirmHostConfigResponse:
        """Ends the probation."""
        return pb.ConfirmHostConfigResponse(status=self._status(await self._configs.confirm(request.version)))

    async def ApplyHostConfig(
        self, request: pb.ApplyHostConfigRequest, context: Any
    ) -> pb.ApplyHostConfigResponse:
        """Puts a document into force on probation."""
        confirm_s = request.confirm_timeout_s
        if request.change_id < 1:
            raise InvalidArgument("change_id must be that of a change.", field="change_id")
        if confirm_s and not MIN_CONFIRM_S <= confirm_s <= MAX_CONFIRM_S:
            raise InvalidArgument(
                f"confirm_timeout_s must be from {MIN_CONFIRM_S} to {MAX_CONFIRM_S}.",
                field="confirm_timeout_s",
            )
        state = await unbroken(
            self._configs.apply(from_struct(request.config), request.change_id, request.author, confirm_s)
        )
        return pb.ApplyHostConfigResponse(status=self._status(state))

    async def RevertHostConfig(
        self, request: pb.RevertHostConfigRequest, context: Any
    ) -> pb.RevertHostConfigResponse:
        """Brings the version before a change back."""
        state = await unbroken(self._configs.revert(request.change_id))
        return pb.RevertHostConfigResponse(status=self._status(state))

    def _version(self, version: Version) -> pb.HostConfigVersion:
        return pb.HostConfigVersion(
            version=version.version,
            create_time=to_timestamp(version.create_time_s),
            author=version.author,
            change_id=version.change_id,
            in_force=version.version == self._configs.state.version,
        )

    def _status(self, state: HostState) -> pb.HostConfigStatus:
        status = pb.HostConfigStatus(
            version=state.version,
            state=_STATES[state.state],
            change_id=state.change_id,
            reason=state.reason,
            message=state.message,
            waits_for_confirmation=state.waits_for_confirmation and state.state == "probation",
            host_managed=self._managed,
        )
        if state.state == "probation":
            status.deadline.CopyFrom(to_timestamp(state.deadline_s))
        return status


def _difference(difference: Difference) -> pb.HostConfigDifference:
    message = pb.HostConfigDifference(path=difference.path, kind=_KINDS[difference.kind])
    name = difference.path.rpartition("/")[2]
    for field, value in (("before", difference.before), ("after", difference.after)):
        if value is not ABSENT:
            # A secret that has changed is shown as changed, to nobody as what it is.
            getattr(message, field).CopyFrom(to_value(masked(value, name if name in SECRETS else "")))
    return message

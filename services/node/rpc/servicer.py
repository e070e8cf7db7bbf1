"""Answers NodeService: what the node is and how it does."""

import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from paradrop.node.v1 import node_pb2 as pb
from paradrop.node.v1 import node_pb2_grpc

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound
from services.common.options import Options
from services.node.domain.cached import Cached
from services.node.domain.capabilities import Capabilities
from services.node.domain.diagnosis import diagnose
from services.node.domain.hardware import masked
from services.node.domain.inventory import Inventory
from services.node.domain.ports import FactSource, Lines
from services.node.domain.provision import Provisioning
from services.node.domain.ssh_keys import SshKeys
from services.node.rpc import documents
from services.node.rpc.logs import log_responses
from services.node.rpc.pages import page
from services.node.rpc.streams import reports

SERVICE = pb.DESCRIPTOR.services_by_name["NodeService"]
FEATURES = ("audio", "hostapd-control")
"""Interfaces that clients may look for; whether there is sound, or a radio, is another matter."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the servicer translates for."""

    inventory: Inventory
    capabilities: Capabilities
    telemetry: Cached[pb.GetTelemetryResponse]
    status: Cached[pb.GetStatusResponse]
    provisioning: Provisioning
    options: Options
    keys: SshKeys
    lines: Lines
    facts: FactSource


class NodeServicer(node_pb2_grpc.NodeServiceServicer):
    """Identity, information, telemetry and settings of the node."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # Both change only when a device does: a call costs a comparison.
        self._hardware_of: Any = None
        self._hardware = pb.GetHardwareResponse()

    async def GetHardware(self, request: pb.GetHardwareRequest, context: Any) -> pb.GetHardwareResponse:
        """Returns the hardware."""
        hardware = self._parts.inventory.hardware
        if hardware is not self._hardware_of:
            self._hardware_of, self._hardware = hardware, documents.to_hardware(hardware)
        return self._hardware

    async def GetSoftware(self, request: pb.GetSoftwareRequest, context: Any) -> pb.GetSoftwareResponse:
        """Returns the versions of what runs."""
        return documents.to_software(
            self._parts.inventory.software, int(time.clock_gettime(time.CLOCK_BOOTTIME))
        )

    async def GetEnvironment(
        self, request: pb.GetEnvironmentRequest, context: Any
    ) -> pb.GetEnvironmentResponse:
        """Returns the environment without its secrets."""
        return pb.GetEnvironmentResponse(environment=masked(os.environ))

    async def GetFeatures(self, request: pb.GetFeaturesRequest, context: Any) -> pb.GetFeaturesResponse:
        """Returns the optional features."""
        return pb.GetFeaturesResponse(features=FEATURES)

    async def GetTelemetry(self, request: pb.GetTelemetryRequest, context: Any) -> pb.GetTelemetryResponse:
        """Returns the report of the load."""
        return await self._parts.telemetry.get()

    async def WatchTelemetry(
        self, request: pb.WatchTelemetryRequest, context: Any
    ) -> AsyncIterator[pb.WatchTelemetryResponse]:
        """Streams the report of the load."""
        async for response in reports(self._parts.telemetry, request.interval_s):
            yield response

    async def GetCapabilities(
        self, request: pb.GetCapabilitiesRequest, context: Any
    ) -> pb.GetCapabilitiesResponse:
        """Returns what the node can do."""
        found = await self._parts.capabilities.find()
        return pb.GetCapabilitiesResponse(
            version=found.version,
            services=[
                pb.GetCapabilitiesResponse.Service(name=name, status=status, interfaces=interfaces)
                for name, status, interfaces in found.services
            ],
            radios=[
                pb.GetCapabilitiesResponse.Radio(
                    id=radio.id,
                    phy=radio.phy,
                    driver=radio.driver,
                    interfaces=radio.interfaces,
                    spectral=radio.spectral,
                )
                for radio in self._parts.inventory.hardware.radios
            ],
            engine=pb.GetCapabilitiesResponse.Engine(available=bool(found.engine_available)),
            features=FEATURES,
        )

    async def ListIssues(self, request: pb.ListIssuesRequest, context: Any) -> pb.ListIssuesResponse:
        """Lists what is wrong."""
        issues = [
            pb.Issue(
                id=issue.id,
                severity=pb.Issue.Severity.Value(f"SEVERITY_{issue.severity.upper()}"),
                message=issue.message,
                suggestion=issue.suggestion,
                fixable=issue.fixable,
            )
            for issue in diagnose(await self._parts.facts.gather())
        ]
        wanted, token = page(issues, request.page_size, request.page_token)
        return pb.ListIssuesResponse(issues=wanted, next_page_token=token)

    async def FixIssue(self, request: pb.FixIssueRequest, context: Any) -> pb.FixIssueResponse:
        """Does what the suggestion of an issue says."""
        found = {issue.id: issue for issue in diagnose(await self._parts.facts.gather())}
        issue = found.get(request.issue)
        if issue is None:
            raise NotFound(
                f"The node has no issue {request.issue!r} now; list them with GET /api/v1/info/issues.",
                reason="ISSUE_NOT_FOUND",
                issue=request.issue,
            )
        if not issue.fixable:
            raise FailedPrecondition(
                f"Only a person can solve this: {issue.suggestion}",
                reason="ISSUE_NOT_FIXABLE",
                issue=issue.id,
            )
        message = await self._parts.facts.fix(issue.id)
        left = {issue.id for issue in diagnose(await self._parts.facts.gather())}
        return pb.FixIssueResponse(message=message, fixed=issue.id not in left)

    async def GetPdid(self, request: pb.GetPdidRequest, context: Any) -> pb.GetPdidResponse:
        """Returns the id that the controller knows this node by."""
        return pb.GetPdidResponse(pdid=self._parts.provisioning.present.router_id or "")

    async def GetProvision(self, request: pb.GetProvisionRequest, context: Any) -> pb.GetProvisionResponse:
        """Returns how the node stands with its controller."""
        provisioning = self._parts.provisioning
        return documents.to_provision(provisioning.present, provisioning.connected)

    async def SetProvision(self, request: pb.SetProvisionRequest, context: Any) -> pb.SetProvisionResponse:
        """Ties the node to a controller."""
        provisioning = self._parts.provisioning
        changed = await provisioning.set(
            request.router_id, request.apitoken, request.pdserver, request.wamp_router
        )
        return documents.to_provisioned(changed, provisioning.present, provisioning.connected)

    async def GetController(self, request: pb.GetControllerRequest, context: Any) -> pb.GetControllerResponse:
        """Returns how the connection to the controller is."""
        return documents.to_controller(self._parts.provisioning)

    async def GetSettings(self, request: pb.GetSettingsRequest, context: Any) -> pb.GetSettingsResponse:
        """Returns the settings without their secrets."""
        reply = pb.GetSettingsResponse()
        reply.settings.update(self._parts.options.shown())
        return reply

    async def ListSshKeys(self, request: pb.ListSshKeysRequest, context: Any) -> pb.ListSshKeysResponse:
        """Lists the keys of a user."""
        keys = await self._parts.keys.keys(request.user)
        wanted, token = page(keys, request.page_size, request.page_token)
        return pb.ListSshKeysResponse(keys=wanted, next_page_token=token)

    async def AddSshKey(self, request: pb.AddSshKeyRequest, context: Any) -> pb.AddSshKeyResponse:
        """Adds a key to a user."""
        return pb.AddSshKeyResponse(key=await self._parts.keys.add(request.user, request.key))

    async def RemoveSshKey(self, request: pb.RemoveSshKeyRequest, context: Any) -> pb.RemoveSshKeyResponse:
        """Removes a key of a user."""
        if not request.key:
            raise InvalidArgument("Say which key.", reason="SSH_KEY_INVALID", field="key")
        return pb.RemoveSshKeyResponse(key=await self._parts.keys.remove(request.user, request.key))

    async def StartUpdate(self, request: pb.StartUpdateRequest, context: Any) -> pb.StartUpdateResponse:
        """Asks the controller for changes."""
        await self._parts.provisioning.poll()
        return pb.StartUpdateResponse(success=True)

    async def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:
        """Returns the load in the form of the status socket."""
        return await self._parts.status.get()

    async def StreamLogs(
        self, request: pb.StreamLogsRequest, context: Any
    ) -> AsyncIterator[pb.StreamLogsResponse]:
        """Streams the log of all services."""
        async for response in log_responses(self._parts.lines, request):
            yield response

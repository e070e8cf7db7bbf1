"""The network service, asked with the node's own token."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from paradrop.network.v1 import (
    chute_networks_pb2,
    chute_networks_pb2_grpc,
    hostconfig_pb2,
    hostconfig_pb2_grpc,
    network_pb2,
    network_pb2_grpc,
)

from services.chutes.domain.chute import Actor
from services.chutes.domain.hostconfig import Verdict
from services.chutes.domain.networkport import WantedNetwork
from services.common.channels import service_metadata
from services.common.documents import from_struct, to_struct
from services.common.errors import InvalidArgument
from services.common.statuses import from_grpc

TIMEOUT_S = 10.0
APPLY_TIMEOUT_S = 60.0
_STATES: Mapping[int, Any] = {
    hostconfig_pb2.HostConfigStatus.STATE_CONFIRMED: "confirmed",
    hostconfig_pb2.HostConfigStatus.STATE_PROBATION: "probation",
    hostconfig_pb2.HostConfigStatus.STATE_REVERTED: "reverted",
}


class _Caller:
    def __init__(self, token_file: Path) -> None:
        self._token_file = token_file

    async def _call(self, rpc: Any, request: Any, timeout_s: float) -> Any:
        try:
            return await rpc(request, timeout=timeout_s, metadata=service_metadata(self._token_file))
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error) from error


class ChuteNetworks(_Caller):
    """Asks ChuteNetworkService."""

    def __init__(self, channel: grpc.aio.Channel, token_file: Path) -> None:
        super().__init__(token_file)
        self._stub = chute_networks_pb2_grpc.ChuteNetworkServiceStub(channel)

    async def apply(
        self,
        chute: str,
        owner: Actor,
        wanted: Sequence[WantedNetwork],
        system_dir: Path,
        validate_only: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        """Gives a chute exactly these networks and returns what its cache says of them."""
        request = chute_networks_pb2.ApplyChuteNetworksRequest(
            chute=_owner(chute, owner),
            networks=[
                chute_networks_pb2.WantedNetwork(
                    name=network.name,
                    section=network.section,
                    service=network.service,
                    definition=to_struct(network.definition),
                )
                for network in wanted
            ],
            system_dir=str(system_dir),
            validate_only=validate_only,
        )
        answer = await self._call(self._stub.ApplyChuteNetworks, request, APPLY_TIMEOUT_S)
        return [from_struct(item) for item in answer.network_interfaces]

    async def attach(self, chute: str, pids: Mapping[str, int]) -> None:
        """Puts the interfaces of a chute into its containers."""
        containers = [
            chute_networks_pb2.ChuteContainer(service=service, pid=pid) for service, pid in pids.items()
        ]
        request = chute_networks_pb2.AttachChuteNetworksRequest(chute=chute, containers=containers)
        await self._call(self._stub.AttachChuteNetworks, request, APPLY_TIMEOUT_S)

    async def release(self, chute: str) -> None:
        """Takes a chute's networks away and forgets it."""
        request = chute_networks_pb2.ReleaseChuteNetworksRequest(chute=chute)
        await self._call(self._stub.ReleaseChuteNetworks, request, APPLY_TIMEOUT_S)

    async def sync(self, owners: Mapping[str, Actor], forget_others: bool, busy: Collection[str]) -> None:
        """Tells which chutes there are."""
        request = chute_networks_pb2.SyncChutesRequest(
            chutes=[_owner(chute, owner) for chute, owner in owners.items()],
            forget_others=forget_others,
            busy=busy,
        )
        await self._call(self._stub.SyncChutes, request, APPLY_TIMEOUT_S)


def _owner(chute: str, owner: Actor) -> chute_networks_pb2.ChuteOwner:
    return chute_networks_pb2.ChuteOwner(chute=chute, owner=owner.name, owner_domain=owner.domain)


class NetworkHostConfiguration(_Caller):
    """Asks HostConfigService."""

    def __init__(self, channel: grpc.aio.Channel, token_file: Path) -> None:
        super().__init__(token_file)
        self._stub = hostconfig_pb2_grpc.HostConfigServiceStub(channel)
        self._network = network_pb2_grpc.NetworkServiceStub(channel)

    async def check(self, document: Mapping[str, Any]) -> None:
        """Raises InvalidArgument (HOST_CONFIG_INVALID) with each wrong field; alters nothing."""
        request = hostconfig_pb2.ValidateHostConfigRequest(config=to_struct({"config": document}))
        answer = await self._call(self._stub.ValidateHostConfig, request, TIMEOUT_S)
        if not answer.valid:
            violations = [
                (f"config.{violation.field}" if violation.field else "config", violation.description)
                for violation in answer.violations
            ]
            field, description = violations[0]
            more = f" There are {len(violations) - 1} more places." if len(violations) > 1 else ""
            raise InvalidArgument(
                f"The host configuration is wrong: {field} {description}{more}",
                reason="HOST_CONFIG_INVALID",
                field=field,
                violations=violations,
            )

    async def default(self) -> Mapping[str, Any]:
        """Returns the document with which a node with this hardware begins."""
        request = network_pb2.GenerateHostConfigRequest()
        return from_struct((await self._call(self._network.GenerateHostConfig, request, TIMEOUT_S)).config)

    async def apply(
        self, document: Mapping[str, Any], change_id: int, author: str, confirm_timeout_s: int
    ) -> None:
        """Puts a document into force on probation."""
        request = hostconfig_pb2.ApplyHostConfigRequest(
            config=to_struct(document),
            change_id=change_id,
            author=author,
            confirm_timeout_s=confirm_timeout_s,
        )
        await self._call(self._stub.ApplyHostConfig, request, APPLY_TIMEOUT_S)

    async def verdict(self) -> Verdict:
        """Returns how the configuration in force fares."""
        request = hostconfig_pb2.GetHostConfigStatusRequest()
        status = (await self._call(self._stub.GetHostConfigStatus, request, TIMEOUT_S)).status
        return Verdict(
            _STATES[status.state],
            status.change_id,
            status.waits_for_confirmation,
            status.reason,
            status.message,
        )

    async def revert(self, change_id: int) -> None:
        """Brings the version before a change back, if the one in force is of this change."""
        request = hostconfig_pb2.RevertHostConfigRequest(change_id=change_id)
        await self._call(self._stub.RevertHostConfig, request, APPLY_TIMEOUT_S)

"""Asks the chute and the network service about the chutes of this node."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
from paradrop.chutes.v1 import chutes_pb2, chutes_pb2_grpc, processes_pb2, processes_pb2_grpc
from paradrop.network.v1 import chute_networks_pb2, chute_networks_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import Unavailable
from services.node.domain.ports import ChuteFacts

TIMEOUT_S = 5.0
Metadata = tuple[tuple[str, str], ...]


class ChuteClient:
    """The chutes of this node, as the services that own them tell."""

    def __init__(self, chutes: grpc.aio.Channel, network: grpc.aio.Channel, token_file: Path) -> None:
        self._chutes = chutes_pb2_grpc.ChuteServiceStub(chutes)
        self._processes = processes_pb2_grpc.ChuteProcessServiceStub(chutes)
        self._networks = chute_networks_pb2_grpc.ChuteNetworkServiceStub(network)
        self._token_file = token_file

    async def facts(self) -> Sequence[ChuteFacts]:
        """Returns all chutes; raises Unavailable while the chute service does not answer."""
        metadata = service_metadata(self._token_file)
        try:
            listed = await self._chutes.ListChutes(
                chutes_pb2.ListChutesRequest(), metadata=metadata, timeout=TIMEOUT_S
            )
            if not listed.chutes:
                return []
            told = await self._processes.GetChuteProcesses(
                processes_pb2.GetChuteProcessesRequest(), metadata=metadata, timeout=TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from None
        pids: dict[str, int] = {}
        for process in told.processes:
            pids.setdefault(process.chute, process.pid)
        interfaces = await self._interfaces(metadata)
        return [
            ChuteFacts(
                name=chute.name,
                state=_engine_word(chute),
                pid=pids.get(chute.name),
                interfaces=interfaces.get(chute.name, {}),
            )
            for chute in listed.chutes
        ]

    async def engine_available(self) -> bool:
        """Returns whether the container engine answers."""
        try:
            told = await self._processes.GetChuteProcesses(
                processes_pb2.GetChuteProcessesRequest(),
                metadata=service_metadata(self._token_file),
                timeout=TIMEOUT_S,
            )
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from None
        return bool(told.engine_available)

    async def _interfaces(self, metadata: Metadata) -> Mapping[str, Mapping[str, str]]:
        try:
            reply = await self._networks.ListChuteInterfaces(
                chute_networks_pb2.ListChuteInterfacesRequest(), metadata=metadata, timeout=TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            # A network service that is down: the rest of the report is still true.
            return {}
        found: dict[str, dict[str, str]] = {}
        for interface in reply.interfaces:
            found.setdefault(interface.chute, {})[interface.interface] = interface.type
        return found


def _engine_word(chute: chutes_pb2.Chute) -> str:
    """Returns a state of the engine also for a chute that should be stopped: "missing" once it is."""
    if chute.state != "stopped":
        return chute.state
    return next((chute.services[name].state for name in sorted(chute.services)), "missing")


def _unavailable(error: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(
        "The chute service does not answer now; try again in a moment.",
        reason="CHUTES_UNAVAILABLE",
        status=error.code().name,
    )

"""Asks the chute and the network service about the chutes of this node."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
from paradrop.chutes.v1 import chutes_pb2, chutes_pb2_grpc, processes_pb2, processes_pb2_grpc
from paradrop.network.v1 import network_pb2, network_pb2_grpc

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
        self._networks = network_pb2_grpc.NetworkServiceStub(network)
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
        return [
            ChuteFacts(
                name=chute.name,
                state=chute.state,
                pid=pids.get(chute.name),
                interfaces=await self._interfaces(chute.name, metadata),
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

    async def _interfaces(self, chute: str, metadata: Metadata) -> Mapping[str, str]:
        try:
            reply = await self._networks.ListChuteNetworks(
                network_pb2.ListChuteNetworksRequest(chute=chute), metadata=metadata, timeout=TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            # No networks, or a network service that is down: the rest of the report is still true.
            return {}
        return {network.interface: network.type for network in reply.networks}


def _unavailable(error: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(
        "The chute service does not answer now; try again in a moment.",
        reason="CHUTES_UNAVAILABLE",
        status=error.code().name,
    )

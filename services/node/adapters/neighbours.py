"""Asks the services of the node how they are and what they offer."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1 import health_pb2, health_pb2_grpc
from paradrop.network.v1 import network_pb2, network_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import DomainError
from services.common.process import VERSION
from services.node.adapters.chutes import ChuteClient
from services.node.domain.capabilities import Abilities

TIMEOUT_S = 1.0
UNREACHABLE = "UNREACHABLE"


class Neighbours:
    """The services of this node, this one included."""

    def __init__(
        self, channels: Mapping[str, grpc.aio.Channel], chutes: ChuteClient, token_file: Path
    ) -> None:
        self._health = {name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()}
        self._network = network_pb2_grpc.NetworkServiceStub(channels["network"])
        self._chutes = chutes
        self._token_file = token_file
        self._interfaces: Mapping[str, Sequence[str]] | None = None

    async def find(self) -> Abilities:
        """Returns version, services and engine."""
        if self._interfaces is None:
            self._interfaces = await asyncio.to_thread(_interfaces)
        healths, engine = await asyncio.gather(self.healths(), self.engine_available())
        services = [(name, health, self._interfaces.get(name, ())) for name, health in healths.items()]
        return Abilities(VERSION, services, engine)

    async def healths(self) -> dict[str, str]:
        """Returns the health of each service, such as "SERVING"."""
        states = await asyncio.gather(*map(_health, self._health.values()))
        return dict(zip(self._health, states, strict=True))

    async def engine_available(self) -> bool | None:
        """Returns whether the container engine answers; None if nobody can say."""
        try:
            return await self._chutes.engine_available()
        except DomainError:
            return None

    async def host_config(self) -> dict[str, Any]:
        """Returns the host configuration; empty while it cannot be had."""
        try:
            reply = await self._network.GetHostConfig(
                network_pb2.GetHostConfigRequest(),
                metadata=service_metadata(self._token_file),
                timeout=TIMEOUT_S,
            )
        except (grpc.aio.AioRpcError, DomainError):
            return {}
        return json_format.MessageToDict(reply.config)

    async def wanted_radios(self) -> Sequence[str]:
        """Returns the ids of the radios that the host configuration names."""
        radios = (await self.host_config()).get("wifi") or ()
        return [
            radio["id"] for radio in radios if isinstance(radio, dict) and isinstance(radio.get("id"), str)
        ]


async def _health(stub: health_pb2_grpc.HealthStub) -> str:
    try:
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return UNREACHABLE
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def _interfaces() -> dict[str, list[str]]:
    content = resources.files("paradrop").joinpath("descriptors.binpb").read_bytes()
    found: dict[str, list[str]] = {}
    for file in FileDescriptorSet.FromString(content).file:
        if file.package.startswith("paradrop."):
            names = [f"{file.package}.{service.name}" for service in file.service]
            found.setdefault(file.package.split(".")[1], []).extend(names)
    return found

"""The network service on a socket, over the kernel of a network namespace, and callers of every kind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from paradrop.network.v1 import (
    chute_networks_pb2,
    chute_networks_pb2_grpc,
    hostconfig_pb2_grpc,
    network_pb2_grpc,
)

from services.common.documents import to_struct
from services.network.adapters.links import KernelLinks
from services.network.adapters.nft import NftFirewall
from services.network.app import serving_networks
from services.network.assembly import Host
from tests.network.conftest import Namespace
from tests.support.publisher import Publisher
from tests.support.settings import settings_in

CHUTES = chute_networks_pb2
SERVICE = "__paradrop__"


class Client:
    """Calls RPCs of all services of the network service by their names."""

    def __init__(self, channel: grpc.aio.Channel, token: str | None) -> None:
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._stubs = (
            network_pb2_grpc.NetworkServiceStub(channel),
            hostconfig_pb2_grpc.HostConfigServiceStub(channel),
            chute_networks_pb2_grpc.ChuteNetworkServiceStub(channel),
        )

    async def __call__(self, rpc: str, request: Any) -> Any:
        stub = next(stub for stub in self._stubs if hasattr(stub, rpc))
        return await getattr(stub, rpc)(request, metadata=self._metadata, timeout=30)

    async def refused(self, rpc: str, request: Any) -> tuple[str, str]:
        """Returns status and reason of a call that has to be refused."""
        try:
            await self(rpc, request)
        except grpc.aio.AioRpcError as error:
            return error.code().name, reason_of(error)
        raise AssertionError(f"{rpc} was not refused")

    async def apply(self, chute: str, *networks: Any, owner: str = "user", **more: Any) -> Any:
        """Gives a chute networks."""
        request = CHUTES.ApplyChuteNetworksRequest(
            chute=CHUTES.ChuteOwner(chute=chute, owner=owner, owner_domain="localhost"),
            networks=networks,
            **more,
        )
        return await self("ApplyChuteNetworks", request)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return info.reason


def wanted(name: str, service: str = "main", section: str = "", **definition: Any) -> Any:
    """Returns a network that a chute asks for."""
    return CHUTES.WantedNetwork(name=name, service=service, section=section, definition=to_struct(definition))


def document(message: struct_pb2.Struct) -> dict[str, Any]:
    from services.common.documents import from_struct

    return from_struct(message)


class Served:
    """A running service."""

    def __init__(self, channel: grpc.aio.Channel, publisher: Publisher) -> None:
        self.channel = channel
        self.publisher = publisher

    def client(self, name: str | None = "admin") -> Client:
        """Returns a client with the token of a user, a chute or the services; None has no token."""
        if name is None:
            return Client(self.channel, None)
        role = self.publisher.principals["users"].get(name, {}).get("role", "owner")
        return Client(self.channel, self.publisher.token(name, role=role))

    @property
    def services(self) -> Client:
        """A client with the token of the node's own services."""
        return self.client(SERVICE)


@asynccontextmanager
async def serve(home: Path, host: Namespace | None = None, **environment: str) -> AsyncIterator[Served]:
    """Serves over the kernel of a namespace; over that of this machine, left alone, if there is none."""
    with settings_in(home, **environment) as settings:
        settings.prepare()
        publisher = await asyncio.to_thread(Publisher, settings.public_dir)
        kernel = None
        if host is not None:
            kernel = Host(KernelLinks(host.path), NftFirewall("ip", "netns", "exec", host.name))
        async with (
            serving_networks(settings, host=kernel, check_timeout_s=2.0),
            grpc.aio.insecure_channel(settings.addresses["network"]) as channel,
        ):
            yield Served(channel, publisher)

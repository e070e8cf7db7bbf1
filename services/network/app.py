"""Builds the network service and serves it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from paradrop.network.v1 import network_pb2_grpc, wireless_pb2_grpc

from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings
from services.network import wireless
from services.network.domain.targets import NetworkTable
from services.network.domain.wireless import Targets
from services.network.rpc import wireless as wireless_rpc
from services.network.rpc.servicer import SERVICE, NetworkServicer


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """Serves for the time of the context."""
    async with serving_networks(settings, NetworkTable()):
        yield


@asynccontextmanager
async def serving_networks(settings: Settings, targets: Targets) -> AsyncIterator[wireless.WirelessParts]:
    """Serves the networks that `targets` knows."""
    state_dir = await asyncio.to_thread(settings.state_dir, "network")
    async with wireless.opened(state_dir, settings.runtime) as parts:
        servicer = NetworkServicer(  # type: ignore[abstract]  # leave_pending defines the rest.
            targets, parts.access_points, parts.book, parts.wireless
        )
        radio_servicer = wireless_rpc.WirelessServicer(
            targets, parts.access_points, parts.wireless, parts.book, parts.leases, parts.lists
        )

        def register(server: grpc.aio.Server) -> None:
            network_pb2_grpc.add_NetworkServiceServicer_to_server(servicer, server)
            wireless_pb2_grpc.add_WirelessServiceServicer_to_server(radio_servicer, server)

        names = [SERVICE.full_name, wireless_rpc.SERVICE.full_name]
        verifier = TokenVerifier(settings.public_dir)
        async with serving(settings.addresses["network"], names, register, verifier):
            yield parts

"""Builds the network service and serves it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from paradrop.network.v1 import network_pb2_grpc, wireless_pb2_grpc

from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings
from services.common.tls import Certificate, certificate_of
from services.network import assembly, wireless
from services.network.domain.hostconfig import CHECK_TIMEOUT_S
from services.network.domain.wireless import Targets
from services.network.rpc import wireless as wireless_rpc
from services.network.rpc.servicer import SERVICE, NetworkServicer


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Certificate | None]:
    """Serves for the time of the context, and yields the certificate with which it does."""
    certificate = await asyncio.to_thread(certificate_of, settings)
    async with serving_networks(settings, certificate=certificate):
        yield certificate


@asynccontextmanager
async def serving_networks(
    settings: Settings,
    targets: Targets | None = None,
    host: assembly.Host | None = None,
    check_timeout_s: float = CHECK_TIMEOUT_S,
    certificate: Certificate | None = None,
) -> AsyncIterator[wireless.WirelessParts]:
    """Serves the networks of this machine's kernel, or of another; `targets` may know other access points."""
    state_dir = await asyncio.to_thread(settings.state_dir, "network")
    async with (
        wireless.opened(state_dir, settings.runtime, stand_in=settings.standin_radio) as parts,
        assembly.opened(settings, parts, host, check_timeout_s) as networks,
    ):
        known = targets or networks.lookup
        servicer = NetworkServicer(networks, known, parts.access_points, parts.book, parts.wireless)
        radio_servicer = wireless_rpc.WirelessServicer(
            known, parts.access_points, parts.wireless, parts.book, parts.leases, parts.lists
        )

        def register(server: grpc.aio.Server) -> None:
            network_pb2_grpc.add_NetworkServiceServicer_to_server(servicer, server)
            wireless_pb2_grpc.add_WirelessServiceServicer_to_server(radio_servicer, server)
            assembly.register(networks, server, settings.host_network == "managed")

        names = [SERVICE.full_name, wireless_rpc.SERVICE.full_name, *assembly.SERVICE_NAMES]
        verifier = TokenVerifier(settings.public_dir)
        async with serving(settings.addresses["network"], names, register, verifier, certificate=certificate):
            yield parts

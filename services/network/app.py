"""Builds the network service and serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from paradrop.network.v1 import network_pb2_grpc

from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings
from services.network.rpc.servicer import SERVICE, NetworkServicer


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """Serves for the time of the context."""
    servicer = NetworkServicer()  # type: ignore[abstract]  # leave_pending defines the rest.

    def register(server: grpc.aio.Server) -> None:
        network_pb2_grpc.add_NetworkServiceServicer_to_server(servicer, server)

    verifier = TokenVerifier(settings.public_dir)
    async with serving(settings.addresses["network"], [SERVICE.full_name], register, verifier):
        yield

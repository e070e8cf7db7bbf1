"""Builds the airshark service and serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from paradrop.airshark.v1 import airshark_pb2_grpc

from services.airshark.rpc.servicer import SERVICE, AirsharkServicer
from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """Serves for the time of the context."""
    servicer = AirsharkServicer()  # type: ignore[abstract]  # leave_pending defines the rest.

    def register(server: grpc.aio.Server) -> None:
        airshark_pb2_grpc.add_AirsharkServiceServicer_to_server(servicer, server)

    verifier = TokenVerifier(settings.public_dir)
    async with serving(settings.addresses["airshark"], [SERVICE.full_name], register, verifier):
        yield

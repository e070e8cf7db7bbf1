"""Builds the node service and serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from paradrop.node.v1 import audio_pb2_grpc, node_pb2_grpc

from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings
from services.node.rpc.servicer import AUDIO_SERVICE, SERVICE, AudioServicer, NodeServicer


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """Serves for the time of the context."""
    node = NodeServicer()  # type: ignore[abstract]  # leave_pending defines the rest.
    audio = AudioServicer()  # type: ignore[abstract]  # leave_pending defines the rest.

    def register(server: grpc.aio.Server) -> None:
        node_pb2_grpc.add_NodeServiceServicer_to_server(node, server)
        audio_pb2_grpc.add_AudioServiceServicer_to_server(audio, server)

    verifier = TokenVerifier(settings.public_dir)
    names = [SERVICE.full_name, AUDIO_SERVICE.full_name]
    async with serving(settings.addresses["node"], names, register, verifier):
        yield

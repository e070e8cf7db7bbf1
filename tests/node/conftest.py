"""A node service on a real socket, beside services that are not there or stand-ins on real sockets."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from paradrop.node.v1 import audio_pb2_grpc, node_pb2_grpc

from services.common import channels, server
from services.common.settings import Settings
from services.node import app
from services.node.adapters import chutes, lines, neighbours
from tests.support.identity import Issuer
from tests.support.settings import settings_in


@dataclass
class Node:
    """A running node service and a client that has logged in."""

    settings: Settings
    stub: Any
    audio: Any
    metadata: tuple[tuple[str, str], ...]

    async def call(self, rpc: str, request: Any) -> Any:
        return await getattr(self.stub, rpc)(request, metadata=self.metadata, timeout=20)

    async def refusal(self, rpc: str, request: Any) -> tuple[str, str]:
        """Returns code and reason of a call that is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.call(rpc, request)
        return reason_of(raised.value)


def reason_of(error: grpc.aio.AioRpcError) -> tuple[str, str]:
    status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return error.code().name, info.reason


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits neither long for services that are not there nor, at the end, for watchers."""
    monkeypatch.setattr(channels, "FIRST_RETRY_S", 0.005)
    monkeypatch.setattr(server, "SHUTDOWN_GRACE_S", 0.1)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits but a moment for the other services: none of them is there."""
    for module in (chutes, lines, neighbours):
        monkeypatch.setattr(module, "TIMEOUT_S", 0.2)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    with settings_in(tmp_path / "home") as settings:
        settings.prepare()
        token = Issuer(settings.public_dir).token()
        settings.service_token_file.write_text(token)
        async with (
            app.running(settings),
            grpc.aio.insecure_channel(settings.addresses["node"]) as channel,
        ):
            yield Node(
                settings,
                node_pb2_grpc.NodeServiceStub(channel),
                audio_pb2_grpc.AudioServiceStub(channel),
                (("authorization", f"Bearer {token}"),),
            )

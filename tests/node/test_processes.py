"""Services in processes of their own: the log of the node is that of all of them."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from services.common.channels import service_metadata
from services.common.settings import Settings
from tests.support.settings import settings_in

pytestmark = pytest.mark.e2e

PARTS = ("auth", "chutes", "node")


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A node of three processes, without an engine."""
    with settings_in(tmp_path / "home") as settings, contextlib.ExitStack() as stack:
        environment = os.environ | {
            "PARADROP_HOME": str(settings.home),
            "PARADROP_RUNTIME": str(settings.runtime),
            "DOCKER_HOST": f"unix://{tmp_path}/no-engine.sock",
        }
        for part in PARTS:
            command = [Path(sys.executable).with_name("paradrop"), "serve", part]
            process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        yield settings


def test_lines_of_all_processes_are_joined_in_their_order(settings: Settings) -> None:
    deadline_s = time.monotonic() + 40
    found: list[tuple[float, str, str]] = []
    wanted = {("chutes", "the engine is gone"), ("launcher", "serving")}
    with grpc.insecure_channel(settings.addresses["node"]) as channel:
        stub = node_pb2_grpc.NodeServiceStub(channel)
        while not wanted <= {(service, message) for _, service, message in found}:
            assert time.monotonic() < deadline_s, found
            with contextlib.suppress(grpc.RpcError, Exception):
                request = node_pb2.StreamLogsRequest(tail=2000, stop_at_end=True)
                metadata = service_metadata(settings.service_token_file)
                found = [
                    (line.time.seconds + line.time.nanos / 1e9, line.service, line.message)
                    for response in stub.StreamLogs(request, metadata=metadata, timeout=10)
                    for line in response.lines.lines
                ]
            time.sleep(0.3)
    assert found == sorted(found, key=lambda line: line[0])
    # Each process says once that it serves.
    assert len([line for line in found if line[1:] == ("launcher", "serving")]) == len(PARTS)

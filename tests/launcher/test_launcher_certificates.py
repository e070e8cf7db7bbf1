"""Services in processes of their own that meet on a network."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from services.auth.adapters.authority import Authority
from tests.support.node import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

COMMAND = Path(sys.executable).with_name("paradrop")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for part in ("auth", "node"):
        (tmp_path / "tls" / part).mkdir(parents=True)
    return os.environ | {
        "PARADROP_HOME": str(tmp_path / "home"),
        "PARADROP_AUTH_ADDRESS": f"127.0.0.1:{free_port()}",
        "PARADROP_INTERNAL_TLS": str(tmp_path / "tls" / "auth"),
    }


@pytest.fixture
def auth(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([COMMAND, "serve", "auth"], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def health(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "health", "auth", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_auth_issues_at_its_first_start_and_ends_to_start_again_with_a_new_one(
    environment: dict[str, str], auth: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    ready = health(environment, "--wait", "30")
    assert ready.stdout == "auth is healthy\n", ready
    assert {file.name for file in (tmp_path / "tls" / "node").iterdir()} == {"ca.pem", "part.pem"}

    unknown = {name: value for name, value in environment.items() if name != "PARADROP_INTERNAL_TLS"}
    assert health(unknown).returncode == 1
    node = environment | {"PARADROP_INTERNAL_TLS": str(tmp_path / "tls" / "node")}
    assert health(node).stdout == "auth is healthy\n"

    # As if it had been renewed.
    Authority(tmp_path / "home" / "auth", lambda: time.time() + 300 * 86400).issue(
        [tmp_path / "tls" / "auth"]
    )
    assert auth.wait(30) == 0


def test_a_part_without_a_certificate_says_what_it_waits_for(environment: dict[str, str]) -> None:
    ran = subprocess.run(
        [COMMAND, "serve", "node"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert "auth issues it when it starts" in ran.stderr


def test_a_gateway_alone_becomes_envoy(tmp_path: Path) -> None:
    port = free_port()
    own = {"PARADROP_HOME": str(tmp_path / "home"), "PARADROP_LISTEN": f"127.0.0.1:{port}"}
    environment = os.environ | own
    with ExitStack() as stack:
        auth = stack.enter_context(subprocess.Popen([COMMAND, "serve", "auth"], env=environment))
        stack.callback(auth.terminate)
        assert health(environment, "--wait", "30").returncode == 0
        gateway = stack.enter_context(subprocess.Popen([COMMAND, "serve", "gateway"], env=environment))
        stack.callback(gateway.kill)
        deadline = time.monotonic() + 30
        while not (found := _answer(port)).startswith(b"HTTP/1.1 401"):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        assert psutil.Process(gateway.pid).name() == "envoy"
        second = subprocess.run(
            [COMMAND, "serve", "gateway"], env=environment, capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert "set PARADROP_LISTEN to another address" in second.stderr
        gateway.terminate()
        assert gateway.wait(30) == 0


def _answer(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"GET /api/v1/chutes/ HTTP/1.1\r\nhost: node\r\n\r\n")
            return connection.recv(100)
    except OSError as error:
        return repr(error).encode()

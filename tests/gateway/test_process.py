"""Envoy as a process: start, end, and what happens when parts are missing."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from paradrop.chutes.v1 import chutes_pb2, chutes_pb2_grpc

from gateway import config, envoy
from services.common.settings import Settings
from tests.gateway.conftest import Gateway, basic, make_settings, run_gateway
from tests.gateway.doubles import Keys

pytestmark = pytest.mark.gateway

MIB = 1024 * 1024


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = make_settings(tmp_path / "home")
    Keys(settings.public_dir)
    return settings


def listens(settings: Settings) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((settings.listen_host, settings.listen_port), 1).close()
        return True
    return False


async def test_it_listens_while_the_context_lasts(settings: Settings) -> None:
    async with envoy.running(settings) as process:
        assert await asyncio.to_thread(listens, settings)
        assert Path(f"/proc/{process.pid}").exists()

    assert not Path(f"/proc/{process.pid}").exists()
    assert not await asyncio.to_thread(listens, settings)


async def test_it_can_be_started_again_at_once(settings: Settings) -> None:
    for _ in range(3):
        async with envoy.running(settings):
            assert await asyncio.to_thread(listens, settings)


async def test_its_death_is_noticed_and_a_new_one_starts(settings: Settings) -> None:
    async with envoy.running(settings) as process:
        os.kill(process.pid, signal.SIGKILL)

        assert await asyncio.wait_for(process.wait(), 5) == -signal.SIGKILL

    async with envoy.running(settings):
        assert await asyncio.to_thread(listens, settings)


async def test_a_port_in_use_is_named(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind((settings.listen_host, settings.listen_port))
        other.listen()

        with pytest.raises(
            envoy.GatewayError, match=rf"127\.0\.0\.1:{settings.listen_port} is in use .* PARADROP_LISTEN"
        ):
            async with envoy.running(settings):
                pass


async def test_a_second_node_does_not_share_the_port(settings: Settings, tmp_path: Path) -> None:
    other = make_settings(tmp_path / "other", listen_host=settings.listen_host)
    Keys(other.public_dir)
    object.__setattr__(other, "listen_port", settings.listen_port)

    async with envoy.running(settings):
        with pytest.raises(envoy.GatewayError, match="is in use"):
            async with envoy.running(other):
                pass


async def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home", listen_host="192.0.2.77")
    Keys(settings.public_dir)

    with pytest.raises(envoy.GatewayError, match=r"192\.0\.2\.77:\d+ is no address of this machine"):
        async with envoy.running(settings):
            pass


async def test_missing_keys_are_told(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home")

    with pytest.raises(envoy.GatewayError, match=r"jwks\.json"):
        async with envoy.running(settings):
            pass


async def test_a_cancelled_start_leaves_nothing(settings: Settings) -> None:
    async def run() -> None:
        async with envoy.running(settings):
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    while not await asyncio.to_thread(listens, settings):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not await asyncio.to_thread(listens, settings)


def test_it_dies_with_its_parent(settings: Settings) -> None:
    script = f"""
        import asyncio
        from dataclasses import replace
        from gateway import config, envoy
        from services.common.settings import load_settings

        async def main():
            settings = replace(load_settings({{"PARADROP_HOME": {str(settings.home)!r}}}),
                               listen_port={settings.listen_port})
            async with envoy.running(settings) as process:
                print(process.pid, flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watch = os.pidfd_open(child)
        parent.kill()

        import select

        readable, _, _ = select.select([watch], [], [], 5)
        os.close(watch)
    assert readable, "Envoy outlived its parent"


async def test_its_log_is_bounded_and_private(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy, "MAX_LOG_BYTES", 1000)
    log = envoy._BoundedLog(settings.home / "logs" / "envoy.log")

    reader = asyncio.StreamReader()
    copying = asyncio.create_task(log.copy(reader))
    for number in range(100):
        reader.feed_data(f"line {number}: {'x' * 50}\n".encode())
        await asyncio.sleep(0)
    reader.feed_eof()
    await copying

    files = await asyncio.to_thread(lambda: [p.stat() for p in (settings.home / "logs").iterdir()])
    assert len(files) <= 2
    assert sum(file.st_size for file in files) < 8000
    assert all(file.st_mode & 0o77 == 0 for file in files)
    assert log.last_lines[-1].startswith("line 99")


@pytest.fixture(scope="module")
def certified() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_gateway(tmp_path_factory: pytest.TempPathFactory, certified: trustme.CA):
    folder = tmp_path_factory.mktemp("tls")
    certificate = certified.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    settings = make_settings(folder / "home", tls_cert=folder / "cert.pem", tls_key=folder / "key.pem")
    yield from run_gateway(settings)


class TestTls:
    def context(self, certified: trustme.CA, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        certified.configure_trust(context)
        context.set_alpn_protocols(protocols)
        return context

    def test_json(self, tls_gateway: Gateway, certified: trustme.CA) -> None:
        connection = HTTPSConnection(tls_gateway.address, context=self.context(certified, "http/1.1"))
        connection.request("GET", "/api/v1/chutes/", headers=tls_gateway.bearer)
        reply = connection.getresponse()

        assert (reply.status, json.load(reply)) == (200, [])
        connection.close()

    def test_grpc(self, tls_gateway: Gateway, certified: trustme.CA) -> None:
        credentials = grpc.ssl_channel_credentials(certified.cert_pem.bytes())
        with grpc.secure_channel(tls_gateway.address, credentials) as channel:
            reply = chutes_pb2_grpc.ChuteServiceStub(channel).ListChutes(
                chutes_pb2.ListChutesRequest(), metadata=tuple(tls_gateway.bearer.items())
            )

        assert reply == chutes_pb2.ListChutesResponse()

    @pytest.mark.parametrize(("offered", "chosen"), [(("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1")])
    def test_the_protocol_is_agreed_upon(
        self, tls_gateway: Gateway, certified: trustme.CA, offered: tuple[str, ...], chosen: str
    ) -> None:
        context = self.context(certified, *offered)
        with (
            socket.create_connection(tls_gateway.address.split(":")) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            assert client.selected_alpn_protocol() == chosen
            assert client.version() in ("TLSv1.2", "TLSv1.3")

    def test_a_socket_needs_the_same_origin(self, tls_gateway: Gateway, certified: trustme.CA) -> None:
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        address = f"wss://{tls_gateway.address}/sockjs/logs/web"
        context = self.context(certified, "http/1.1")

        for origin, accepted in ((f"https://{tls_gateway.address}", True), ("https://127.0.0.1:1", False)):
            headers = {**tls_gateway.bearer, "origin": origin}
            with contextlib.suppress(InvalidStatus):
                with connect(address, ssl=context, additional_headers=headers, proxy=None):
                    assert accepted
                continue
            assert not accepted

    def test_plain_text_is_not_served(self, tls_gateway: Gateway) -> None:
        with socket.create_connection(tls_gateway.address.split(":")) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            client.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert not client.recv(100).startswith(b"HTTP")


@pytest.fixture
def lonely(tmp_path: Path):
    """A gateway whose services are taken away by the test."""
    yield from run_gateway(make_settings(tmp_path / "home"))


class TestMissingServices:
    def stop(self, gateway: Gateway, name: str) -> None:
        """Makes a service vanish, as a crash does."""
        os.rename(gateway.settings.runtime / f"{name}.sock", gateway.settings.runtime / f"{name}.gone")

    def test_a_service_that_is_down_is_503_as_json(self, lonely: Gateway) -> None:
        self.stop(lonely, "chutes")

        answer = lonely.request("GET", "/api/v1/chutes/")

        assert (answer.status, answer.reason, answer.json["code"]) == (503, "SERVICE_UNAVAILABLE", 14)
        assert "chutes" in answer.json["message"]
        assert not [name for name in answer.headers if name.startswith("grpc-")]

    def test_a_service_that_is_down_is_unavailable_for_grpc(self, lonely: Gateway) -> None:
        self.stop(lonely, "chutes")

        with (
            grpc.insecure_channel(lonely.address) as channel,
            pytest.raises(grpc.RpcError) as raised,
        ):
            chutes_pb2_grpc.ChuteServiceStub(channel).ListChutes(
                chutes_pb2.ListChutesRequest(), metadata=tuple(lonely.bearer.items())
            )

        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE

    def test_without_auth_tokens_work_and_nothing_else_does(self, lonely: Gateway) -> None:
        self.stop(lonely, "auth")

        with_token = lonely.request("GET", "/api/v1/chutes/")
        with_password = lonely.request("GET", "/api/v1/chutes/", None, basic(), token=False)
        with_nothing = lonely.request("GET", "/api/v1/chutes/", token=False)

        assert with_token.status == 200
        for answer in (with_password, with_nothing):
            assert (answer.status, answer.reason) == (503, "AUTH_UNAVAILABLE")
        assert len(lonely.doubles.calls) == 1

    def test_health_tells_what_is_down(self, lonely: Gateway) -> None:
        self.stop(lonely, "airshark")

        answer = lonely.request("GET", "/healthz", token=False)

        assert answer.status == 503
        assert answer.json["status"] == "degraded"
        assert answer.json["services"]["airshark"] != "SERVING"
        assert answer.json["services"]["chutes"] == "SERVING"

    def test_a_socket_of_a_service_that_is_down_is_503(self, lonely: Gateway) -> None:
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        self.stop(lonely, "chutes")

        with pytest.raises(InvalidStatus) as raised:
            connect(
                f"ws://{lonely.address}/sockjs/logs/web", additional_headers=lonely.bearer, proxy=None
            ).__enter__()

        assert raised.value.response.status_code == 503

    def test_a_restarted_service_is_found_again(self, lonely: Gateway) -> None:
        self.stop(lonely, "chutes")
        assert lonely.request("GET", "/api/v1/chutes/").status == 503
        os.rename(lonely.settings.runtime / "chutes.gone", lonely.settings.runtime / "chutes.sock")

        assert lonely.request("GET", "/api/v1/chutes/").status == 200

    def test_a_service_that_hangs_up_in_the_middle_is_an_error(self, lonely: Gateway) -> None:
        ended = asyncio.Event()

        async def talk(_: object, __: object) -> AsyncIterator[object]:
            ended.set()
            await asyncio.Event().wait()
            yield

        lonely.doubles.replies["paradrop.chutes.v1.ChuteService.GetChute"] = talk
        answer = lonely.request("GET", "/api/v1/chutes/web")

        assert answer.status == 500
        assert answer.headers["content-type"] == "application/json"

    def test_an_unknown_key_costs_a_question_and_works(self, lonely: Gateway) -> None:
        """Auth has a new key; Envoy learns of it at its next start."""
        old = lonely.bearer
        lonely.doubles.keys = Keys(lonely.settings.public_dir)
        deadline = lonely.loop.time() + 5
        while lonely.request("GET", "/api/v1/chutes/").status != 200:
            assert lonely.loop.time() < deadline

        lonely.doubles.checks.clear()
        assert lonely.request("GET", "/api/v1/chutes/").status == 200
        assert len(lonely.doubles.checks) == 1
        assert lonely.request("GET", "/api/v1/chutes/", None, old, token=False).status == 401


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A gateway that is short of everything."""
    monkeypatch.setattr(config, "MAX_HEAP_BYTES", 40 * MIB)
    monkeypatch.setattr(config, "MAX_CONNECTIONS", 100)
    yield from run_gateway(make_settings(tmp_path / "home"))


class TestOverload:
    body = b'{"environment": {"k": "' + b"x" * (MIB - 100) + b'"}}'

    def begin(self, gateway: Gateway) -> socket.socket:
        """Sends all of a request but its last byte."""
        head = (
            f"POST /api/v1/chutes/web/start HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.token}\r\n"
        )
        client = socket.create_connection((gateway.settings.listen_host, gateway.settings.listen_port), 5)
        client.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(self.body) + self.body[:-1])
        return client

    def wait_for(self, gateway: Gateway, status: int) -> Any:
        deadline = time.monotonic() + 20
        while (answer := gateway.request("GET", "/api/v1/chutes/")).status != status:
            assert time.monotonic() < deadline, f"still {answer.status}"
            time.sleep(0.05)
        return answer

    def test_short_of_memory_it_refuses_and_recovers(self, small: Gateway) -> None:
        with contextlib.ExitStack() as stack:
            clients = []
            while len(clients) < 80 and small.request("GET", "/api/v1/chutes/").status == 200:
                with contextlib.suppress(OSError):
                    clients.append(stack.enter_context(self.begin(small)))
                time.sleep(0.03)  # Envoy looks at its memory once a second.
            answer = self.wait_for(small, 503)

            assert answer.reason == "OVERLOADED"
            assert len(clients) < 80
            for client in clients[:3]:  # What was accepted is finished.
                client.sendall(self.body[-1:])
                assert client.recv(100).startswith(b"HTTP/1.1 200")

        assert self.wait_for(small, 200).json == []

    def test_too_many_connections_are_closed_and_later_ones_served(self, small: Gateway) -> None:
        address = (small.settings.listen_host, small.settings.listen_port)
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(address))
            with pytest.raises((OSError, HTTPException)):
                small.request("GET", "/healthz", token=False)

        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, HTTPException):
                assert small.request("GET", "/api/v1/chutes/").status == 200
                return
        raise AssertionError("no connection was accepted any more")

"""The way through Envoy to snapd: for administrators, unaltered, and quick to say that nobody is there."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from tests.gateway.conftest import Gateway

pytestmark = pytest.mark.gateway

SNAPD = Path("/usr/lib/snapd/snapd")
SNAPD_SOCKET = Path("/run/snapd.socket")


class Handler(BaseHTTPRequestHandler):
    """Answers in snapd's form what it was asked."""

    protocol_version = "HTTP/1.1"
    status = 200

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        told = {
            "type": "sync", "status-code": self.status, "result": {
                "method": self.command, "path": self.path, "body": body.decode(),
                "headers": {name.lower(): value for name, value in self.headers.items()},
            },
        }  # fmt: skip
        content = b"" if self.command == "HEAD" else json.dumps(told).encode()
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        # Else Envoy keeps the connection, and a server that is gone would seem to be there.
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do

    def address_string(self) -> str:
        return "envoy"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def snapd(gateway: Gateway) -> Iterator[type[Handler]]:
    path = gateway.settings.runtime / "snapd.socket"
    path.unlink(missing_ok=True)
    with ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Handler
        Handler.status = 200
        server.shutdown()
    path.unlink()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_any_method_and_body_arrive_unaltered(gateway: Gateway, snapd: type[Handler], method: str) -> None:
    sent = '{"email": "a@b.c",  "sudoer": true}'
    headers = {"content-type": "application/json", "x-allow-interaction": "true"}
    answer = gateway.request(method, "/snapd/v2/create-user?a=b%20c", sent, headers)
    assert answer.status == 200
    told = answer.json["result"]
    assert (told["method"], told["path"], told["body"]) == (method, "/v2/create-user?a=b%20c", sent)
    assert told["headers"]["content-type"] == "application/json"
    assert told["headers"]["x-allow-interaction"] == "true"
    assert "authorization" not in told["headers"]


@pytest.mark.parametrize("status", [202, 400, 403, 404, 409, 500])
def test_errors_of_snapd_are_the_clients(gateway: Gateway, snapd: type[Handler], status: int) -> None:
    snapd.status = status
    answer = gateway.request("GET", "/snapd/v2/snaps/x")
    assert (answer.status, answer.json["status-code"]) == (status, status)


def test_only_administrators_get_there(gateway: Gateway, snapd: type[Handler]) -> None:
    stranger = gateway.request("GET", "/snapd/v2/interfaces", token=False)
    assert stranger.status == 401
    guest = {"authorization": f"Bearer {gateway.doubles.keys.token('guest', role='owner')}"}
    answer = gateway.request("GET", "/snapd/v2/interfaces", headers=guest, token=False)
    # The role in the token says owner; the node knows better.
    assert (answer.status, answer.reason) == (403, "ROLE_TOO_LOW")


def test_without_snapd_the_answer_is_a_503_in_under_a_second_that_says_what_to_do(gateway: Gateway) -> None:
    began_s = time.monotonic()
    answer = gateway.request("GET", "/snapd/v2/interfaces")
    assert time.monotonic() - began_s < 1
    assert (answer.status, answer.reason) == (503, "SERVICE_UNAVAILABLE")
    assert "install it and start it" in answer.json["message"]
    assert "again" not in answer.json["message"]


def test_a_snapd_that_breaks_off_may_answer_the_next_time(gateway: Gateway) -> None:
    path = gateway.settings.runtime / "snapd.socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        try:
            listener.listen()
            hanging_up = threading.Thread(target=lambda: listener.accept()[0].close())
            hanging_up.start()
            answer = gateway.request("GET", "/snapd/v2/interfaces")
            hanging_up.join()
        finally:
            path.unlink()
    assert (answer.status, answer.reason) == (503, "SERVICE_UNAVAILABLE")
    assert "try again" in answer.json["message"]


@pytest.mark.skipif(not SNAPD.exists(), reason="snapd is missing; .ci/run installs it")
def test_the_real_snapd_answers_as_it_does_locally(gateway: Gateway) -> None:
    if SNAPD_SOCKET.exists():
        pytest.skip("a snapd of this system is running; it is left alone")
    link = gateway.settings.runtime / "snapd.socket"
    # Without snaps it ends by itself after some seconds.
    with subprocess.Popen([SNAPD], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline_s = time.monotonic() + 15
            while not _answers():
                if time.monotonic() > deadline_s or process.poll() is not None:
                    pytest.skip("snapd does not start here")
                time.sleep(0.02)
            link.symlink_to(SNAPD_SOCKET)
            told = gateway.request("GET", "/snapd/v2/system-info")
            assert told.status == 200
            assert told.json["result"]["os-release"]["id"]
            interfaces = gateway.request("GET", "/snapd/v2/interfaces")
            assert (interfaces.status, interfaces.json["type"]) == (200, "sync")
            body = json.dumps({"action": "connect", "plugs": [{"snap": "nope", "plug": "x"}], "slots": [{}]})
            refused = gateway.request(
                "POST", "/snapd/v2/interfaces", body, {"content-type": "application/json"}
            )
            assert refused.status == refused.json["status-code"]
            assert refused.json["type"] == "error" or refused.json["type"] == "async"
            assert gateway.request("GET", "/snapd/v2/nothing").status == 404
        finally:
            process.terminate()
            link.unlink(missing_ok=True)


def _answers() -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(SNAPD_SOCKET))
        except OSError:
            return False
    return True

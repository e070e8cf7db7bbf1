"""A snapd with snaps, which no test machine has: what clients of the node use of its documented REST."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

UNCONNECTED = {"snap": "paradrop-daemon", "plug": "network-control", "interface": "network-control"}
CONNECTED = {
    "snap": "paradrop-daemon", "plug": "home", "interface": "home",
    "connections": [{"snap": "core", "slot": "home"}],
}  # fmt: skip
KNOWN_USER = "info@paradrop.io"


class FakeSnapd(ThreadingUnixStreamServer):
    """Two plugs, of which one is not connected, and one account of the store."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.requested: list[Any] = []
        """The bodies of requests that alter something."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, str, Any]:
        """Returns status, type and result."""
        if body is not None:
            self.requested.append(body)
        match method, path:
            case "GET", "/v2/interfaces":
                return 200, "sync", {"plugs": [CONNECTED, UNCONNECTED], "slots": []}
            case "POST", "/v2/interfaces":
                return 202, "async", None
            case "POST", "/v2/create-user" if body["email"] == KNOWN_USER:
                return 200, "sync", {"username": "paradrop", "ssh-key-count": 1}
            case "POST", "/v2/create-user":
                return 400, "error", {"message": f'cannot create user "{body["email"]}"'}
        return 404, "error", {"message": "not found"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeSnapd

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        status, kind, result = self.server.answer(
            self.command, self.path, json.loads(content) if content else None
        )
        document = {
            "type": kind,
            "status-code": status,
            "status": self.responses[status][0],
            "result": result,
        }
        answer = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = _serve

    def address_string(self) -> str:
        return "a local client"

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_snapd(path: Path) -> Iterator[FakeSnapd]:
    """Serves on a unix socket."""
    with FakeSnapd(path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()

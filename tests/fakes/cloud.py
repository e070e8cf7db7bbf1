"""A controller that speaks the HTTP interface of Paradrop 0.13, on a real socket."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Cloud:
    """What it was told, and what it has to say."""

    port: int = 0
    token: str = "session-1"
    passwords: dict[str, str] = field(default_factory=lambda: {"r1": "t0ken"})
    updates: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and document of each request that was let in."""
    logins: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    users: dict[str, Any] = field(default_factory=dict)
    """Token of a user to the document about them."""
    rights: list[Any] = field(default_factory=list)
    patch: list[Any] = field(default_factory=list)
    """What batch b1 wants altered in the host configuration."""
    networks: list[str] = field(default_factory=list)
    """ZeroTier networks of batch b1."""
    down: bool = False
    polls: bool = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def told(self, method: str, end: str) -> list[Any]:
        return [document for m, path, document in list(self.requests) if m == method and path.endswith(end)]

    def answer(self, method: str, path: str, document: Any, authorization: str) -> tuple[int, Any]:
        if self.down:
            return 503, None
        if path == "/api/auth/router":
            self.logins += 1
            good = self.passwords.get(document["id"]) == document["password"]
            return (200, {"token": self.token}) if good else (401, None)
        if path == "/api/batches/b1/provision":
            self.requests.append((method, path, document))
            if document["key"] != "k1":
                return 403, None
            return 200, {
                "router": {"_id": "r1", "password": "t0ken", "claim_token": "c1"},
                "batch": {"name": "b", "hostconfig_patch": self.patch, "zerotier_networks": self.networks},
            }
        user = self.users.get(authorization.removeprefix("Bearer "))
        if user is not None and path == "/api/users/me":
            return 200, user
        if user is not None and path == "/api/routers/r1":
            return 200, {"_id": "r1", "access_rights": self.rights}
        if authorization != f"Bearer {self.token}":
            return 401, None
        self.requests.append((method, path, document))
        if path.endswith("/updates/poll"):
            if not self.polls:
                return 404, None
            time.sleep(0.2)
            return (200 if any(not u["started"] for u in self.updates) else 204), None
        if path.endswith("/updates?completed=false"):
            return 200, self.updates
        return 200, {}


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    cloud = Cloud()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            cloud.headers = dict(self.headers.items())
            status, answer = cloud.answer(
                self.command, self.path, json.loads(body) if body else None,
                self.headers.get("authorization", ""),
            )  # fmt: skip
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        cloud.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield cloud
        server.shutdown()
        thread.join()

"""A real HTTPS server with files and git repositories, for what nodes fetch."""

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme

HOST = "localhost"


@dataclass
class FilesServer:
    """What it serves, what it demands, and what it was asked."""

    port: int
    ca_file: Path
    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    """Path to the location that it is passed on to."""
    cut: set[str] = field(default_factory=set)
    """Paths whose answer ends in the middle."""
    repositories: Path | None = None
    """Folder of git repositories."""
    credentials: tuple[str, str] | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Authorization header of each request."""

    def url(self, path: str, host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"


@contextmanager
def files_server(folder: Path) -> Iterator[FilesServer]:
    """Serves on the loopback address with a certificate for "localhost" and "other.localhost"."""
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "127.0.0.1").configure_cert(context)

    class Handler(_Handler):
        pass

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Handler.served = FilesServer(server.server_address[1], ca_file)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Handler.served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that break off are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: FilesServer

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> None:
        served, path = self.served, urlsplit(self.path).path
        served.asked.append((self.path, self.headers.get("authorization")))
        if served.credentials is not None:
            pair = base64.b64encode(":".join(served.credentials).encode()).decode()
            if self.headers.get("authorization") != f"Basic {pair}":
                self._send(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
                return
        if path in served.moved:
            self._send(302, b"", {"Location": served.moved[path]})
        elif path in served.files:
            self._send(200, served.files[path], {}, cut=path in served.cut)
        elif ".git/" in path and served.repositories is not None:
            self._git(path, body, served.repositories)
        else:
            self._send(404, b"", {})

    def _send(self, status: int, content: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def _git(self, path: str, body: bytes, repositories: Path) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": urlsplit(self.path).query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "HOME": "/nonexistent",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        ran = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=False
        )
        head, _, content = ran.stdout.partition(b"\r\n\r\n")
        headers: dict[str, str] = {}
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            headers[name] = value
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, content, headers)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def git_repository(folder: Path, files: dict[str, str], branch: str = "main") -> str:
    """Makes a repository with one commit and returns its id."""
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, "init", "--quiet", f"--initial-branch={branch}")
    return git_commit(folder, files)


def git_commit(folder: Path, files: dict[str, str], tag: str | None = None) -> str:
    """Commits files and returns the id of the commit."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    _git(folder, "add", "--all")
    _git(folder, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "x")
    if tag is not None:
        _git(folder, "tag", tag)
    return _git(folder, "rev-parse", "HEAD").strip()


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout

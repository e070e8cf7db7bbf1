"""A registry of images that speaks the Docker registry protocol, with and without passwords.

Engines take registries on loopback addresses without TLS.
"""

import base64
import gzip
import hashlib
import io
import json
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import docker

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass
class Registry:
    """What it holds and what it demands."""

    address: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    """"NAME:TAG" to manifest; also by digest."""
    credentials: tuple[str, str] | None = None
    asked: list[str] = field(default_factory=list)
    cut_blobs: bool = False
    half_sent: threading.Event = field(default_factory=threading.Event)
    """Half of a blob has been sent; the rest waits for `go_on`."""
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.go_on.set()

    def hold_blobs(self) -> None:
        """Stops in the middle of each blob until `go_on` is set."""
        self.half_sent.clear()
        self.go_on.clear()

    def push(self, client: docker.APIClient, image: str, name: str) -> str:
        """Puts an image of an engine into the registry and returns its full name."""
        with tarfile.open(fileobj=io.BytesIO(b"".join(client.get_image(image)))) as saved:

            def read(path: str) -> bytes:
                found = saved.extractfile(path)
                assert found is not None
                return found.read()

            described = json.loads(read("manifest.json"))[0]
            config = self._blob(read(described["Config"]), CONFIG)
            layers = [
                self._blob(gzip.compress(read(path), 1, mtime=0), LAYER) for path in described["Layers"]
            ]
        return self._name(name, config, layers)

    def put(self, layer: bytes, name: str) -> str:
        """Puts an image of one layer, a tar, into the registry and returns its full name."""
        described = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        config = self._blob(json.dumps(described).encode(), CONFIG)
        return self._name(name, config, [self._blob(gzip.compress(layer, 1, mtime=0), LAYER)])

    def _name(self, name: str, config: dict[str, Any], layers: list[dict[str, Any]]) -> str:
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        ).encode()
        self.manifests[name] = manifest
        self.manifests[f"{name.partition(':')[0]}:{_digest(manifest)}"] = manifest
        return f"{self.address}/{name}"

    def _blob(self, content: bytes, kind: str) -> dict[str, Any]:
        digest = _digest(content)
        self.blobs[digest] = content
        return {"mediaType": kind, "size": len(content), "digest": digest}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def serving_registry(listening: socket.socket | None = None) -> Iterator[Registry]:
    """Serves a registry on the loopback address, or on a socket that listens already."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=listening is None)
    server.daemon_threads = True
    if listening is not None:
        server.socket.close()
        server.socket = listening
    Handler.registry = Registry(f"127.0.0.1:{server.socket.getsockname()[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Handler.registry
    finally:
        Handler.registry.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        registry = self.registry
        registry.asked.append(self.path)
        if registry.credentials is not None:
            pair = base64.b64encode(":".join(registry.credentials).encode()).decode()
            if self.headers.get("authorization") != f"Basic {pair}":
                return self._error(401, "UNAUTHORIZED", body)
        parts = self.path.strip("/").split("/")
        if parts == ["v2"]:
            return self._send(200, "application/json", b"{}", body)
        name, kind, reference = "/".join(parts[1:-2]), parts[-2], parts[-1]
        if kind == "manifests":
            found = registry.manifests.get(f"{name}:{reference}")
            if found is None:
                return self._error(404, "MANIFEST_UNKNOWN", body)
            return self._send(200, MANIFEST, found, body, {"Docker-Content-Digest": _digest(found)})
        blob = registry.blobs.get(reference)
        if blob is None:
            return self._error(404, "BLOB_UNKNOWN", body)
        return self._send(200, "application/octet-stream", blob, body, is_blob=True)

    def _error(self, status: int, code: str, body: bool) -> None:
        content = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
        headers = {"WWW-Authenticate": 'Basic realm="registry"'} if status == 401 else {}
        self._send(status, "application/json", content, body, headers)

    def _send(
        self,
        status: int,
        kind: str,
        content: bytes,
        body: bool,
        headers: dict[str, str] | None = None,
        is_blob: bool = False,
    ) -> None:
        cut = is_blob and self.registry.cut_blobs
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        half = len(content) // 2
        if body and is_blob and not self.registry.go_on.is_set():
            self.wfile.write(content[:half])
            self.registry.half_sent.set()
            self.registry.go_on.wait()
            content = content[half:]
        if body:
            self.wfile.write(content[:half] if cut else content)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

"""How the command line speaks to nodes: whom it trusts, and that half a file is none."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.launcher.remote import Node, RemoteError


class _Handler(BaseHTTPRequestHandler):
    """Lets everybody in, and ends each archive before it is whole."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(json.dumps({"token": "a-token"}).encode())

    def do_GET(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nhello\r\n")
        self.close_connection = True

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Returns a certificate that is its own authority, for another name than this machine has."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("node.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


@contextmanager
def _serving(certificate: tuple[Path, Path] | None = None) -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _settings(monkeypatch: pytest.MonkeyPatch, home: Path, port: int, files: tuple[Path, Path]) -> None:
    for name, value in (("HOME", home), ("LISTEN", f"127.0.0.1:{port}")):
        monkeypatch.setenv(f"PARADROP_{name}", str(value))
    for name, value in zip(("CERT", "KEY"), files, strict=True):
        monkeypatch.setenv(f"PARADROP_TLS_{name}", str(value))


def test_the_certificate_of_this_node_is_trusted_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, foreign = _certificate(tmp_path / "own"), _certificate(tmp_path / "foreign")
    with _serving(own) as port:
        _settings(monkeypatch, tmp_path / "home", port, own)
        Node("", "paradrop", "secret")
        with pytest.raises(RemoteError, match="does not answer"):
            Node(f"https://127.0.0.1:{port}", "paradrop", "secret")
    with _serving(foreign) as port:
        _settings(monkeypatch, tmp_path / "home", port, own)
        with pytest.raises(RemoteError, match="does not answer"):
            Node("", "paradrop", "secret")


def test_half_an_archive_is_no_file(tmp_path: Path) -> None:
    with _serving() as port:
        node = Node(f"http://127.0.0.1:{port}", "paradrop", "secret")
        with pytest.raises(RemoteError, match="broke off"):
            node.export("web", tmp_path / "file", pause=False)
    assert list(tmp_path.iterdir()) == []

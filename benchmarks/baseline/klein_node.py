"""A small Klein server that answers the chute list the way the original daemon did.

One Twisted process: a JWT decoded or a SHA-512-crypt hash computed for every request, and one engine call per
container for every list. It reads what to answer with from the command line and nothing else.
"""

import argparse
import base64
import ctypes
import ctypes.util
import hmac
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import jwt
from klein import Klein
from twisted.web.server import Request

JWT_SECRET = "baseline-secret-of-thirty-two-bytes!"
USER = "paradrop"

_libcrypt = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
_libcrypt.crypt.restype = ctypes.c_char_p


def sha512_crypt(password: str, salt: str) -> str:
    """Returns the SHA-512-crypt hash of a password, as /etc/shadow holds it."""
    hashed: bytes = _libcrypt.crypt(password.encode(), salt.encode())
    return hashed.decode()


class Node:
    """The list of chutes behind the original's two ways to log in."""

    app = Klein()

    def __init__(self, password: str, chutes: list[str]) -> None:
        self._hash = sha512_crypt(password, "$6$saltsaltsaltsalt")
        self._chutes = chutes
        self._docker = docker.from_env() if chutes else None

    @app.route("/api/v1/chutes/", methods=["GET"])
    def list_chutes(self, request: Request) -> bytes:
        """Answers the list, or 401."""
        return self.answer(request, lambda: [self._describe(chute) for chute in self._chutes])

    def answer(self, request: Request, content: Callable[[], Any]) -> bytes:
        """Returns content as JSON to those who have logged in."""
        if not self.authorised(request):
            return b""
        request.setHeader("Content-Type", "application/json")  # type: ignore[no-untyped-call]
        return json.dumps(content()).encode()

    def authorised(self, request: Request) -> bool:
        """Whether who asks has logged in; else the request has got its 401."""
        if self._knows(request.getHeader("Authorization") or ""):
            return True
        request.setResponseCode(401)
        request.setHeader("WWW-Authenticate", 'Basic realm="Login Required"')  # type: ignore[no-untyped-call]
        return False

    def _knows(self, header: str) -> bool:
        scheme, _, value = header.partition(" ")
        if scheme == "Bearer":
            try:
                jwt.decode(value, JWT_SECRET, algorithms=["HS256"])
            except jwt.InvalidTokenError:
                return False
            return True
        if scheme == "Basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            return user == USER and hmac.compare_digest(sha512_crypt(password, self._hash), self._hash)
        return False

    def _describe(self, chute: str) -> dict[str, Any]:
        assert self._docker is not None
        container = self._docker.containers.get(f"{chute}-main")
        return {
            "name": chute,
            "owner": {"name": USER, "domain": "localhost", "role": "admin"},
            "state": "running",
            "services": {"main": {"allocation": {"cpu_shares": 1024}, "state": container.status}},
            "version": "x1511808778",
            "environment": {},
            "resources": None,
        }


def token() -> str:
    """Returns a token that the server accepts."""
    claims = {"sub": USER, "iat": 1_700_000_000, "exp": 4_000_000_000, "role": "admin", "domain": "localhost"}
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


def serve(kind: type[Node]) -> None:
    """Serves one kind of node until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--chute", action="append", default=[])
    arguments = parser.parse_args()
    node = kind(arguments.password, arguments.chute)
    with Path(os.devnull).open("w") as nowhere:
        node.app.run("127.0.0.1", arguments.port, logFile=nowhere)


if __name__ == "__main__":
    serve(Node)

"""The key that signs all tokens of this node."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import OKPAlgorithm
from jwt.utils import base64url_encode

from services.common.files import StateError, write_atomically
from services.common.identity import ALGORITHM


class SigningKey:
    """An Ed25519 key pair, made once and kept in a file that only the owner can read."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public: dict[str, Any] = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._kid = _thumbprint(self._public)

    @classmethod
    def open(cls, path: Path) -> "SigningKey":
        """Reads the key, or makes one at the first start; raises `StateError` if the file holds no key."""
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            made = Ed25519PrivateKey.generate()
            write_atomically(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            return cls(made)
        try:
            key = load_pem_private_key(pem, password=None)
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise StateError(f"{path} holds no Ed25519 key; move it away, and all users log in again.")
        return cls(key)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Returns a signed token."""
        return jwt.encode(dict(claims), self._key, algorithm=ALGORITHM, headers={"kid": self._kid})

    def jwks(self) -> dict[str, Any]:
        """Returns the public half, as every verifier reads it."""
        return {"keys": [{**self._public, "kid": self._kid, "alg": ALGORITHM, "use": "sig"}]}


def _thumbprint(public: Mapping[str, Any]) -> str:
    """Returns the key's name after RFC 7638: the same key has the same name always."""
    members = {name: public[name] for name in ("crv", "kty", "x")}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64url_encode(sha256(canonical.encode()).digest()).decode()

"""Publishes keys and principals as auth does, but whatever a test wants."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from services.common.files import write_atomically


class Publisher:
    """One signing key and, unless a test changes that, one user of each role, a chute and the services."""

    def __init__(self, public_dir: Path) -> None:
        self.public_dir = public_dir
        self.jwks_file = public_dir / "jwks.json"
        self.principals_file = public_dir / "principals.json"
        self.key = Ed25519PrivateKey.generate()
        self.principals: dict[str, dict[str, dict[str, Any]]] = {
            "users": {
                name: {"generation": 1, "role": name}
                for name in ("guest", "user", "trusted", "admin", "owner")
            },
            "chutes": {"web": {"generation": 1, "role": "user"}},
            "services": {"__paradrop__": {"generation": 1, "role": "owner"}},
        }
        self.publish_key("first")
        self.publish()

    def publish(self) -> None:
        write_atomically(self.principals_file, json.dumps(self.principals).encode())

    def publish_key(self, kid: str) -> None:
        public = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        keys = {"keys": [{**public, "kid": kid, "alg": "EdDSA", "use": "sig"}]}
        write_atomically(self.jwks_file, json.dumps(keys).encode())

    def token(self, sub: str = "user", *, kid: str = "first", key: Any = None, **changes: Any) -> str:
        kind = next((kind.rstrip("s") for kind, names in self.principals.items() if sub in names), "user")
        now = int(time.time())
        claims = {
            "iss": "paradrop",
            "sub": sub,
            "iat": now,
            "exp": now + 600,
            "role": sub if kind == "user" else "user",
            "domain": "localhost",
            "kind": kind,
            "gen": 1,
        }
        claims |= changes
        present = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(present, key or self.key, algorithm="EdDSA", headers={"kid": kid})

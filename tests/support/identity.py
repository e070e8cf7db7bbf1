"""Signs tokens and publishes what auth would, so that one service can be tested without auth."""

import json
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

USER = "paradrop"
ROLE = "owner"


class Issuer:
    """Stands where auth stands: one key, one user."""

    def __init__(self, public_dir: Path) -> None:
        self._key = Ed25519PrivateKey.generate()
        public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(self._key.public_key()))
        keys = {"keys": [public | {"kid": "test", "alg": "EdDSA", "use": "sig"}]}
        principals = {"users": {USER: {"generation": 1, "role": ROLE}}, "chutes": {}, "services": {}}
        public_dir.mkdir(parents=True, exist_ok=True)
        (public_dir / "jwks.json").write_text(json.dumps(keys))
        (public_dir / "principals.json").write_text(json.dumps(principals))

    def token(self) -> str:
        """Returns a token of the user."""
        now = int(time.time())
        claims = {
            "iss": "paradrop",
            "sub": USER,
            "iat": now,
            "exp": now + 600,
            "role": ROLE,
            "domain": "localhost",
            "kind": "user",
            "gen": 1,
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": "test"})

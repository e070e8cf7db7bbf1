"""Who is calling: the verified principal of a call and the verifier of tokens.

Auth signs tokens and publishes two files, `jwks.json` (public keys) and `principals.json` (who exists, with a
generation that grows when older tokens end). Everybody else verifies with those two alone.
"""

import json
import time
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal

import jwt

from services.common.errors import Unauthenticated, Unavailable

ALGORITHM = "EdDSA"
LOCAL_DOMAIN = "localhost"
PUBLICATION_CHECK_INTERVAL_S = 1.0
CACHED_TOKENS = 1024
MAX_TOKEN_BYTES = 8192

Kind = Literal["user", "chute", "service"]


class Role(IntEnum):
    """What a principal may do; each role includes the ones before it."""

    GUEST = 1
    USER = 2
    TRUSTED = 3
    ADMIN = 4
    OWNER = 5


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller."""

    name: str
    role: Role
    domain: str = LOCAL_DOMAIN
    kind: Kind = "user"


SYSTEM = Principal("__paradrop__", Role.OWNER, kind="service")
"""The node itself, for what it does on its own account."""

_current: ContextVar[Principal | None] = ContextVar("principal", default=None)


def current_principal() -> Principal:
    """Returns the caller of the running RPC."""
    principal = _current.get()
    if principal is None:
        raise Unauthenticated("This call needs a token; log in with POST /api/v1/auth/local.")
    return principal


def set_current_principal(principal: Principal | None) -> None:
    """Sets the caller of the running RPC; only the authoriser and tests do that."""
    _current.set(principal)


def bearer_token(authorization: str | None) -> str:
    """Returns the token of an Authorization header or raises `Unauthenticated`."""
    if not authorization:
        raise Unauthenticated("This call needs a token; log in with POST /api/v1/auth/local.")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated(
            "The Authorization header must be 'Bearer' and a token.", reason="CREDENTIALS_MALFORMED"
        )
    return token


@dataclass(frozen=True, slots=True)
class _Claims:
    principal: Principal
    generation: int
    expires_s: float


_FileStamp = tuple[int, int, int]


def _stamp(path: Path) -> _FileStamp:
    """Returns what differs whenever a file was replaced; times alone are too coarse for that."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


class TokenVerifier:
    """Verifies tokens with what auth has published; cheap for a token it has seen before."""

    def __init__(self, public_dir: Path) -> None:
        self._jwks_file = public_dir / "jwks.json"
        self._principals_file = public_dir / "principals.json"
        self._keys: dict[str, Any] = {}
        self._principals: dict[str, Any] | None = None
        self._stamp: tuple[_FileStamp, _FileStamp] | None = None
        self._checked_s = float("-inf")
        self._seen: OrderedDict[str, _Claims] = OrderedDict()

    def verify(self, token: str) -> Principal:
        """Returns the principal of a token or raises `Unauthenticated`."""
        self._refresh(PUBLICATION_CHECK_INTERVAL_S)
        try:
            return self._verify(token)
        except Unauthenticated:
            # The token may be newer than what was last read: somebody has just changed the password.
            if not self._refresh(0):
                raise
            return self._verify(token)

    def _verify(self, token: str) -> Principal:
        claims = self._seen.get(token)
        if claims is None:
            claims = self._decode(token)
            self._seen[token] = claims
            if len(self._seen) > CACHED_TOKENS:
                self._seen.popitem(last=False)
        if claims.expires_s <= time.time():
            raise Unauthenticated("The token has expired; log in again.", reason="TOKEN_EXPIRED")
        return self._living(claims)

    def _refresh(self, interval_s: float) -> bool:
        """Reads what was published, unless it did so within the interval; tells whether that has changed."""
        now = time.monotonic()
        if now - self._checked_s < interval_s:
            return False
        try:
            stamp = (_stamp(self._jwks_file), _stamp(self._principals_file))
            changed = stamp != self._stamp
            if changed:
                jwks = json.loads(self._jwks_file.read_bytes())
                self._principals = json.loads(self._principals_file.read_bytes())
                self._keys = {key["kid"]: jwt.PyJWK(key, ALGORITHM).key for key in jwks["keys"]}
                self._seen.clear()
                self._stamp = stamp
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError):
            raise Unavailable(
                "The auth service has not published its keys yet; try again in a moment.",
                reason="AUTH_KEYS_MISSING",
            ) from None
        self._checked_s = now
        return changed

    def _decode(self, token: str) -> _Claims:
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                options={"require": ["sub", "exp", "iat"], "verify_aud": False},
            )
            principal = Principal(
                name=str(claims["sub"]),
                role=Role[str(claims.get("role", "user")).upper()],
                domain=str(claims.get("domain", LOCAL_DOMAIN)),
                kind=claims.get("kind", "user"),
            )
            return _Claims(principal, int(claims.get("gen", 0)), float(claims["exp"]))
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired; log in again.", reason="TOKEN_EXPIRED") from None
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise Unauthenticated("The token is not valid; log in again.", reason="TOKEN_INVALID") from None

    def _living(self, claims: _Claims) -> Principal:
        principal = claims.principal
        if principal.domain != LOCAL_DOMAIN:
            return principal
        known = (self._principals or {}).get(f"{principal.kind}s", {}).get(principal.name)
        if known is None or known["generation"] != claims.generation:
            raise Unauthenticated("The token was ended; log in again.", reason="TOKEN_REVOKED")
        role = Role[known["role"].upper()]
        return principal if role is principal.role else Principal(principal.name, role, kind=principal.kind)

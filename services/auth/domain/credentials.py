"""Reads Authorization headers."""

import base64
import binascii
from dataclasses import dataclass

from services.common.errors import Unauthenticated
from services.common.identity import MAX_TOKEN_BYTES


@dataclass(frozen=True, slots=True)
class Basic:
    """A user name and a password."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class OpaqueToken:
    """A token that means something to auth alone: a chute's."""

    text: str


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A JWT."""

    text: str


def parse_authorization(header: str) -> Basic | OpaqueToken | SignedToken:
    """Returns what the header holds or raises `Unauthenticated`."""
    if not header:
        raise Unauthenticated("This call needs credentials; log in with POST /api/v1/auth/local.")
    if len(header) > MAX_TOKEN_BYTES:
        raise _malformed()
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if not value:
        raise _malformed()
    match scheme.lower():
        case "basic":
            return _basic(value)
        case "bearer":
            return SignedToken(value) if "." in value else OpaqueToken(value)
        case _:
            raise _malformed()


def _basic(value: str) -> Basic:
    """Takes the base64 form and, as the original's documentation promised, the plain one.

    The two cannot be confused: a colon is no letter of base64, and the plain form has one.
    """
    text = value
    if ":" not in value:
        try:
            text = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
        except (binascii.Error, ValueError):
            raise _malformed() from None
    username, _, password = text.partition(":")
    return Basic(username, password)


def _malformed() -> Unauthenticated:
    return Unauthenticated(
        "The Authorization header must be 'Bearer' and a token, or 'Basic' and user:password in base64.",
        reason="CREDENTIALS_MALFORMED",
    )

"""Users, chute tokens and logins, and the rules for names and passwords."""

import re
from dataclasses import dataclass
from enum import IntEnum

from services.common.errors import InvalidArgument, Unauthenticated
from services.common.identity import LOCAL_DOMAIN, Principal, Role

DEFAULT_USER = "paradrop"
MIN_PASSWORD_BYTES = 8
MAX_PASSWORD_BYTES = 1024
MAX_CHUTE_NAME_BYTES = 255

_USERNAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}")


@dataclass(frozen=True, slots=True)
class User:
    """A local user."""

    name: str
    role: Role
    password_hash: str
    generation: int
    """Tokens of any other generation have ended."""
    created_s: float

    @property
    def principal(self) -> Principal:
        """The user as a caller."""
        return Principal(self.name, self.role)


@dataclass(frozen=True, slots=True)
class ChuteToken:
    """The one token of a chute, known by its hash."""

    chute: str
    digest: bytes
    generation: int
    former: bytes | None = None
    """Hash of the token before, which may be made good again."""

    @property
    def principal(self) -> Principal:
        """The chute as a caller."""
        return Principal(self.chute, Role.USER, LOCAL_DOMAIN, "chute")


class Outcome(IntEnum):
    """How a login ended."""

    ACCEPTED = 1
    REFUSED = 2
    THROTTLED = 3


@dataclass(frozen=True, slots=True)
class Login:
    """A login or a refusal."""

    time_s: float
    username: str
    address: str
    outcome: Outcome


def is_username(name: str) -> bool:
    """Tells whether a user can have this name."""
    return _USERNAME.fullmatch(name) is not None


def check_username(name: str) -> None:
    """Raises `InvalidArgument` unless a user can have this name."""
    if not is_username(name):
        raise InvalidArgument(
            "A user name is a letter and then letters, digits, '.', '_' or '-'; at most 32 characters.",
            reason="USERNAME_INVALID",
            field="username",
        )


def check_password(password: str) -> None:
    """Raises `InvalidArgument` unless this may become somebody's password."""
    size = len(password.encode())
    if size < MIN_PASSWORD_BYTES:
        raise InvalidArgument(
            f"The password has {size} bytes; choose one with at least {MIN_PASSWORD_BYTES}.",
            reason="PASSWORD_TOO_SHORT",
            field="password",
            size_bytes=str(size),
            min_bytes=str(MIN_PASSWORD_BYTES),
        )
    if size > MAX_PASSWORD_BYTES:
        raise InvalidArgument(
            f"The password has {size} bytes; choose one with at most {MAX_PASSWORD_BYTES}.",
            reason="PASSWORD_TOO_LONG",
            field="password",
            size_bytes=str(size),
            max_bytes=str(MAX_PASSWORD_BYTES),
        )


def login_failed() -> Unauthenticated:
    """Says no more than that the two do not belong together."""
    return Unauthenticated("The user name or the password is wrong.", reason="LOGIN_FAILED")

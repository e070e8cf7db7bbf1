"""What the domain needs from the world outside."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from services.auth.domain.model import ChuteToken, Login, User
from services.common.identity import Role

Clock = Callable[[], float]
"""Returns seconds: since 1970 where a time is kept or signed, since any moment where one is waited for."""


class Store(Protocol):
    """Keeps users, chute tokens and the audit. Each call is one transaction.

    Every generation that it gives out is higher than all before it, so that a removed name that comes back
    never revives an old token.
    """

    async def bootstrap_hash(self) -> str | None:
        """Returns the hash of the password of the first start, or nothing before it."""

    async def set_up(self, bootstrap_hash: str, name: str, role: Role, created_s: float) -> None:
        """Keeps the hash of the first start's password and adds the first user with it."""

    async def users(self) -> Sequence[User]:
        """Returns all users."""

    async def put_user(self, name: str, role: Role, password_hash: str, created_s: float) -> User:
        """Adds or replaces a user, with a new generation."""

    async def delete_user(self, name: str) -> None:
        """Removes a user."""

    async def chute_tokens(self) -> Sequence[ChuteToken]:
        """Returns the tokens of all chutes."""

    async def put_chute_token(self, chute: str, digest: bytes, former: bytes | None) -> ChuteToken:
        """Adds or replaces the token of a chute, with a new generation."""

    async def delete_chute_token(self, chute: str) -> None:
        """Removes the token of a chute."""

    async def next_generation(self) -> int:
        """Returns a new generation."""

    async def add_login(self, login: Login) -> None:
        """Writes to the audit; what does not fit any more goes, oldest first."""

    async def logins(self, before_id: int | None, limit: int) -> Sequence[tuple[int, Login]]:
        """Returns logins with their ids, newest first."""


class Hasher(Protocol):
    """Hashes passwords, at a price."""

    dummy: str
    """A hash of no password, at the usual price."""

    async def hash(self, password: str) -> str:
        """Returns a hash of a new password."""

    async def matches(self, password_hash: str, password: str) -> bool:
        """Tells whether a hash is of a password."""


class Publisher(Protocol):
    """Tells every verifier of tokens who exists."""

    async def publish(self, principals: Mapping[str, Any]) -> None:
        """Publishes if anything has changed."""


class Signer(Protocol):
    """Holds the private key."""

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Returns a signed token."""

"""Users of the controller, who log in with its tokens."""

from dataclasses import dataclass
from typing import Protocol

from services.auth.domain.tokens import TokenMint
from services.common.errors import Unauthenticated
from services.common.identity import Principal, Role

MAX_TOKEN_CHARACTERS = 8192


@dataclass(frozen=True, slots=True)
class CloudUser:
    """Who the controller says it is."""

    email: str
    role: Role
    """The highest of guest and what the controller lets the user do on this node."""
    domain: str
    """Host of the controller."""


class Cloud(Protocol):
    """The controller of the node."""

    async def user(self, token: str) -> CloudUser:
        """Returns who has a token.

        Raises Unauthenticated if the controller does not know it, Unavailable if it does not answer.
        """


class CloudLogin:
    """Exchanges a token of the controller for one of the node."""

    def __init__(self, cloud: Cloud, mint: TokenMint) -> None:
        self._cloud = cloud
        self._mint = mint

    async def login(self, token: str) -> tuple[CloudUser, str]:
        """Returns the user and a token for this node."""
        if not token or len(token) > MAX_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable():
            raise Unauthenticated("A token of the controller is needed.", reason="CLOUD_TOKEN_REFUSED")
        user = await self._cloud.user(token)
        return user, self._mint.cloud_token(Principal(user.email, user.role, domain=user.domain))

"""What the domain needs from the world outside."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from services.common.feed import Subscription
from services.common.ring import LogLine
from services.node.domain.diagnosis.facts import Facts


@dataclass(frozen=True, slots=True)
class ChuteFacts:
    """What telemetry needs to know of a chute."""

    name: str
    state: str
    """The engine's word, or "missing"."""
    pid: int | None = None
    """The main process of its first running service."""
    interfaces: Mapping[str, str] = field(default_factory=dict)
    """Interface on the host to the type of the chute's network, such as "wifi-ap"."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system."""

    name: str
    home: str
    uid: int
    gid: int


class Chutes(Protocol):
    """The chutes of this node, as the chute service knows them."""

    async def facts(self) -> Sequence[ChuteFacts]:
        """Returns all chutes; raises Unavailable while the chute service does not answer."""


class KeyFiles(Protocol):
    """The files of authorised SSH keys. Blocking."""

    def read(self, account: Account) -> list[str]:
        """Returns the lines of the user's file; none if there is no file."""

    def write(self, account: Account, lines: Sequence[str]) -> None:
        """Replaces the user's file; afterwards it belongs to the user and nobody else can write it."""


class Lines(Protocol):
    """The log of the whole node."""

    def reading(self) -> AbstractAsyncContextManager[tuple[list[LogLine], Subscription[LogLine]]]:
        """Yields the kept lines, oldest first, and the new ones for the time of the context."""


class FactSource(Protocol):
    """Whoever can look at the node and do something about some issues."""

    async def gather(self) -> Facts:
        """Returns everything that is known now."""

    async def fix(self, issue: str) -> str:
        """Does what can be done about an issue and tells what that was."""

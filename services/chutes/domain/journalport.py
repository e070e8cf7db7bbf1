"""Where changes and chutes are kept, as the domain needs it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.chutes.domain.change import Change, Request, Situation
from services.chutes.domain.chute import Chute

Line = tuple[float, str]
"""Seconds since 1970 and what happened."""


class Journal(Protocol):
    """Keeps chutes and changes. What a call wrote survives power loss when the call returns."""

    async def load(self) -> tuple[Sequence[Chute], Sequence[Change]]:
        """Returns all chutes, and the changes that are kept, oldest first."""

    async def accept(self, request: Request, time_s: float) -> Change:
        """Records a new change under a new id."""

    async def amend(self, change: Change) -> None:
        """Records what a change is asked for now that more is known of it."""

    async def begin(self, change: Change, situation: Situation) -> None:
        """Records that a change starts to run, and from where."""

    async def enter(self, change: Change, lines: Sequence[Line]) -> None:
        """Records the step and phase that a change is about to enter, and the lines that came since."""

    async def commit(self, change: Change, outcome: Mapping[str, Chute | None]) -> None:
        """Makes the outcome of a change the truth: each chute as it is now, None if it is gone."""

    async def cancel(self, change: Change) -> None:
        """Records who has cancelled a change."""

    async def requeue(self, change: Change) -> None:
        """Records that a change was undone and waits to be run again."""

    async def end(self, change: Change, lines: Sequence[Line]) -> None:
        """Records how a change ended and all lines that are kept of it; forgets the oldest changes."""

    async def lines(self, change_id: int) -> Sequence[Line]:
        """Returns the lines that are kept of a change."""

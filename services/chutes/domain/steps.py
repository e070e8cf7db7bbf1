"""What the steps of changes have in common, and what they work with.

Doing or undoing a step twice, or undoing one that was done in part or not at all, is as good as once: after a
crash nobody knows how far the last one came.
"""
# ruff: noqa: D102 (`Step` says what every do and undo is.)

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from services.chutes.domain.containers import NodeAddress
from services.chutes.domain.folderport import Folders
from services.chutes.domain.networkport import Networks
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.ports import Engine, OnLine, TokenIssuer
from services.common.errors import DeadlineExceeded

DEADLINE_S = 120.0


@dataclass(slots=True)
class Run:
    """What the steps of one change work with."""

    engine: Engine
    tokens: TokenIssuer
    folders: Folders
    node: NodeAddress
    builds: asyncio.Semaphore
    """Bounds the builds that run side by side."""
    settle_s: float
    """How long a new container must stay up to count as running."""
    grace_s: float
    """How long one must that replaces an earlier version, before that is given up."""
    slowest_start_s: float = field(default=0.0, kw_only=True)
    """How long the slowest start of a container took: a busy machine is as slow to tell of an end."""
    say: OnLine
    networks: Networks
    policy: NodePolicy = field(default_factory=NodePolicy)
    network_interfaces: tuple[Mapping[str, Any], ...] | None = None
    """What the networks of the chute became on the way; None if they stayed as they were."""
    token: str = field(default="", repr=False)
    """Token of the chute; issued on the way if it is new."""
    unlocked: Callable[[str], Awaitable[None]] = field(repr=False, kw_only=True)
    """Waits until a chute has no update lock, and holds nobody up meanwhile."""
    advance: Callable[[float], None] = lambda _fraction: None
    """Tells how much of the step is done, from 0 to 1."""


class Step:
    """One step of a change."""

    label: ClassVar[str]
    deadline_s: ClassVar[float | None] = DEADLINE_S
    """None for a step that bounds its own work, because it also waits for others."""

    @property
    def name(self) -> str:
        """Name in the plan, unique in it."""
        return self.label

    @property
    def description(self) -> str:
        """What the step does, in a sentence."""
        return (type(self).__doc__ or self.label).partition("\n")[0]

    async def do(self, run: Run) -> None:
        """Does the step."""
        raise NotImplementedError

    async def undo(self, run: Run) -> None:
        """Brings back what was before the step; nothing, unless a step says otherwise."""

    async def within_deadline(self, act: Callable[[Run], Awaitable[None]], run: Run) -> None:
        """Does or undoes the step, or raises DeadlineExceeded (STEP_TIMED_OUT)."""
        try:
            async with asyncio.timeout(self.deadline_s):
                await act(run)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self.name} took too long; see whether the container engine is overloaded, then try again.",
                reason="STEP_TIMED_OUT",
                step=self.name,
            ) from None


class ServiceStep(Step):
    """A step for one service of the chute."""

    service: str

    @property
    def name(self) -> str:
        return f"{self.label} {self.service}"

"""Lets somebody who cancels a change interrupt what can be interrupted of it, and nothing else."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from services.chutes.domain.change import Change
from services.common.errors import Aborted

T = TypeVar("T")


class Interruptions:
    """The work of each change that may be cut off: its steps and what it waits for, but never its journal."""

    def __init__(self) -> None:
        self._work: dict[int, asyncio.Task[Any]] = {}

    async def run(self, change: Change, work: Coroutine[Any, Any, T]) -> T:
        """Does the work, or raises Aborted (CHANGE_CANCELLED) if the change is cancelled before or in it."""
        if change.cancelled_by:
            work.close()
            raise cancelled(change)
        task = asyncio.create_task(work, name=f"work of change {change.id}")
        self._work[change.id] = task
        try:
            return await task
        except asyncio.CancelledError:
            running = asyncio.current_task()
            if running is None or running.cancelling():
                raise  # The node itself ends.
            raise cancelled(change) from None
        finally:
            del self._work[change.id]

    def interrupt(self, change: Change) -> None:
        """Cuts off what runs of a change."""
        task = self._work.get(change.id)
        if task is not None:
            task.cancel()


def cancelled(change: Change) -> Aborted:
    """The change ends because somebody does not want it any more."""
    return Aborted(
        f"{change.cancelled_by} cancelled the change.", reason="CHANGE_CANCELLED", user=change.cancelled_by
    )

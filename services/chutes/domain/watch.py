"""Follows the progress of a change."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from services.chutes.domain.access import may_access
from services.chutes.domain.change import Change
from services.chutes.domain.chute import Actor
from services.chutes.domain.errors import change_not_yours
from services.chutes.domain.journalport import Journal, Line
from services.chutes.domain.queue import ChangeQueue
from services.chutes.domain.registry import Registry

IDLE_S = 10.0
QUIET_S = 60.0
"""How long a watch of all changes may be silent."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something a watcher is told; with nothing set it only shows that all is well."""

    lines: Sequence[Line] = ()
    synced: bool = False
    ended: Change | None = None
    dropped: int = 0
    moved: Change | None = None
    """The change: at first, and when its step, percent or what it waits for is another than was told."""


class ChangeWatcher:
    """Lets callers follow changes that run, and read those that have ended."""

    def __init__(self, queue: ChangeQueue, registry: Registry, journal: Journal) -> None:
        self._queue = queue
        self._registry = registry
        self._journal = journal

    def find(self, change_id: int, user: Actor) -> Change:
        """Returns a change that the caller may follow: its messages hold output of the chute."""
        change = self._queue.find(change_id)
        chute = self._registry.installed.get(change.request.chute)
        owners = [change.request.user, *([chute.owner] if chute else [])]
        if not any(may_access(owner, user) for owner in owners):
            raise change_not_yours(change_id, change.request.user)
        return change

    async def watch(self, change: Change) -> AsyncIterator[WatchEvent]:
        """Yields the messages so far, a sync mark, the change, what is new, and the change that has ended."""
        progress = self._queue.progress(change)
        if progress is None:
            yield WatchEvent(await self._journal.lines(change.id))
            yield WatchEvent(synced=True)
        else:
            with progress.watch() as (lines, subscription):
                yield WatchEvent(lines)
                yield WatchEvent(synced=True)
                told = _state(change)
                if not change.ended:
                    yield WatchEvent(moved=change)
                async for batch in subscription.batches(IDLE_S):
                    yield WatchEvent(batch, dropped=subscription.take_dropped())
                    now = _state(change)
                    if now != told and not change.ended:
                        told = now
                        yield WatchEvent(moved=change)
        yield WatchEvent(ended=change)

    async def watch_all(self) -> AsyncIterator[WatchEvent]:
        """Yields the changes that have not ended, a sync mark, then each that is accepted or has ended."""
        with self._queue.news.subscribe() as subscription:
            for change in list(self._queue.unfinished()):
                yield WatchEvent(moved=change)
            yield WatchEvent(synced=True)
            async for batch in subscription.batches(QUIET_S):
                for change in batch:
                    yield WatchEvent(moved=change)
                if not batch:
                    yield WatchEvent()


def _state(change: Change) -> tuple[object, ...]:
    return change.status, change.step, change.percent, change.waiting

"""The queue of changes: in order for each chute, side by side for different ones."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import structlog

from services.chutes.domain.change import Change, Request, Wait
from services.chutes.domain.chute import Actor
from services.chutes.domain.errors import change_not_cancellable, change_not_found, request_id_reused
from services.chutes.domain.executor import Executor
from services.chutes.domain.journalport import Journal
from services.chutes.domain.planner import Plan
from services.chutes.domain.progress import Progress
from services.common.errors import ResourceExhausted
from services.common.keyed import KeyedFeed

MAX_UNFINISHED = 100
KEPT_CHANGES = 1000
RETRY_INTERVAL_S = 5.0

log = structlog.get_logger()


class ChangeQueue:
    """Accepts changes and sees to it that each of them ends."""

    def __init__(self, journal: Journal, executor: Executor, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._executor = executor
        self._clock = clock
        self._changes: dict[int, Change] = {}
        self._progress: dict[int, Progress] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._accepting = asyncio.Lock()
        self._accepted: set[asyncio.Task[Change]] = set()
        self._requests: dict[tuple[str, str, str], int] = {}
        """Domain and name of a user and what they called a request, to the change that it became."""
        self.news: KeyedFeed[int, Change] = KeyedFeed()
        """Each change, by its id, when it is accepted and when it has ended."""

    @asynccontextmanager
    async def running(self, changes: Sequence[Change]) -> AsyncIterator[None]:
        """Takes up what the journal holds and executes changes for the time of the context.

        What runs at the end of it is cut off as by a crash, and taken up at the next start.
        """
        for change in changes:
            self._remember(change)
            if not change.ended:
                self._progress[change.id] = Progress(await self._journal.lines(change.id))
        self._dispatch()
        try:
            yield
        finally:
            tasks = [*self._tasks.values(), *self._accepted]
            self._tasks = {}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def accept(self, request: Request, check: Callable[[], None]) -> Change:
        """Accepts a change unless `check` raises; when it returns, the change is on disk.

        A caller that is cancelled meanwhile does not stop it: half of an acceptance would be a change that is
        on disk and that nobody executes.
        """
        task = asyncio.create_task(self._accept(request, check))
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)
        return await asyncio.shield(task)

    async def _accept(self, request: Request, check: Callable[[], None]) -> Change:
        async with self._accepting:
            known = self._known(request)
            if known is not None:
                return known
            check()
            if sum(1 for _ in self.unfinished()) >= MAX_UNFINISHED:
                raise ResourceExhausted(
                    f"{MAX_UNFINISHED} changes wait already; try again when some have ended.",
                    reason="CHANGE_QUEUE_FULL",
                    retry_after_s=10,
                    limit=str(MAX_UNFINISHED),
                )
            change = await self._journal.accept(request, self._clock())
            self._remember(change)
            self._progress[change.id] = Progress()
            self.news.publish(change.id, change)
        self._dispatch()
        return change

    def _remember(self, change: Change) -> None:
        self._changes[change.id] = change
        if change.request.terms.request_id:
            self._requests[_key(change.request)] = change.id

    def knows(self, user: Actor, request_id: str) -> bool:
        """Tells whether a request of a user, by what they call it, has become a change before."""
        return (user.domain, user.name, request_id) in self._requests

    def _known(self, request: Request) -> Change | None:
        """Returns the change that the same request became when it was sent before."""
        if not request.terms.request_id:
            return None
        change = self._changes.get(self._requests.get(_key(request), 0))
        if change is not None and (change.request.chute, change.request.type) != (
            request.chute,
            request.type,
        ):
            raise request_id_reused(request.terms.request_id, change)
        return change

    async def preview(self, request: Request, check: Callable[[], None]) -> Plan:
        """Returns what a change would do now, unless `check` raises; nothing is accepted."""
        check()
        return await self._executor.preview(request)

    async def cancel(self, change: Change, user: str) -> None:
        """Cancels a change that has not reached its commit; when it returns, that is on disk."""
        if change.phase == "finishing" or change.ended or change.failure is not None:
            raise change_not_cancellable(change)
        if not change.cancelled_by:
            change.cancelled_by = user
            await self._journal.cancel(change)
        self._executor.interrupt(change)
        self._dispatch()

    def find(self, change_id: int) -> Change:
        """Returns a change, ended or not, or raises NotFound (CHANGE_NOT_FOUND)."""
        change = self._changes.get(change_id)
        if change is None:
            raise change_not_found(change_id)
        return change

    def unfinished(self, chute: str | None = None) -> Iterator[Change]:
        """Returns the changes that have not ended, oldest first; those of one chute if it is given."""
        for change_id in sorted(self._progress):
            change = self._changes[change_id]
            if chute is None or change.request.chute == chute:
                yield change

    def ended(self) -> Sequence[Change]:
        """Returns the changes that have ended, newest first."""
        return [self._changes[i] for i in sorted(self._changes, reverse=True) if i not in self._progress]

    def progress(self, change: Change) -> Progress | None:
        """Returns the messages of a change that has not ended."""
        return self._progress.get(change.id)

    def _dispatch(self) -> None:
        first = {self._changes[i].request.chute: i for i in self._tasks}
        for change in self.unfinished():
            if change.id in self._tasks:
                continue
            before = first.setdefault(change.request.chute, change.id)
            # One that is cancelled only has to be told so, and need not wait for that.
            if before == change.id or change.cancelled_by:
                change.waiting = None
                self._tasks[change.id] = asyncio.create_task(self._run(change), name=f"change {change.id}")
            else:
                change.waiting = Wait("EARLIER_CHANGE", f"Waiting for the end of change {before}.")

    async def _run(self, change: Change) -> None:
        progress = self._progress[change.id]
        while not change.ended:
            try:
                await self._executor.run(change, progress)
            except Exception:
                # Such as a full disk: the journal cannot be written now, and nothing goes on without it.
                log.exception("a change cannot go on; it is tried again", change_id=change.id)
                await asyncio.sleep(RETRY_INTERVAL_S)
        change.request = change.request.without_payload()
        change.situation = None
        del self._progress[change.id], self._tasks[change.id]
        progress.close()
        self.news.publish(change.id, change)
        self._forget_oldest()
        self._dispatch()

    def _forget_oldest(self) -> None:
        for change in self.ended()[KEPT_CHANGES:]:
            del self._changes[change.id]
            self._requests.pop(_key(change.request), None)


def _key(request: Request) -> tuple[str, str, str]:
    return request.user.domain, request.user.name, request.terms.request_id

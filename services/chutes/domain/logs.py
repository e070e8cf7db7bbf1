"""The output of a chute: all its services together, also across restarts of its containers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.chutes.domain.chute import Chute
from services.chutes.domain.ports import ALWAYS, ContainerState, Engine, LoggedLine, TimeSpan
from services.chutes.domain.registry import Registry
from services.common.errors import DomainError, InvalidArgument, NotFound
from services.common.feed import Subscription

DEFAULT_TAIL = 200
MAX_TAIL = 10_000
ALL_LINES = 2**31 - 1
MAX_PAST_CHARACTERS = 4 * 1024 * 1024
FOLLOW_DEPTH = 20_000
FOLLOW_CHARACTERS = 4 * 1024 * 1024
"""What waits for one reader at most: a second of a fast logger."""
GATHER_S = 0.05
"""Lines come in large groups: each message costs, and the services' lines can be put in order."""
REOPEN_TAIL = 1000
LOOK_INTERVAL_S = 0.5
IDLE_S = 10.0


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something a reader of logs is told; with no lines and not synced it only shows that all is well."""

    lines: Sequence[LoggedLine] = ()
    synced: bool = False
    dropped: int = 0


class LineQueue:
    """The lines that wait for one reader, bounded in number and size; the oldest go first when it lags."""

    def __init__(self) -> None:
        self._lines: deque[LoggedLine] = deque()
        self._characters = 0
        self._dropped = 0
        self._closed = False
        self._ready = asyncio.Event()

    def push(self, line: LoggedLine) -> None:
        """Adds a line."""
        self._lines.append(line)
        self._characters += len(line.message)
        while len(self._lines) > FOLLOW_DEPTH or self._characters > FOLLOW_CHARACTERS:
            self._characters -= len(self._lines.popleft().message)
            self._dropped += 1
        self._ready.set()

    def close(self) -> None:
        """Lets the reader finish after the lines that wait."""
        self._closed = True
        self._ready.set()

    async def batches(self, idle_s: float) -> AsyncIterator[tuple[list[LoggedLine], int]]:
        """Yields what waits, by time, and how many were lost; nothing after `idle_s` without anything."""
        while True:
            if not self._lines and not self._closed:
                self._ready.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(idle_s):
                        await self._ready.wait()
                    await asyncio.sleep(GATHER_S)
            lines = sorted(self._lines, key=lambda line: line.timestamp_ns)
            self._lines.clear()
            lost, self._characters, self._dropped = self._dropped, 0, 0
            if not lines and self._closed:
                return
            yield lines, lost


class LogReader:
    """Reads the output of chutes from the engine."""

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self._engine = engine
        self._registry = registry

    async def read(
        self, chute: Chute, service: str, tail: int, follow: bool, span: TimeSpan = ALWAYS
    ) -> AsyncIterator[LogEvent]:
        """Yields the past lines by time, a sync mark and, if asked, new lines until the chute is removed.

        `tail` is the most past lines of each service, the last ones of the span.
        """
        _check(chute, service, tail, follow, span)
        if not follow and self._engine.containers() is None:
            await self._engine.refresh()
        services = [service] if service else list(chute.spec.services)
        seen: dict[str, int] = {}
        past, dropped = await self._past(chute, services, tail, span)
        for line in past:
            seen[line.service] = line.timestamp_ns
        if past or dropped:
            yield LogEvent(past, dropped=dropped)
        yield LogEvent(synced=True)
        if not follow:
            return
        waiting = LineQueue()
        seen = {name: max(seen.get(name, -1), (span.since_ns or 0) - 1) for name in services}
        follower = asyncio.create_task(self._follow(chute.name, service, tail, seen, waiting))
        try:
            async for lines, lost in waiting.batches(IDLE_S):
                yield LogEvent(lines, dropped=lost)
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    async def _past(
        self, chute: Chute, services: Iterable[str], tail: int, span: TimeSpan
    ) -> tuple[list[LoggedLine], int]:
        past: list[LoggedLine] = []
        dropped = 0
        for service in services:
            with suppress(NotFound):  # The container went while this was asked; it comes back or it does not.
                lines, lost = await self._past_of(chute, service, tail, span)
                past += lines
                dropped += lost
        return sorted(past, key=lambda line: line.timestamp_ns), dropped

    async def _past_of(
        self, chute: Chute, service: str, tail: int, span: TimeSpan
    ) -> tuple[deque[LoggedLine], int]:
        kept, characters, dropped = deque[LoggedLine](), 0, 0
        container = chute.containers[service]
        if not tail or container not in (self._engine.containers() or {}):
            return kept, dropped
        # The engine counts its tail from the end of everything, not of the span.
        asked = tail if span == ALWAYS else ALL_LINES
        async with self._engine.logs(container, service, asked, follow=False, span=span) as batches:
            async for batch in batches:
                for line in batch:
                    kept.append(line)
                    characters += len(line.message)
                    if len(kept) > tail:
                        characters -= len(kept.popleft().message)
                    while characters > MAX_PAST_CHARACTERS:
                        characters -= len(kept.popleft().message)
                        dropped += 1
        return kept, dropped

    async def _follow(
        self,
        name: str,
        service: str,
        tail: int,
        seen: dict[str, int],
        waiting: LineQueue,
    ) -> None:
        """Opens the output of each container, and again whenever the container becomes another."""
        sessions: dict[str, asyncio.Task[None]] = {}
        opened: dict[str, ContainerState] = {}
        try:
            with self._engine.subscribe() as news:
                async for _ in _now_and_then(news):
                    chute = self._registry.installed.get(name)
                    if chute is None:
                        return
                    for wanted in [service] if service else chute.spec.services:
                        state = (self._engine.containers() or {}).get(chute.spec.container_name(wanted))
                        session = sessions.get(wanted)
                        if state is None or (session and not session.done()) or opened.get(wanted) == state:
                            continue
                        again = REOPEN_TAIL if tail or wanted in opened else 0
                        opened[wanted] = state
                        sessions[wanted] = asyncio.create_task(self._session(state, again, seen, waiting))
        finally:
            for session in sessions.values():
                session.cancel()
            await asyncio.gather(*sessions.values(), return_exceptions=True)
            waiting.close()

    async def _session(
        self, state: ContainerState, tail: int, seen: dict[str, int], waiting: LineQueue
    ) -> None:
        """Passes on what is newer than what was seen; lines that come while a session opens are not lost."""
        try:
            async with self._engine.logs(state.name, state.service, tail, follow=True) as batches:
                async for batch in batches:
                    for line in batch:
                        # An engine that begins a new log file may tell the last lines of the old one again.
                        if line.timestamp_ns > seen.get(state.service, -1):
                            seen[state.service] = line.timestamp_ns
                            waiting.push(line)
        except DomainError:
            return  # The container or the engine is gone; the loop opens it again when it is back.


async def _now_and_then(news: Subscription[None]) -> AsyncIterator[None]:
    yield
    async for _ in news.batches(LOOK_INTERVAL_S):
        yield


def _check(chute: Chute, service: str, tail: int, follow: bool, span: TimeSpan) -> None:
    if service and service not in chute.spec.services:
        raise InvalidArgument(
            f"Chute {chute.name} has no service {service}; it has {', '.join(chute.spec.services)}.",
            reason="SERVICE_UNKNOWN",
            field="service",
            chute=chute.name,
            service=service,
        )
    if not 0 <= tail <= MAX_TAIL:
        raise InvalidArgument(
            f"tail must be from 0 to {MAX_TAIL}, not {tail}.", reason="TAIL_OUT_OF_RANGE", field="tail"
        )
    if span.until_ns is not None and follow:
        raise InvalidArgument(
            "until cannot be combined with follow; leave one of them out.",
            reason="UNTIL_WITH_FOLLOW",
            field="until",
        )
    if span.until_ns is not None and span.until_ns < (span.since_ns or 0):
        raise InvalidArgument("until must not be before since.", reason="UNTIL_BEFORE_SINCE", field="until")

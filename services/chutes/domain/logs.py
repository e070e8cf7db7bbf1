"""The output of a chute: all its services together, also across restarts of its containers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.chutes.domain.chute import Chute
from services.chutes.domain.ports import ContainerState, Engine, LoggedLine
from services.chutes.domain.registry import Registry
from services.common.errors import DomainError, InvalidArgument, NotFound
from services.common.feed import Subscription

DEFAULT_TAIL = 200
MAX_TAIL = 10_000
MAX_PAST_CHARACTERS = 4 * 1024 * 1024
FOLLOW_DEPTH = 1000
REOPEN_TAIL = 1000
LOOK_INTERVAL_S = 0.5
IDLE_S = 10.0


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something a reader of logs is told; with no lines and not synced it only shows that all is well."""

    lines: Sequence[LoggedLine] = ()
    synced: bool = False
    dropped: int = 0


class LogReader:
    """Reads the output of chutes from the engine."""

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self._engine = engine
        self._registry = registry

    async def read(self, chute: Chute, service: str, tail: int, follow: bool) -> AsyncIterator[LogEvent]:
        """Yields the past lines by time, a sync mark and, if asked, new lines until the chute is removed."""
        _check(chute, service, tail)
        if not follow and self._engine.containers() is None:
            await self._engine.refresh()
        services = [service] if service else list(chute.spec.services)
        seen: dict[str, int] = {}
        past, dropped = await self._past(chute, services, tail)
        for line in past:
            seen[line.service] = line.timestamp_ns
        if past or dropped:
            yield LogEvent(past, dropped=dropped)
        yield LogEvent(synced=True)
        if not follow:
            return
        subscription: Subscription[LoggedLine] = Subscription(FOLLOW_DEPTH)
        follower = asyncio.create_task(self._follow(chute.name, service, tail, seen, subscription))
        try:
            async for lines in subscription.batches(IDLE_S):
                yield LogEvent(lines, dropped=subscription.take_dropped())
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    async def _past(self, chute: Chute, services: Iterable[str], tail: int) -> tuple[list[LoggedLine], int]:
        past: list[LoggedLine] = []
        dropped = 0
        for service in services:
            with suppress(NotFound):  # The container went while this was asked; it comes back or it does not.
                lines, lost = await self._past_of(chute, service, tail)
                past += lines
                dropped += lost
        return sorted(past, key=lambda line: line.timestamp_ns), dropped

    async def _past_of(self, chute: Chute, service: str, tail: int) -> tuple[deque[LoggedLine], int]:
        kept, characters, dropped = deque[LoggedLine](), 0, 0
        container = chute.containers[service]
        if not tail or container not in (self._engine.containers() or {}):
            return kept, dropped
        async with self._engine.logs(container, service, tail, follow=False) as batches:
            async for batch in batches:
                for line in batch:
                    kept.append(line)
                    characters += len(line.message)
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
        subscription: Subscription[LoggedLine],
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
                        sessions[wanted] = asyncio.create_task(
                            self._session(state, again, seen, subscription)
                        )
        finally:
            for session in sessions.values():
                session.cancel()
            await asyncio.gather(*sessions.values(), return_exceptions=True)
            subscription.close()

    async def _session(
        self, state: ContainerState, tail: int, seen: dict[str, int], subscription: Subscription[LoggedLine]
    ) -> None:
        """Passes on what is newer than what was seen; lines that come while a session opens are not lost."""
        try:
            async with self._engine.logs(state.name, state.service, tail, follow=True) as batches:
                async for batch in batches:
                    for line in batch:
                        if line.timestamp_ns > seen.get(state.service, -1):
                            seen[state.service] = line.timestamp_ns
                            subscription.push(line)
        except DomainError:
            return  # The container or the engine is gone; the loop opens it again when it is back.


async def _now_and_then(news: Subscription[None]) -> AsyncIterator[None]:
    yield
    async for _ in news.batches(LOOK_INTERVAL_S):
        yield


def _check(chute: Chute, service: str, tail: int) -> None:
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

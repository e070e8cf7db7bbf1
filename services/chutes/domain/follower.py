"""Keeps what follows from the chutes and their containers in step with them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from services.chutes.domain.chute import Chute
from services.chutes.domain.ports import ContainerState, Engine
from services.chutes.domain.registry import Registry
from services.common.errors import DomainError
from services.common.feed import Subscription

IDLE_S = 3600.0
RETRY_S = 5.0

Consequence = Callable[[Mapping[str, Chute], Mapping[str, ContainerState] | None], Awaitable[None]]
"""Takes the installed chutes and our containers (None if the engine cannot be asked), and does what follows.

It is called after every change of either, compares with what it did last and does only the difference.
"""

log = structlog.get_logger()


class Follower:
    """Calls the consequences, each by itself; one that fails is called again after a while."""

    def __init__(self, engine: Engine, registry: Registry, consequences: Sequence[Consequence]) -> None:
        self._engine = engine
        self._registry = registry
        self._consequences = {consequence: asyncio.Event() for consequence in consequences}
        """What wakes each of them."""

    async def run(self) -> None:
        """Follows until cancelled."""
        with (
            self._engine.subscribe() as of_engine,
            self._registry.changes.subscribe(depth=1) as of_registry,
        ):
            async with asyncio.TaskGroup() as group:
                for news in (of_engine, of_registry):
                    group.create_task(self._listen(news))
                for consequence, wake in self._consequences.items():
                    group.create_task(self._follow(consequence, wake))

    async def _listen(self, news: Subscription[None]) -> None:
        async for _ in news.batches(IDLE_S):
            for wake in self._consequences.values():
                wake.set()

    async def _follow(self, consequence: Consequence, wake: asyncio.Event) -> None:
        while True:
            wake.clear()
            try:
                await consequence(self._registry.installed, self._engine.containers())
                await wake.wait()
            except DomainError as error:  # Such as another service that does not answer yet.
                log.warning("what follows from the chutes has to wait", reason=error.reason, error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("cannot do what follows from the chutes")
                await asyncio.sleep(RETRY_S)

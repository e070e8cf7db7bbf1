"""The list of chutes: asked for all the time, changed rarely."""

import asyncio
from collections.abc import AsyncIterator

from paradrop.chutes.v1 import chutes_pb2

from services.chutes.domain.chute import Chute
from services.chutes.domain.deviation import Deviation
from services.chutes.domain.ports import ContainerState, Engine
from services.chutes.domain.registry import Registry
from services.chutes.domain.supervisor import Supervisor
from services.chutes.rpc.messages import to_chute
from services.common.feed import Feed

LEAST_INTERVAL_S = 0.5
QUIET_S = 60.0
"""The shortest and the longest time between two messages of a watch."""


class ChuteList:
    """Keeps the reply until a chute or a container changes, so that a call costs a comparison."""

    def __init__(self, registry: Registry, engine: Engine, supervisor: Supervisor, news: Feed[None]) -> None:
        self._news = news
        self._registry = registry
        self._engine = engine
        self._supervisor = supervisor
        self._deviations: dict[str, Deviation] = {}
        self._generation = -1
        self._containers: dict[str, ContainerState] | None = None
        self._reply = chutes_pb2.ListChutesResponse()

    def of(self, chute: Chute) -> chutes_pb2.Chute:
        """Returns one chute."""
        return to_chute(
            chute,
            self._engine.containers(),
            self._registry.cpu_shares(),
            self._supervisor.deviation(chute),
        )

    def reply(self) -> chutes_pb2.ListChutesResponse:
        """Returns all chutes by name; the caller must not alter the message."""
        containers = self._engine.containers()
        installed = self._registry.installed
        deviations = {
            name: deviation
            for name, chute in installed.items()
            if (deviation := self._supervisor.deviation(chute)) is not None
        }
        if (
            self._generation != self._registry.generation
            or self._containers != containers
            or self._deviations != deviations
        ):
            self._generation = self._registry.generation
            self._containers = None if containers is None else dict(containers)
            self._deviations = deviations
            shares = self._registry.cpu_shares()
            self._reply = chutes_pb2.ListChutesResponse(
                chutes=[
                    to_chute(installed[name], self._containers, shares, deviations.get(name))
                    for name in sorted(installed)
                ]
            )
        return self._reply

    async def watch(self) -> AsyncIterator[chutes_pb2.ListChutesResponse | None]:
        """Yields all chutes now and whenever they are others; None if nothing was new for a while."""
        with self._news.subscribe(depth=1) as subscription:
            told = self.reply()
            yield told
            async for news in subscription.batches(QUIET_S):
                if (now := self.reply()) is not told:
                    told = now
                    yield now
                elif not news:
                    yield None
                await asyncio.sleep(LEAST_INTERVAL_S)

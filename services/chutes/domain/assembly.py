"""Puts the parts of the domain together and keeps them going."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.chutes.domain.allocation import Allocator, Prioritizer
from services.chutes.domain.executor import Executor
from services.chutes.domain.exporter import Exporter
from services.chutes.domain.follower import Follower
from services.chutes.domain.gate import EngineGate
from services.chutes.domain.logs import LogReader
from services.chutes.domain.manager import ChuteManager
from services.chutes.domain.networks import NetworkNews
from services.chutes.domain.nodemanager import NodeManager
from services.chutes.domain.queue import ChangeQueue
from services.chutes.domain.registry import Registry
from services.chutes.domain.settlement import Observer
from services.chutes.domain.supervisor import Supervisor
from services.chutes.domain.usage import UsageMeter
from services.chutes.domain.watch import ChangeWatcher
from services.chutes.domain.web import WebSites
from services.chutes.domain.world import World
from services.common.feed import Feed


@dataclass(frozen=True, slots=True)
class Domain:
    """What the wire talks to."""

    gate: EngineGate
    registry: Registry
    queue: ChangeQueue
    manager: ChuteManager
    node: NodeManager
    watcher: ChangeWatcher
    logs: LogReader
    usage: UsageMeter
    supervisor: Supervisor
    exporter: Exporter
    list_news: Feed[None]
    """Tells that a chute or a container is another one."""


@asynccontextmanager
async def running_domain(world: World, observer: Observer | None = None) -> AsyncIterator[Domain]:
    """Takes up the state of the journal and executes changes for the time of the context.

    The engine need not be there: changes wait for it.
    """
    chutes, changes = await world.journal.load()
    unfinished = [folder for change in changes if not change.ended for folder in change.request.unpacked]
    await world.folders.clean([*unfinished, *(chute.sources for chute in chutes if chute.sources)])
    registry, gate = Registry(), EngineGate()
    registry.fill(chutes)
    kinds = {kind.type: kind for kind in world.node_changes}
    executor = Executor(world, registry, gate, kinds, observer)
    queue = ChangeQueue(world.journal, executor, world.clock)
    supervisor = Supervisor(world.engine, registry, queue, gate)
    news = NetworkNews(
        world.networks,
        # What is committed is in the registry, and only loses what it does not need any more.
        lambda: [change.request.chute for change in queue.unfinished() if change.phase != "finishing"],
    )
    list_news: Feed[None] = Feed()

    async def tell(*_: object) -> None:
        list_news.publish(None)

    follower = Follower(
        world.engine,
        registry,
        [
            tell,
            Allocator(world.engine).follow,
            WebSites(world.web).follow,
            Prioritizer(world.priority).follow,
            news.follow,
        ],
    )
    async with queue.running(changes):
        watching = asyncio.create_task(supervisor.run(), name="engine supervisor")
        following = asyncio.create_task(follower.run(), name="chute follower")
        try:
            yield Domain(
                gate,
                registry,
                queue,
                ChuteManager(registry, queue, world.tokens, world.folders, world.policy, world.clock),
                NodeManager(kinds, queue),
                ChangeWatcher(queue, registry, world.journal),
                LogReader(world.engine, registry),
                UsageMeter(world.engine, registry),
                supervisor,
                Exporter(world.engine, registry, world.packer),
                list_news,
            )
        finally:
            watching.cancel()
            following.cancel()
            await asyncio.gather(watching, following, return_exceptions=True)

"""Keeps the node and its engine in step: sweeps what crashes left, and starts what fell."""

import structlog

from services.chutes.domain.change import Request
from services.chutes.domain.chute import NODE, Chute
from services.chutes.domain.gate import EngineGate
from services.chutes.domain.ports import Engine
from services.chutes.domain.queue import ChangeQueue
from services.chutes.domain.registry import Registry
from services.common.errors import Aborted, DomainError

RETRY_INTERVAL_S = 2.0

log = structlog.get_logger()


class Supervisor:
    """Opens the gate when the engine is there and in order, and closes it when it is gone."""

    def __init__(self, engine: Engine, registry: Registry, queue: ChangeQueue, gate: EngineGate) -> None:
        self._engine = engine
        self._registry = registry
        self._queue = queue
        self._gate = gate

    async def run(self) -> None:
        """Watches the engine until cancelled."""
        with self._engine.subscribe() as news:
            await self._look()
            async for _ in news.batches(RETRY_INTERVAL_S):
                await self._look()

    async def _look(self) -> None:
        if not self._engine.available:
            self._gate.close()
        elif not self._gate.is_open and await self._put_in_order():
            self._gate.open()
            await self._start_fallen()

    async def _put_in_order(self) -> bool:
        """Sweeps the engine and tells whether it can be used."""
        situations = [change.situation for change in self._queue.unfinished() if change.situation]
        try:
            await self._engine.refresh()
            await self._engine.sweep(self._registry.wanted_objects(situations))
        except DomainError as error:
            log.warning("cannot put the engine in order", reason=error.reason, error=str(error))
            return error.reason != "ENGINE_DOWN"
        except Exception:  # Leftovers that stay are no reason to do nothing at all any more.
            log.exception("cannot put the engine in order")
        return True

    async def _start_fallen(self) -> None:
        for chute in list(self._registry.installed.values()):
            if not self._fell(chute):
                continue

            def still_fallen(chute: Chute = chute) -> None:
                if not self._fell(chute):
                    raise Aborted("The chute is being seen to already.")

            try:
                await self._queue.accept(Request("restart", chute.name, NODE), still_fallen)
            except DomainError as error:
                log.warning("cannot start a chute that fell", chute=chute.name, error=str(error))

    def _fell(self, chute: Chute) -> bool:
        """Tells whether a chute should run and does not, and no change will see to it."""
        states = self._engine.containers()
        if states is None or chute.desired != "running" or any(self._queue.unfinished(chute.name)):
            return False
        return any(
            container not in states or states[container].status != "running"
            for container in chute.containers.values()
        )

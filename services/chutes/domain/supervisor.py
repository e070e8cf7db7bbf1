"""Keeps the node and its engine in step: sweeps what crashes left, and starts what fell."""

import time
from collections.abc import Callable

import structlog

from services.chutes.domain.change import Request
from services.chutes.domain.chute import NODE, Chute
from services.chutes.domain.deviation import Attempts, Deviation, finding
from services.chutes.domain.gate import EngineGate
from services.chutes.domain.ports import Engine
from services.chutes.domain.queue import ChangeQueue
from services.chutes.domain.registry import Registry
from services.common.errors import Aborted, DomainError

RETRY_INTERVAL_S = 2.0

log = structlog.get_logger()


class Supervisor:
    """Opens the gate when the engine is there and in order, closes it when it is gone, starts what fell."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        queue: ChangeQueue,
        gate: EngineGate,
        clock: Callable[[], float] = time.time,
        attempts: Attempts | None = None,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._queue = queue
        self._gate = gate
        self._clock = clock
        self._attempts = attempts or Attempts()
        self._last: dict[str, int] = {}
        """Chute to the change that started it last on the node's own account."""

    async def run(self) -> None:
        """Watches the engine until cancelled."""
        with self._engine.subscribe() as news:
            await self._look()
            async for _ in news.batches(RETRY_INTERVAL_S):
                await self._look()

    def deviation(self, chute: Chute) -> Deviation | None:
        """Returns why a chute is not as it should be; None if it is."""
        if chute.desired != "running":
            return None
        containers = self._engine.containers()
        if containers is None:
            message = "The container engine does not answer; see that it runs. The chute starts after that."
            return Deviation("ENGINE_DOWN", message)
        found = finding(chute, containers)
        if found is None:
            return None
        if chute.name in self._registry.paused:
            return Deviation("BEING_EXPORTED", "The chute is paused while its data is read for an archive.")
        attempts = self._attempts.count(chute.name)
        change = next(self._queue.unfinished(chute.name), None)
        if change is not None:
            what = f"{found.message} Change {change.id} ({change.request.type}) is on its way."
            return Deviation("CHANGE_RUNNING", what, attempts)
        if not found.fallen:
            return Deviation(found.reason, found.message, attempts)
        reason, message = self._last_failure(chute.name) or (found.reason, found.message)
        wait_s = self._attempts.wait_s(chute.name)
        # Rounded, so that a list that is asked for twice is the same.
        next_s = round(self._clock() + wait_s) if wait_s else None
        return Deviation(reason, f"{message} The node starts it again by itself.", attempts, next_s)

    def _last_failure(self, chute: str) -> tuple[str, str] | None:
        try:
            change = self._queue.find(self._last.get(chute, 0))
        except DomainError:
            return None
        return (change.failure.reason, change.failure.message) if change.failure else None

    async def _look(self) -> None:
        if not self._engine.available:
            self._gate.close()
            return
        if not self._gate.is_open:
            if not await self._put_in_order():
                return
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
        installed = self._registry.installed
        self._attempts.forget(installed.__contains__)
        for chute in list(installed.values()):
            if finding(chute, self._engine.containers()) is None:
                self._attempts.well(chute.name)
            elif self._fell(chute) and self._attempts.due(chute.name):
                await self._start(chute)

    async def _start(self, chute: Chute) -> None:
        def still_fallen() -> None:
            if not self._fell(chute):
                raise Aborted("The chute is being seen to already.")

        try:
            change = await self._queue.accept(
                Request("restart", chute.name, NODE, only_fallen=True), still_fallen
            )
        except DomainError as error:
            log.warning("cannot start a chute that fell", chute=chute.name, error=str(error))
            return
        self._attempts.note(chute.name)
        self._last[chute.name] = change.id

    def _fell(self, chute: Chute) -> bool:
        """Tells whether a chute should run and does not, and no change will see to it."""
        if chute.name in self._registry.paused or any(self._queue.unfinished(chute.name)):
            return False
        if self._registry.installed.get(chute.name) != chute:
            return False
        found = finding(chute, self._engine.containers())
        return found is not None and found.fallen

"""Brings changes from their commit to their end, or undoes them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Literal

import structlog

from services.chutes.domain.change import Change, Failure, Situation
from services.chutes.domain.gate import EngineGate
from services.chutes.domain.interruptions import cancelled
from services.chutes.domain.outcomes import begun, failure_of, percent, told
from services.chutes.domain.progress import Progress
from services.chutes.domain.registry import Registry
from services.chutes.domain.steps import Run, Step
from services.chutes.domain.surveyor import Surveyor
from services.chutes.domain.waits import engine_back
from services.chutes.domain.world import World
from services.common.errors import DomainError

MAX_ATTEMPTS = 3
TRIES = 3
TRY_INTERVAL_S = 1.0

Observer = Callable[[Literal["before", "after"], str], None]
"""Is told of each step; tests use it to crash there."""
RunOf = Callable[[Change, Situation, Progress], Run]

log = structlog.get_logger()


class Settlement:
    """Does what has to be done by all means: it waits, tries again, and goes on after a crash."""

    def __init__(
        self,
        world: World,
        registry: Registry,
        gate: EngineGate,
        surveyor: Surveyor,
        run_of: RunOf,
        observer: Observer,
    ) -> None:
        self._world = world
        self._registry = registry
        self._gate = gate
        self._surveyor = surveyor
        self._run_of = run_of
        self._observer = observer

    async def finish(self, change: Change, progress: Progress) -> None:
        """Ends a change that is committed."""
        situation = change.situation
        if situation is not None:
            plan, run = self._surveyor.plan(situation), self._run_of(change, situation, progress)
            for number, step in enumerate(plan.finish, start=len(plan.steps) + 1):
                change.step, change.percent = step.name, percent(plan, number)
                progress.say(f"Calling {step.name}")
                self._observer("before", step.name)
                await self._insist(change, step, step.do, run)
                self._observer("after", step.name)
            if plan.sweeps and (plan.finish or plan.gone):
                await self._sweep(change)
        await self._end(change, progress)

    async def back_out(self, change: Change, progress: Progress) -> None:
        """Undoes what a change did, and ends it, or lets it wait for its next attempt."""
        if change.phase == "doing":
            progress.say("The node stopped in the middle of this change; what it did is undone.")
            change.phase = "undoing"
        await self._world.journal.enter(change, progress.take_unsaved())
        undone = await self._undo(change, progress)
        if change.situation is not None:
            await self._sweep(change)
        if change.failure is None and change.cancelled_by:
            change.failure = failure_of(change, cancelled(change))
        if change.failure is None and change.attempts < MAX_ATTEMPTS:
            change.status, change.phase, change.step, change.percent = "queued", "waiting", "", 0
            change.situation = None
            await self._world.journal.requeue(change)
            return
        failure = change.failure or Failure(
            "INTERRUPTED",
            f"The change was interrupted {change.attempts} times by the end of the node or of the container "
            "engine; see whether it is the change that ends them, then try again.",
            undone=True,
        )
        change.failure = replace(failure, undone=undone)
        await self._end(change, progress)

    async def _undo(self, change: Change, progress: Progress) -> bool:
        situation = change.situation
        if situation is None or not change.step:
            return True
        run = self._run_of(change, situation, progress)
        undone = True
        for step in reversed(begun(self._surveyor.plan(situation).steps, change.step)):
            progress.say(f"Undoing {step.name}")
            self._observer("before", f"undo {step.name}")
            undone &= await self._insist(change, step, step.undo, run)
            self._observer("after", f"undo {step.name}")
        return undone

    async def _insist(
        self, change: Change, step: Step, act: Callable[[Run], Awaitable[None]], run: Run
    ) -> bool:
        """Does what has to be done by all means; tells whether it could be."""
        tries = 0
        while True:
            try:
                await step.within_deadline(act, run)
                return True
            except Exception as error:
                reason = getattr(error, "reason", None)
                if reason == "ENGINE_DOWN":
                    await engine_back(change, run.say, self._gate)
                    continue
                tries += 1
                if tries < TRIES:
                    await asyncio.sleep(TRY_INTERVAL_S)
                    continue
                log.exception("a step cannot be done or undone", step=step.name)
                run.say(f"{step.name}: {told(error)}")
                return False

    async def _sweep(self, change: Change) -> None:
        """Removes what the change has left; what stays goes with the sweep at the next start."""
        if not self._surveyor.needs_engine(change):
            return
        situation = change.situation
        on_node = situation is not None and situation.payload is not None
        chutes = self._surveyor.plan(situation).gone if situation and on_node else [change.request.chute]
        try:
            await self._world.engine.sweep(self._registry.wanted_objects(), chutes)
        except Exception:
            log.warning("could not sweep after a change", change_id=change.id, exc_info=True)

    async def _end(self, change: Change, progress: Progress) -> None:
        request, failure = change.request, change.failure
        outcome = "failure" if failure else "success"
        if failure:
            progress.say(f"Chute {request.chute} {request.type} failed: {failure.message}")
            if not failure.undone:
                progress.say("Not everything could be undone; the node's log says what is left.")
        else:
            progress.say(f"Chute {request.chute} {request.type} success")
        progress.say(f"Completed {request.type} operation on chute {request.chute}: {outcome}")
        ended = replace(
            change,
            status="failed" if failure else "succeeded",
            phase="ended",
            percent=change.percent if failure else 100,
            end_time_s=self._world.clock(),
        )
        if change.situation is not None and self._surveyor.needs_engine(change):
            await self._refresh()
        for folder in request.unpacked:
            if not self._registry.needs_sources(folder):
                await self._world.folders.remove_workspace(folder)
        await self._world.journal.end(ended, progress.lines)
        change.status, change.percent, change.end_time_s = ended.status, ended.percent, ended.end_time_s
        change.phase = "ended"

    async def _refresh(self) -> None:
        """Lets whoever reads the chutes after the end of a change see what it did, not what was before."""
        with suppress(DomainError):
            await self._world.engine.refresh()

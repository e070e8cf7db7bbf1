"""Brings changes to their end: does their steps, or undoes them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import structlog

from services.chutes.domain import fetching
from services.chutes.domain.change import Change, Failure, Request, Situation, Wait
from services.chutes.domain.chute import Chute
from services.chutes.domain.containers import NodeAddress
from services.chutes.domain.gate import EngineGate
from services.chutes.domain.interruptions import Interruptions, cancelled
from services.chutes.domain.networkport import Networks, NoNetworks
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.outcomes import begun, failure_of, percent, told
from services.chutes.domain.planner import Plan, heeds_lock, make_plan, situation_of
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.ports import (
    Engine,
    Fetcher,
    Folders,
    Journal,
    TokenIssuer,
    TrafficPriority,
    WebGate,
)
from services.chutes.domain.progress import Progress
from services.chutes.domain.registry import Registry
from services.chutes.domain.spec import Download
from services.chutes.domain.steps import LOCK_INTERVAL_S, Run, Step, update_locked
from services.chutes.domain.turns import Turns
from services.common.errors import Aborted, DeadlineExceeded, DomainError, FailedPrecondition, Unavailable

MAX_ATTEMPTS = 3
TRIES = 3
TRY_INTERVAL_S = 1.0
SETTLE_S = 0.3
GRACE_S = 3.0
CONCURRENT_BUILDS = 2
ENGINE_DOWN = Wait("ENGINE_DOWN", "Waiting for the container engine to answer.")
EXCLUSIVE = Wait("EXCLUSIVE_CHANGE", "Waiting because a change of the whole node runs alone.")

Observer = Callable[[Literal["before", "after"], str], None]
"""Is told of each step; tests use it to crash there."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class World:
    """What lies outside the domain."""

    engine: Engine
    tokens: TokenIssuer
    folders: Folders
    journal: Journal
    node: NodeAddress
    web: WebGate
    priority: TrafficPriority
    fetcher: Fetcher
    networks: Networks = field(default_factory=NoNetworks)
    node_changes: Sequence[NodeChange] = ()
    policy: NodePolicy = field(default_factory=NodePolicy)
    clock: Callable[[], float] = time.time
    settle_s: float = SETTLE_S
    grace_s: float = GRACE_S
    concurrent_builds: int = CONCURRENT_BUILDS


class Executor:
    """Runs one change at a time for each caller; the queue sees to it that those are of different chutes."""

    def __init__(
        self,
        world: World,
        registry: Registry,
        gate: EngineGate,
        node_changes: Mapping[str, NodeChange],
        observer: Observer | None = None,
    ) -> None:
        self._world = world
        self._node_changes = node_changes
        self._registry = registry
        self._gate = gate
        self._observer = observer or (lambda _moment, _step: None)
        self._builds = asyncio.Semaphore(world.concurrent_builds)
        self._turns = Turns()
        self._interruptions = Interruptions()

    async def run(self, change: Change, progress: Progress) -> None:
        """Brings a change to its end, from wherever the journal says it is."""
        while not change.ended:
            try:
                await self._interruptions.run(change, self._ready(change, progress))
            except Aborted as error:
                change.failure, change.phase = failure_of(change, error), "undoing"
                await self._back_out(change, progress)
                return
            try:
                await self._advance(change, progress)
            finally:
                self._turns.release()

    async def preview(self, request: Request) -> Plan:
        """Returns what a change would do if it ran now, or raises why it would fail at once.

        Files that have to be fetched are fetched, and removed again.
        """
        if request.download is not None:
            request = await self._fetched_for_preview(request, request.download)
        try:
            return self._plan(await self._look(Change(0, request, self._world.clock())))
        finally:
            if request.workspace is not None:
                await self._world.folders.remove_workspace(request.workspace)

    async def _fetched_for_preview(self, request: Request, download: Download) -> Request:
        world = self._world
        try:
            async with asyncio.timeout(fetching.PREVIEW_DEADLINE_S), self._builds:
                return await fetching.fetched(
                    request, download, world.fetcher, world.folders, world.policy, lambda _line: None
                )
        except TimeoutError:
            raise DeadlineExceeded(
                f"The files of the chute did not come within {fetching.PREVIEW_DEADLINE_S:.0f} seconds; "
                "a change waits longer for them than a dry run.",
                reason="PREVIEW_TIMED_OUT",
            ) from None

    def interrupt(self, change: Change) -> None:
        """Cuts off what can be interrupted of a change that has just been cancelled."""
        self._interruptions.interrupt(change)

    async def _ready(self, change: Change, progress: Progress) -> None:
        """Waits until a change may go on, and takes its turn."""

        def wait(reason: Wait) -> None:
            if change.waiting != reason:
                change.waiting = reason
                progress.say(reason.message)

        if change.phase == "waiting":
            while locked := await self._lock(change):
                wait(locked)
                await asyncio.sleep(LOCK_INTERVAL_S)
            if self._needs_engine(change) and not self._gate.is_open:
                wait(ENGINE_DOWN)
                await self._gate.passed()
        await self._turns.take(self.is_exclusive(change), lambda: wait(EXCLUSIVE))
        change.waiting = None

    async def _lock(self, change: Change) -> Wait | None:
        installed = self._registry.installed.get(change.request.chute)
        if installed is None or not heeds_lock(change.request, installed):
            return None
        return await update_locked(self._world.folders, installed.name)

    async def _advance(self, change: Change, progress: Progress) -> None:
        if change.phase == "waiting":
            await self._attempt(change, progress)
        if change.phase == "finishing":
            await self._finish(change, progress)
        elif change.phase != "waiting":
            await self._back_out(change, progress)

    async def _fetch(self, change: Change, download: Download, progress: Progress) -> None:
        """Brings in the files of a chute that are elsewhere; only then it is known what to install."""
        world = self._world
        if change.attempts >= MAX_ATTEMPTS:
            change.phase = "undoing"
            return
        # It costs an attempt if the node ends meanwhile, and none if all goes well.
        change.attempts += 1
        change.status = "processing"
        await self._enter(change, progress, fetching.STEP)

        async def fetch() -> Request:
            async with self._builds, asyncio.timeout(fetching.DEADLINE_S):
                return await fetching.fetched(
                    change.request, download, world.fetcher, world.folders, world.policy, progress.say
                )

        try:
            change.request = await self._interruptions.run(change, fetch())
            await world.journal.amend(change)
            change.attempts -= 1
            self._observer("after", fetching.STEP)
        except TimeoutError:
            change.failure, change.phase = _timed_out(fetching.STEP), "undoing"
        except Exception as error:
            change.failure, change.phase = failure_of(change, error), "undoing"

    async def _attempt(self, change: Change, progress: Progress) -> None:
        if change.request.download is not None:
            await self._fetch(change, change.request.download, progress)
            if change.phase != "waiting":
                return
        try:
            situation = await self._look(change)
        except Exception as error:
            failure = failure_of(change, error)
            if failure is None:
                await self._gate.passed_again()
                return
            change.failure, change.phase = failure, "undoing"
            return
        begun = replace(
            change,
            status="processing",
            phase="doing",
            step="",
            attempts=change.attempts + 1,
            start_time_s=change.start_time_s or self._world.clock(),
        )
        await self._world.journal.begin(begun, situation)
        change.situation = situation
        change.status, change.phase, change.step = begun.status, begun.phase, begun.step
        change.attempts, change.start_time_s = begun.attempts, begun.start_time_s
        plan, run = self._plan(situation), self._run_of(situation, progress)
        try:
            for number, step in enumerate(plan.steps):
                run.advance = _advance_of(change, plan, number)
                run.advance(0.0)
                await self._enter(change, progress, step.name)
                await self._interruptions.run(change, self._within_deadline(step, step.do, run))
                self._observer("after", step.name)
            if change.cancelled_by:
                raise cancelled(change)
        except Exception as error:  # Whatever it was: what was done is undone.
            change.failure = failure_of(change, error)
            change.phase = "undoing"
            if change.failure is None:
                progress.say("The container engine went away; what was done is undone when it is back.")
            return
        await self._commit(change, plan, situation, run)

    def is_exclusive(self, change: Change) -> bool:
        """Tells whether no other change may run at the same time."""
        kind = self._node_changes.get(change.request.type)
        return change.request.update_class == "ROUTER" and kind is not None and kind.exclusive

    def _needs_engine(self, change: Change) -> bool:
        kind = self._node_changes.get(change.request.type)
        return change.request.update_class == "CHUTE" or (kind is not None and kind.needs_engine)

    def _plan(self, situation: Situation) -> Plan:
        if situation.payload is None:
            return make_plan(situation)
        kind = self._node_changes.get(situation.type)
        # Another version of this software may have begun what this one does not know any more.
        return kind.plan(situation.change_id, situation.payload, situation.facts) if kind else Plan(())

    async def _look(self, change: Change) -> Situation:
        if change.request.update_class == "ROUTER":
            return await self._look_at_node(change)
        engine = self._world.engine
        await engine.refresh()
        containers = engine.containers()
        if containers is None:
            raise Unavailable("The container engine does not answer.", reason="ENGINE_DOWN")
        request, installed = change.request, self._registry.installed
        new = request.chute not in installed
        kept = new and await self._world.folders.has_kept(request.chute, request.user)
        return situation_of(change, installed, containers, kept)

    async def _look_at_node(self, change: Change) -> Situation:
        request = change.request
        kind = self._node_changes.get(request.type)
        if kind is None:
            raise FailedPrecondition(
                f"This version of the node does not know changes of the type {request.type}.",
                reason="CHANGE_TYPE_UNKNOWN",
                type=request.type,
            )
        payload = request.payload or {}
        facts = await kind.look(payload, self._registry.installed)
        return Situation(change.id, request.type, None, None, payload=payload, facts=facts)

    async def _enter(self, change: Change, progress: Progress, step: str) -> None:
        change.step = step
        progress.say(f"Calling {step}")
        await self._world.journal.enter(change, progress.take_unsaved())
        self._observer("before", step)

    async def _commit(self, change: Change, plan: Plan, situation: Situation, run: Run) -> None:
        outcome: Mapping[str, Chute | None] = dict.fromkeys(plan.gone)
        if situation.payload is None:
            chute = situation.new
            if chute is not None and run.token:
                chute = replace(chute, token=run.token)
            if chute is not None and run.network_interfaces is not None:
                chute = replace(chute, network_interfaces=run.network_interfaces)
            outcome = {change.request.chute: chute}
        change.phase = "finishing"
        change.percent = percent(plan, len(plan.steps))
        try:
            self._observer("before", "commit")
            await self._world.journal.commit(change, outcome)
        except Exception as error:
            change.failure = failure_of(change, error)
            change.phase = "undoing"
            return
        self._registry.update(outcome)
        self._observer("after", "commit")

    async def _finish(self, change: Change, progress: Progress) -> None:
        situation = change.situation
        if situation is not None:
            plan, run = self._plan(situation), self._run_of(situation, progress)
            for number, step in enumerate(plan.finish, start=len(plan.steps) + 1):
                change.step, change.percent = step.name, percent(plan, number)
                progress.say(f"Calling {step.name}")
                self._observer("before", step.name)
                await self._insist(step, step.do, run)
                self._observer("after", step.name)
            if plan.finish or plan.gone:
                await self._sweep(change)
        await self._end(change, progress)

    async def _back_out(self, change: Change, progress: Progress) -> None:
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
        run = self._run_of(situation, progress)
        undone = True
        for step in reversed(begun(self._plan(situation).steps, change.step)):
            progress.say(f"Undoing {step.name}")
            self._observer("before", f"undo {step.name}")
            undone &= await self._insist(step, step.undo, run)
            self._observer("after", f"undo {step.name}")
        return undone

    async def _insist(self, step: Step, act: Callable[[Run], Awaitable[None]], run: Run) -> bool:
        """Does what has to be done by all means; tells whether it could be."""
        tries = 0
        while True:
            try:
                await self._within_deadline(step, act, run)
                return True
            except Exception as error:
                reason = getattr(error, "reason", None)
                if reason == "ENGINE_DOWN":
                    await self._gate.passed_again()
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
        if not self._needs_engine(change):
            return
        situation = change.situation
        on_node = situation is not None and situation.payload is not None
        chutes = self._plan(situation).gone if situation and on_node else [change.request.chute]
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
        if change.situation is not None and self._needs_engine(change):
            await self._refresh()
        if request.workspace is not None:
            await self._world.folders.remove_workspace(request.workspace)
        await self._world.journal.end(ended, progress.lines)
        change.status, change.percent, change.end_time_s = ended.status, ended.percent, ended.end_time_s
        change.phase = "ended"

    async def _refresh(self) -> None:
        """Lets whoever reads the chutes after the end of a change see what it did, not what was before."""
        with suppress(DomainError):
            await self._world.engine.refresh()

    def _run_of(self, situation: Situation, progress: Progress) -> Run:
        world = self._world
        chute = situation.new or situation.old
        return Run(
            engine=world.engine,
            tokens=world.tokens,
            networks=world.networks,
            folders=world.folders,
            node=world.node,
            builds=self._builds,
            settle_s=world.settle_s,
            grace_s=world.grace_s,
            policy=world.policy,
            say=progress.say,
            token=chute.token if chute else "",
        )

    async def _within_deadline(self, step: Step, act: Callable[[Run], Awaitable[None]], run: Run) -> None:
        try:
            async with asyncio.timeout(step.deadline_s):
                await act(run)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{step.name} took too long; see whether the container engine is overloaded, then try again.",
                reason="STEP_TIMED_OUT",
                step=step.name,
            ) from None


def _advance_of(change: Change, plan: Plan, number: int) -> Callable[[float], None]:
    def advance(fraction: float) -> None:
        change.percent = percent(plan, number + fraction)

    return advance


def _timed_out(step: str) -> Failure:
    return Failure("STEP_TIMED_OUT", f"{step} took too long; try again.", undone=False)

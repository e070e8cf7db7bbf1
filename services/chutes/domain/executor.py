"""Does the steps of changes, up to their commit."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from services.chutes.domain import fetching
from services.chutes.domain.admission import Admission
from services.chutes.domain.change import Change, Failure, Request, Situation
from services.chutes.domain.chute import Chute
from services.chutes.domain.gate import EngineGate
from services.chutes.domain.interruptions import Interruptions, cancelled
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.outcomes import failure_of, percent
from services.chutes.domain.planner import Plan
from services.chutes.domain.progress import Progress
from services.chutes.domain.registry import Registry
from services.chutes.domain.settlement import MAX_ATTEMPTS, Observer, Settlement
from services.chutes.domain.spec import Download
from services.chutes.domain.steps import Run
from services.chutes.domain.surveyor import Surveyor
from services.chutes.domain.turns import Overtaken
from services.chutes.domain.waits import engine_back
from services.chutes.domain.world import World
from services.common.errors import Aborted, DeadlineExceeded


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
        self._registry = registry
        self._gate = gate
        self._observer = observer or (lambda _moment, _step: None)
        self._builds = asyncio.Semaphore(world.concurrent_builds)
        self._interruptions = Interruptions()
        self._admission = Admission(world.folders, registry, gate)
        self._surveyor = Surveyor(world, registry, node_changes)
        self._settlement = Settlement(world, registry, gate, self._surveyor, self._run_of, self._observer)

    async def run(self, change: Change, progress: Progress) -> None:
        """Brings a change to its end, from wherever the journal says it is."""
        while not change.ended:
            try:
                await self._interruptions.run(change, self._begin(change, progress))
            except Aborted as error:
                change.failure, change.phase = failure_of(change, error), "undoing"
                await self._settlement.back_out(change, progress)
                return
            try:
                await self._advance(change, progress)
            finally:
                self._admission.end()

    async def preview(self, request: Request) -> Plan:
        """Returns what a change would do if it ran now, or raises why it would fail at once.

        Files that have to be fetched are fetched, and removed again.
        """
        if request.download is not None:
            request = await self._fetched_for_preview(request, request.download)
        try:
            return self._surveyor.plan(await self._surveyor.look(Change(0, request, self._world.clock())))
        finally:
            for folder in request.unpacked:
                await self._world.folders.remove_workspace(folder)

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

    async def _begin(self, change: Change, progress: Progress) -> None:
        await self._admission.begin(
            change,
            progress.say,
            alone=self._surveyor.is_exclusive(change),
            needs_engine=self._surveyor.needs_engine(change),
        )

    async def _advance(self, change: Change, progress: Progress) -> None:
        if change.phase == "waiting":
            await self._attempt(change, progress)
        if change.phase == "finishing":
            await self._settlement.finish(change, progress)
        elif change.phase != "waiting":
            await self._settlement.back_out(change, progress)

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
            situation = await self._surveyor.look(change)
        except Exception as error:
            failure = failure_of(change, error)
            if failure is None:
                await engine_back(change, progress.say, self._gate)
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
        plan, run = self._surveyor.plan(situation), self._run_of(change, situation, progress)
        try:
            for number, step in enumerate(plan.steps):
                run.advance = _advance_of(change, plan, number)
                run.advance(0.0)
                await self._enter(change, progress, step.name)
                await self._interruptions.run(change, step.within_deadline(step.do, run))
                self._observer("after", step.name)
            if change.cancelled_by:
                raise cancelled(change)
        except Overtaken:
            progress.say("A change of the whole node ran meanwhile; this one begins anew.")
            change.attempts, change.phase = change.attempts - 1, "undoing"
            return
        except Exception as error:  # Whatever it was: what was done is undone.
            change.failure = failure_of(change, error)
            change.phase = "undoing"
            if change.failure is None:
                progress.say("The container engine went away; what was done is undone when it is back.")
            return
        await self._commit(change, plan, situation, run)

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

    def _run_of(self, change: Change, situation: Situation, progress: Progress) -> Run:
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
            unlocked=lambda name: self._admission.unlocked(change, progress.say, name),
        )


def _advance_of(change: Change, plan: Plan, number: int) -> Callable[[float], None]:
    def advance(fraction: float) -> None:
        change.percent = percent(plan, number + fraction)

    return advance


def _timed_out(step: str) -> Failure:
    return Failure("STEP_TIMED_OUT", f"{step} took too long; try again.", undone=False)

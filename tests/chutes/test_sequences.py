"""Random sequences of changes, with crashes and faults at random moments, against a model."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from services.chutes.domain.change import Change, Terms
from services.chutes.domain.spec import Definition
from services.common.errors import DomainError, FailedPrecondition
from tests.chutes.bench import ADMIN, Bench, Crash, RunningBench, spec, without_pauses
from tests.chutes.model import CREATING, SERVICES, UPLOADS, Action, Model, actions
from tests.chutes.test_crashes import MEMORY

pytestmark = pytest.mark.thorough

FALLIBLE = ("build_image", "ensure_network", "create_container", "start_container")
"""What the steps before a commit alone call: an error of theirs ends a change."""


@dataclass(frozen=True)
class Crashes:
    """The service ends at the nth step that is begun or done, and is started again."""

    at: int


@dataclass(frozen=True)
class Fails:
    """The nth call of a method of the engine is refused."""

    method: str
    at: int


@dataclass(frozen=True)
class Outage:
    """The engine goes away at the next call of a method, after or before that has worked, and comes back."""

    method: str
    half_done: bool


@dataclass(frozen=True)
class Squatter:
    """Somebody else has a container with a name that the chute needs, if it has none there itself."""


Trouble = Crashes | Fails | Outage | Squatter | None
troubles = st.one_of(
    st.none(),
    st.builds(Crashes, st.integers(0, 24)),
    st.builds(Fails, st.sampled_from(FALLIBLE), st.integers(1, 2)),
    st.builds(Outage, st.sampled_from((*FALLIBLE, "remove_container")), st.booleans()),
    st.just(Squatter()),
)


class Driver:
    """Asks a node for changes, breaks it, and looks at what is left."""

    def __init__(self, home: Path) -> None:
        self.bench = Bench(home)
        self.model = Model()
        self.ended: list[int] = []
        self.steps = 0
        self.waited = False

    async def play(self, sequence: list[tuple[Action, Trouble]]) -> None:
        """Does all of it; the node is started anew after each change."""
        async with self.bench.running():
            pass
        for action, trouble in sequence:
            if not self.model.allows(action):
                await self._refused(action)
            elif action.kind in ("lock", "unlock"):
                await self._lock(action)
            else:
                await self._change(action, trouble)
            await self._look()

    async def _refused(self, action: Action) -> None:
        before = self.bench.engine.snapshot(), self._files()
        async with self.bench.running() as node:
            with pytest.raises(DomainError):
                await self._try(node, action)
            assert [change.id for change in reversed(node.domain.queue.ended())] == self.ended
        # What was refused leaves the upload to whoever received it.
        assert (self.bench.engine.snapshot(), self._files()) == before

    async def _try(self, node: RunningBench, action: Action) -> None:
        if action.kind in ("lock", "unlock"):
            await self._set_lock(node, action)
        else:
            await self._ask(node, action, self.model.version + 1)

    async def _lock(self, action: Action) -> None:
        async with self.bench.running() as node:
            await self._set_lock(node, action)
        self.model.chutes[action.chute].locked = action.kind == "lock"

    async def _set_lock(self, node: RunningBench, action: Action) -> None:
        if action.kind == "lock":
            await node.domain.manager.lock(action.chute, ADMIN, "measuring")
        else:
            await node.domain.manager.unlock(action.chute, ADMIN)

    async def _change(self, action: Action, trouble: Trouble) -> None:
        crashed = asyncio.Event()
        waits = self.model.waits(action)
        squatted = self._prepare(action, trouble)
        self.steps, self.waited = 0, False

        def observe(_moment: str, _step: str) -> None:
            self.steps += 1
            if isinstance(trouble, Crashes) and self.steps == trouble.at + 1:
                crashed.set()
                raise Crash

        asked: dict[int, int] = {}
        async with self.bench.running(observe) as node:
            for _ in range(action.count if action.kind in ("update", "restart", "configure") else 1):
                self.model.version += 1
                asked[await self._ask_often(node, action, self.model.version)] = self.model.version
            if action.kind == "cancel":
                with suppress(DomainError):
                    await node.domain.queue.cancel(node.domain.queue.find(*asked), ADMIN.name)
            await self._until_end(node, action, asked, crashed)
            if not crashed.is_set():
                # Before the next start, which sweeps as well.
                self._judge(action, trouble, squatted, node, asked)
                self._look_at_things(node)
        assert waits == self.waited, (action, trouble)
        self._mend()
        async with self.bench.running() as node:
            for change_id, version in asked.items():
                await node.ended(change_id)
                if action.repeated:
                    assert await self._ask(node, action, version) == change_id
            assert not list(node.domain.queue.unfinished())
            self.ended += asked
            assert [each.id for each in reversed(node.domain.queue.ended())] == self.ended
            if crashed.is_set():
                self._judge(action, trouble, squatted, node, asked)
        self.bench.engine.foreign.clear()

    def _prepare(self, action: Action, trouble: Trouble) -> bool:
        """Sets the trouble up, and tells whether somebody else has a name that the change needs."""
        engine, name = self.bench.engine, action.chute
        if action.kind == "ill":
            engine.health[f"{name}-{SERVICES[name][0]}:{self.model.version + 1}"] = "unhealthy"
        if isinstance(trouble, Fails):
            error = FailedPrecondition("The engine does not want to.", reason="ENGINE_REFUSED")
            engine.fail_at(trouble.method, trouble.at, error)
        elif isinstance(trouble, Outage):
            engine.goes_down_at(trouble.method, trouble.half_done)
        elif isinstance(trouble, Squatter) and name not in self.model.running():
            engine.foreign.add(f"{name}-{SERVICES[name][-1]}")
            return action.kind in CREATING
        return False

    async def _ask_often(self, node: RunningBench, action: Action, version: int) -> int:
        change_id = await self._ask(node, action, version)
        if action.repeated:
            assert await self._ask(node, action, version) == change_id
        return change_id

    async def _ask(self, node: RunningBench, action: Action, version: int) -> int:
        name, manager = action.chute, node.domain.manager
        terms = Terms(f"request-{version}" if action.repeated else "", action.forced)
        if action.kind in UPLOADS:
            definition = Definition(spec(name, *SERVICES[name], version=version), {})
            workspace = node.unpack()
            data = node.unpack_data(f"data {version}") if action.kind == "import" else None
            try:
                return await manager.install(
                    definition, workspace, ADMIN, action.kind != "install", terms, data=data
                )
            except DomainError:
                await node.folders.remove_workspace(workspace)
                raise
        if action.kind == "configure":
            services: dict[str, Any] = {service: {} for service in SERVICES[name]}
            document = {"services": services, "environment": {"COLOUR": "red"}}
            return await manager.configure(name, document, ADMIN, terms)
        return await manager.command(action.kind, name, ADMIN, terms=terms)  # type: ignore[arg-type]

    async def _until_end(
        self, node: RunningBench, action: Action, asked: dict[int, int], crashed: asyncio.Event
    ) -> None:
        changes = [node.domain.queue.find(change_id) for change_id in asked]
        async with asyncio.timeout(20):
            while not all(change.ended for change in changes) and not crashed.is_set():
                if self.bench.engine.down:
                    await asyncio.sleep(0.01)
                    self.bench.engine.down = False
                if any(each.waiting and each.waiting.reason == "UPDATE_LOCKED" for each in changes):
                    self.waited = True
                    await node.domain.manager.unlock(action.chute, ADMIN)
                    self.model.chutes[action.chute].locked = False
                await asyncio.sleep(0.001)

    def _mend(self) -> None:
        engine = self.bench.engine
        engine.faults.clear()
        engine.downs.clear()
        engine.half_done.clear()
        engine.down = False

    def _judge(
        self, action: Action, trouble: Trouble, squatted: bool, node: RunningBench, asked: dict[int, int]
    ) -> None:
        for change_id, version in asked.items():
            change = node.domain.queue.find(change_id)
            event(f"{action.kind} with {type(trouble).__name__} {change.status}")
            if change.status == "succeeded":
                assert not squatted
                assert action.kind != "ill"
                self.model.done(action, version)
                kept = self.bench.home / "data" / action.chute / "kept"
                if action.kind != "delete" and not kept.exists():
                    kept.write_text(self.model.chutes[action.chute].kept)
            else:
                self._judge_failure(action, trouble, squatted, change)

    def _judge_failure(self, action: Action, trouble: Trouble, squatted: bool, change: Change) -> None:
        """A crash or an outage alone costs an attempt, and nothing else."""
        reasons = set()
        if isinstance(trouble, Fails):
            reasons.add("ENGINE_REFUSED")
        if squatted:
            reasons.add("CONTAINER_NAME_TAKEN")
        if action.kind == "ill":
            reasons.add("SERVICE_UNHEALTHY")
        if action.kind == "cancel":
            reasons.add("CHANGE_CANCELLED")
        assert change.failure is not None
        assert change.failure.undone
        assert change.failure.reason in reasons, change.failure

    async def _look(self) -> None:
        async with self.bench.running() as node:
            self._look_at_things(node)

    def _look_at_things(self, node: RunningBench) -> None:
        engine, chutes = self.bench.engine, self.model.chutes
        installed = {chute.name: chute for chute in node.domain.manager.visible(ADMIN)}
        assert {
            name: (chute.version, chute.desired == "running", chute.environment["COLOUR"])
            for name, chute in installed.items()
        } == {name: (chute.version, chute.runs, chute.colour) for name, chute in chutes.items()}
        assert {name: each.status for name, each in engine.running.items()} == dict.fromkeys(
            self.model.containers(), "running"
        )
        assert engine.networks == {name: name for name in chutes}
        assert sorted(engine.images) == sorted(
            t for chute in installed.values() for t in chute.images.values()
        )
        assert not engine.layers
        files = {f"{folder}/{name}" for folder in ("data", "system") for name in chutes}
        files |= {f"data/{name}/kept" for name in chutes}
        files |= {f"data/{name}/update.lock" for name, chute in chutes.items() if chute.locked}
        assert self._files() == files
        data = self.bench.home / "data"
        assert {name: (data / name / "kept").read_text() for name in chutes} == {
            name: chute.kept for name, chute in chutes.items()
        }
        assert set(self.bench.sources()) == set(chutes)
        assert set(self.bench.tokens.tokens) == set(self.model.running())

    def _files(self) -> set[str]:
        return set(self.bench.files())


@pytest.fixture(scope="module")
def homes() -> Iterator[Path]:
    with without_pauses(), tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root:
        yield Path(root)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(sequence=st.lists(st.tuples(actions, troubles), min_size=2, max_size=8))
def test_whatever_happens_what_is_there_is_what_was_said(
    homes: Path, sequence: list[tuple[Action, Trouble]]
) -> None:
    home = Path(tempfile.mkdtemp(dir=homes))
    asyncio.run(Driver(home).play(sequence))

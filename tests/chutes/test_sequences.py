"""Random sequences of changes, with crashes and faults at random moments, against a model."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from services.chutes.domain.change import Change
from services.chutes.domain.spec import Definition
from services.common.errors import DomainError, FailedPrecondition
from tests.chutes.bench import ADMIN, Bench, Crash, RunningBench, spec, without_pauses
from tests.chutes.test_crashes import MEMORY

pytestmark = pytest.mark.thorough

CHUTES = ("web", "log")
SERVICES = {"web": ("front", "back"), "log": ("main",)}
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


Trouble = Crashes | Fails | Outage | None


@dataclass(frozen=True)
class Action:
    """One change and what happens to it."""

    kind: str
    chute: str
    trouble: Trouble = None


troubles = st.one_of(
    st.none(),
    st.builds(Crashes, st.integers(0, 24)),
    st.builds(Fails, st.sampled_from(FALLIBLE), st.integers(1, 2)),
    st.builds(Outage, st.sampled_from((*FALLIBLE, "remove_container")), st.booleans()),
)
kinds = st.sampled_from(
    ("install", "update", "import", "start", "stop", "restart", "delete", "configure", "cancel")
)
actions = st.builds(Action, kinds, st.sampled_from(CHUTES), troubles)


@dataclass
class Model:
    """What must be there: chute to the version that it has and whether it runs."""

    chutes: dict[str, tuple[int, bool]] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    """Chute to what the data that it came with says."""
    version: int = 0
    ended: list[int] = field(default_factory=list)

    def allows(self, action: Action) -> bool:
        """Tells whether the change may be asked for at all."""
        known = self.chutes.get(action.chute)
        if action.kind == "install":
            return known is None
        if known is None:
            return action.kind in ("update", "import", "cancel")
        return not (action.kind == "start" and known[1]) and not (action.kind == "stop" and not known[1])

    def done(self, action: Action) -> None:
        """Notes a change that has succeeded."""
        name = action.chute
        if action.kind in ("install", "update", "import", "cancel"):
            self.chutes[name], self.colours[name] = (self.version, True), "green"
            if action.kind == "import":
                self.imported[name] = f"data {self.version}"
        elif action.kind == "delete":
            del self.chutes[name], self.colours[name]
            self.imported.pop(name, None)
        else:
            self.chutes[name] = (self.chutes[name][0], action.kind != "stop")
            if action.kind == "configure":
                self.colours[name] = "red"


class Driver:
    """Asks a node for changes, breaks it, and looks at what is left."""

    def __init__(self, home: Path) -> None:
        self.bench = Bench(home)
        self.model = Model()
        self.steps = 0

    async def play(self, sequence: list[Action]) -> None:
        """Does all of it; the node is started anew after each change."""
        async with self.bench.running():
            pass
        for action in sequence:
            if not self.model.allows(action):
                await self._refused(action)
                continue
            self.model.version += 1
            await self._change(action)
            await self._look()

    async def _refused(self, action: Action) -> None:
        before = self.bench.engine.snapshot(), self._files()
        async with self.bench.running() as node:
            with pytest.raises(DomainError):
                await self._ask(node, action)
            assert [change.id for change in reversed(node.domain.queue.ended())] == self.model.ended
        # What was refused leaves the upload to whoever received it.
        assert (self.bench.engine.snapshot(), self._files()) == before

    async def _change(self, action: Action) -> None:
        engine, trouble = self.bench.engine, action.trouble
        crashed = asyncio.Event()
        self.steps = 0

        def observe(_moment: str, _step: str) -> None:
            self.steps += 1
            if isinstance(trouble, Crashes) and self.steps == trouble.at + 1:
                crashed.set()
                raise Crash

        async with self.bench.running(observe) as node:
            if isinstance(trouble, Fails):
                error = FailedPrecondition("The engine does not want to.", reason="ENGINE_REFUSED")
                engine.fail_at(trouble.method, trouble.at, error)
            elif isinstance(trouble, Outage):
                engine.goes_down_at(trouble.method, trouble.half_done)
            change_id = await self._ask(node, action)
            if action.kind == "cancel":
                with suppress(DomainError):
                    await node.domain.queue.cancel(node.domain.queue.find(change_id), ADMIN.name)
            await self._until_end(node, change_id, crashed)
            if not crashed.is_set():
                # Before the next start, which sweeps as well.
                self._judge(action, node.domain.queue.find(change_id))
                self._look_at_things(node)
        self._mend()
        async with self.bench.running() as node:
            change = await node.ended(change_id)
            assert not list(node.domain.queue.unfinished())
            self.model.ended.append(change_id)
            assert [each.id for each in reversed(node.domain.queue.ended())] == self.model.ended
        if crashed.is_set():
            self._judge(action, change)

    async def _ask(self, node: RunningBench, action: Action) -> int:
        name, manager = action.chute, node.domain.manager
        if action.kind in ("install", "update", "import", "cancel"):
            what = spec(name, *SERVICES[name], version=self.model.version)
            workspace, data = node.unpack(), None
            if action.kind == "import":
                data = node.unpack_data(f"data {self.model.version}")
            definition, replaces = Definition(what, {}), action.kind != "install"
            try:
                return await manager.install(definition, workspace, ADMIN, replaces, data=data)
            except DomainError:
                await node.folders.remove_workspace(workspace)
                raise
        if action.kind == "configure":
            services: dict[str, Any] = {service: {} for service in SERVICES[name]}
            document = {"services": services, "environment": {"COLOUR": "red"}}
            return await manager.configure(name, document, ADMIN)
        return await manager.command(action.kind, name, ADMIN)  # type: ignore[arg-type]

    async def _until_end(self, node: RunningBench, change_id: int, crashed: asyncio.Event) -> None:
        async with asyncio.timeout(20):
            while not node.domain.queue.find(change_id).ended and not crashed.is_set():
                if self.bench.engine.down:
                    await asyncio.sleep(0.01)
                    self.bench.engine.down = False
                await asyncio.sleep(0.001)

    def _mend(self) -> None:
        engine = self.bench.engine
        engine.faults.clear()
        engine.downs.clear()
        engine.half_done.clear()
        engine.down = False

    def _judge(self, action: Action, change: Change) -> None:
        event(f"{type(action.trouble).__name__} {change.status}")
        if change.status == "succeeded":
            self.model.done(action)
            return
        # A crash or an outage alone costs an attempt, and nothing else.
        assert change.failure is not None
        assert isinstance(action.trouble, Fails) or action.kind == "cancel", change.failure
        assert change.failure.undone
        assert change.failure.reason in ("ENGINE_REFUSED", "CHANGE_CANCELLED")

    async def _look(self) -> None:
        async with self.bench.running() as node:
            self._look_at_things(node)

    def _look_at_things(self, node: RunningBench) -> None:
        engine, chutes = self.bench.engine, self.model.chutes
        installed = {chute.name: chute for chute in node.domain.manager.visible(ADMIN)}
        found = {name: (chute.version, chute.desired == "running") for name, chute in installed.items()}
        assert found == chutes
        assert {name: chute.environment["COLOUR"] for name, chute in installed.items()} == self.model.colours
        containers = {f"{name}-{s}" for name, (_, runs) in chutes.items() if runs for s in SERVICES[name]}
        assert {name: each.status for name, each in engine.running.items()} == dict.fromkeys(
            containers, "running"
        )
        assert engine.networks == {name: name for name in chutes}
        assert sorted(engine.images) == sorted(
            t for chute in installed.values() for t in chute.images.values()
        )
        assert not engine.layers
        data = {f"data/{name}/imported": text for name, text in self.model.imported.items()}
        assert self._files() == {f"{folder}/{name}" for folder in ("data", "system") for name in chutes} | {
            *data
        }
        assert {name: (self.bench.home / name).read_text() for name in data} == data
        assert set(self.bench.sources()) == set(chutes)
        assert set(self.bench.tokens.tokens) == {name for name, (_, runs) in chutes.items() if runs}

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
@given(sequence=st.lists(actions, min_size=2, max_size=8))
def test_whatever_happens_what_is_there_is_what_was_said(homes: Path, sequence: list[Action]) -> None:
    home = Path(tempfile.mkdtemp(dir=homes))
    asyncio.run(Driver(home).play(sequence))

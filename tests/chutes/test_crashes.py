"""The service is ended at every step of every kind of change, and started again."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from services.chutes.domain.spec import ChuteSpec, Definition, ServiceSpec
from tests.chutes.bench import ADMIN, Bench, Crash, RunningBench, spec, web_spec, without_pauses

pytestmark = pytest.mark.thorough

Point = tuple[str, str]
Homes = Callable[[], Path]

MEMORY = Path("/dev/shm")
"""Hundreds of databases are made and synced; what is asked here is not whether the disk keeps its word."""


@pytest.fixture
def new_home() -> Iterator[Homes]:
    with without_pauses(), tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root:
        numbers = count()

        def make() -> Path:
            home = Path(root) / str(next(numbers))
            home.mkdir()
            return home

        yield make


@pytest.fixture
def bench(new_home: Homes) -> Bench:
    return Bench(new_home())


async def _install(node: RunningBench) -> int:
    return (await node.install(web_spec(version=2), ends=False)).id


async def _update(node: RunningBench) -> int:
    return (await node.install(web_spec(version=2), replace=True, ends=False)).id


async def _update_to_the_same_version(node: RunningBench) -> int:
    return (await node.install(web_spec(version=1), replace=True, ends=False)).id


async def _update_to_other_services(node: RunningBench) -> int:
    return (await node.install(spec("web", "main", version=2), replace=True, ends=False)).id


def _command(command: Any) -> Callable[[RunningBench], Awaitable[int]]:
    async def ask(node: RunningBench) -> int:
        return await node.domain.manager.command(command, "web", ADMIN)

    ask.__name__ = command
    return ask


async def _import(node: RunningBench) -> int:
    return await _imported(node, replace_it=False)


async def _import_in_its_place(node: RunningBench) -> int:
    return await _imported(node, replace_it=True)


async def _imported(node: RunningBench, replace_it: bool) -> int:
    definition = Definition(web_spec(version=2), {})
    workspace, data = node.unpack(), node.unpack_data()
    return await node.domain.manager.install(definition, workspace, ADMIN, replace_it, data=data)


async def _images(node: RunningBench) -> int:
    return (await node.install(_of_images("web"), ends=False)).id


async def _configure(node: RunningBench) -> int:
    services = {"front": {"environment": {"COLOUR": "red"}}, "cache": {"type": "image", "image": "redis:7"}}
    return await node.domain.manager.configure("web", {"services": services}, ADMIN)


def _of_images(name: str) -> ChuteSpec:
    cache = ServiceSpec("cache", "image", image="redis:7")
    return ChuteSpec(name, {"main": replace(cache, name="main", depends_on=("cache",)), "cache": cache})


CHANGES = {
    "install": (None, _install),
    "install of images": (None, _images),
    "import": (None, _import),
    "import in its place": ("running", _import_in_its_place),
    "import in the place of a stopped chute": ("stopped", _import_in_its_place),
    "another configuration": ("running", _configure),
    "update": ("running", _update),
    "update of a stopped chute": ("stopped", _update),
    "update to the same version": ("running", _update_to_the_same_version),
    "update to other services": ("running", _update_to_other_services),
    "stop": ("running", _command("stop")),
    "start": ("stopped", _command("start")),
    "restart": ("running", _command("restart")),
    "delete": ("running", _command("delete")),
    "delete of a stopped chute": ("stopped", _command("delete")),
}


async def _prepare(bench: Bench, state: str | None) -> None:
    async with bench.running() as node:
        await node.install(spec("other", version=1))
        if state is not None:
            await node.install(web_spec(version=1))
            (bench.home / "data" / "web" / "kept").write_text("precious")
        if state == "stopped":
            await node.command("stop")


async def run_until_crash(bench: Bench, ask: Callable[[RunningBench], Awaitable[int]], observer: Any) -> int:
    """Asks for a change and waits until it ends or the service crashes."""
    crashed = asyncio.Event()

    def observe(moment: str, step: str) -> None:
        try:
            observer(moment, step)
        except Crash:
            crashed.set()
            raise

    async with bench.running(observe) as node:
        change_id = await ask(node)
        end = asyncio.create_task(node.ended(change_id))
        crash = asyncio.create_task(crashed.wait())
        await asyncio.wait([end, crash], return_when=asyncio.FIRST_COMPLETED)
        for task in (end, crash):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return change_id


def crash_at(point: Point) -> Callable[[str, str], None]:
    def observe(moment: str, step: str) -> None:
        if (moment, step) == point:
            raise Crash

    return observe


def _known(bench: Bench) -> object:
    return bench.engine.snapshot(), bench.files(), set(bench.tokens.tokens)


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_crash_at_any_step_loses_nothing(kind: str, bench: Bench, new_home: Homes) -> None:
    state, ask = CHANGES[kind]
    points: list[Point] = []
    await _prepare(bench, state)
    prepared = bench.copy(new_home())
    before = _known(bench)
    await run_until_crash(bench, ask, lambda moment, step: points.append((moment, step)))
    after = _known(bench)
    assert before != after or kind == "restart"
    assert ("before", "commit") in points
    for point in points:
        other = prepared.copy(new_home())
        change_id = await run_until_crash(other, ask, crash_at(point))
        async with other.running() as node:
            change = await node.ended(change_id)
            assert change.status == "succeeded", (point, change.failure)
        assert _plain(_known(other), other) == _plain(after, bench), point


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_change_that_always_crashes_is_undone(kind: str, bench: Bench, new_home: Homes) -> None:
    state, ask = CHANGES[kind]
    points: list[Point] = []
    await _prepare(bench, state)
    prepared = bench.copy(new_home())
    before = _plain(_known(bench), bench)
    await run_until_crash(bench, ask, lambda moment, step: points.append((moment, step)))
    for point in points[: points.index(("before", "commit")) + 1]:
        other = prepared.copy(new_home())
        change_id = await run_until_crash(other, ask, crash_at(point))
        for _ in range(2):
            await run_until_crash(other, _existing(change_id), crash_at(point))
        async with other.running() as node:
            change = await node.ended(change_id)
            assert change.failure is not None, point
            assert (change.failure.reason, change.failure.undone) == ("INTERRUPTED", True)
            lines = await node.lines(change_id)
            assert lines[-1].endswith(": failure")
        assert _plain(_known(other), other) == before, point


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_crash_during_the_undo_is_undone_as_well(kind: str, bench: Bench, new_home: Homes) -> None:
    state, ask = CHANGES[kind]

    def fail_and_note(noted: list[Point]) -> Callable[[str, str], None]:
        def observe(moment: str, step: str) -> None:
            noted.append((moment, step))
            if (moment, step) == ("before", "commit"):
                raise RuntimeError("the last moment to fail")

        return observe

    points: list[Point] = []
    await _prepare(bench, state)
    prepared = bench.copy(new_home())
    before = _plain(_known(bench), bench)
    await run_until_crash(bench, ask, fail_and_note(points))
    assert _plain(_known(bench), bench) == before
    undo = [point for point in points if point[1].startswith("undo ")]
    for point in undo:
        other = prepared.copy(new_home())

        def observe(moment: str, step: str, point: Point = point) -> None:
            if (moment, step) == point:
                raise Crash
            if (moment, step) == ("before", "commit"):
                raise RuntimeError("the last moment to fail")

        change_id = await run_until_crash(other, ask, observe)
        async with other.running() as node:
            change = await node.ended(change_id)
            assert change.failure is not None
            assert (change.failure.reason, change.failure.undone) == ("INTERNAL", True), point
        assert _plain(_known(other), other) == before, point


async def test_accepted_changes_run_after_a_crash_in_order(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.build_pause.clear()
        ids = [(await node.install(spec(name), ends=False)).id for name in ("a", "b", "c")]
        stop_id = await node.domain.manager.command("stop", "a", ADMIN)
    bench.engine.build_pause.set()
    async with bench.running() as node:
        for change_id in (*ids, stop_id):
            assert (await node.ended(change_id)).status == "succeeded"
        assert set(bench.engine.running) == {"b-main", "c-main"}


async def test_what_no_change_wants_is_swept_at_start(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        before = _known(bench)
    bench.engine.images["ghost-main:1"] = "ghost"
    bench.engine.networks["ghost"] = "ghost"
    bench.engine.layers.append("web")
    for folder in ("work", "trash"):
        (bench.home / folder / "left" / "over").mkdir(parents=True)
    (bench.home / "uploads" / "left.tar").write_bytes(b"over")
    async with bench.running() as node:
        await node.install(spec("probe"))
        await node.command("delete", "probe")
        assert _known(bench) == before


async def test_ids_are_never_used_again(bench: Bench) -> None:
    async with bench.running() as node:
        first = (await node.install(spec())).id
    async with bench.running() as node:
        second = (await node.command("delete")).id
    assert second == first + 1
    async with bench.running() as node:
        assert node.domain.queue.find(first).status == "succeeded"
        assert (await node.lines(first))[-1] == "Completed create operation on chute web: success"


def _existing(change_id: int) -> Callable[[RunningBench], Awaitable[int]]:
    async def ask(_node: RunningBench) -> int:
        return change_id

    return ask


def _plain(known: Any, bench: Bench) -> str:
    """Two benches differ in their folders and in the numbers of their tokens, and in nothing else."""
    text = repr(known).replace(str(bench.home), "HOME")
    for token in sorted(bench.tokens.tokens.values(), key=len, reverse=True):
        text = text.replace(token, "TOKEN")
    return text

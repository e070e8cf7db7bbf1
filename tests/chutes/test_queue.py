"""The order of changes, and the bounds of everything that grows."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from services.chutes.adapters import store
from services.chutes.domain import progress, queue
from services.chutes.domain.world import CONCURRENT_BUILDS
from services.common.errors import DomainError
from tests.chutes.bench import ADMIN, Bench, RunningBench, spec


async def _until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def test_builds_run_side_by_side_within_a_bound(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.build_pause.clear()
        ids = [(await node.install(spec(name), ends=False)).id for name in "abcdef"]
        await _until(lambda: bench.engine.builds_at_once == CONCURRENT_BUILDS)
        unfinished = list(node.domain.queue.unfinished())
        await _until(lambda: {change.status for change in unfinished} == {"processing"})
        assert bench.engine.calls["build_image"] == CONCURRENT_BUILDS
        bench.engine.build_pause.set()
        for change_id in ids:
            assert (await node.ended(change_id)).status == "succeeded"
        assert bench.engine.most_builds_at_once == CONCURRENT_BUILDS


async def test_changes_of_one_chute_keep_their_order(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.build_pause.clear()
        first = await node.install(spec(version=1), ends=False)
        ids = [
            await node.domain.manager.command("stop", "web", ADMIN),
            await node.domain.manager.command("start", "web", ADMIN, {"TURN": "1"}),
            await node.domain.manager.command("restart", "web", ADMIN, {"TURN": "2"}),
            (await node.install(spec(version=2), replace=True, ends=False)).id,
        ]
        await _until(lambda: bench.engine.builds_at_once == 1)
        waiting = list(node.domain.queue.unfinished("web"))
        assert [change.status for change in waiting] == ["processing"] + ["queued"] * 4
        bench.engine.build_pause.set()
        ended = [await node.ended(change_id) for change_id in (first.id, *ids)]
        assert [change.status for change in ended] == ["succeeded"] * 5
        times = [(change.start_time_s, change.end_time_s) for change in ended]
        assert times == sorted(times)
        assert all(before[1] < after[0] for before, after in pairwise(times))


async def test_a_slow_chute_does_not_hold_up_another(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec("quick"))
        bench.engine.build_pause.clear()
        slow = await node.install(spec("slow"), ends=False)
        assert (await node.command("restart", "quick")).status == "succeeded"
        assert not slow.ended
        bench.engine.build_pause.set()
        await node.ended(slow.id)


async def test_a_full_queue_refuses_and_takes_no_id(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(queue, "MAX_UNFINISHED", 3)
    async with bench.running() as node:
        bench.engine.build_pause.clear()
        ids = [(await node.install(spec(name), ends=False)).id for name in "abc"]
        with pytest.raises(DomainError) as error:
            await node.install(spec("d"))
        assert error.value.reason == "CHANGE_QUEUE_FULL"
        bench.engine.build_pause.set()
        for change_id in ids:
            await node.ended(change_id)
        assert (await node.install(spec("d"))).id == ids[-1] + 1


async def test_a_caller_that_goes_away_does_not_stop_the_acceptance(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        task = asyncio.create_task(node.domain.manager.command("stop", "web", ADMIN))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _until(lambda: len(node.domain.queue.ended()) == 2)
        assert bench.engine.running == {}


async def test_the_oldest_changes_are_forgotten_and_their_ids_are_not_used_again(
    bench: Bench, monkeypatch: Any
) -> None:
    monkeypatch.setattr(queue, "KEPT_CHANGES", 3)
    monkeypatch.setattr(store, "KEPT_CHANGES", 3)
    monkeypatch.setattr(store, "KEPT_MESSAGES", 2)

    def kept(node: RunningBench) -> list[int]:
        return [change.id for change in node.domain.queue.ended()]

    async with bench.running() as node:
        await node.install(spec())
        for _ in range(4):
            await node.command("restart")
        assert kept(node) == [5, 4, 3]
        assert [bool(await node.lines(change_id)) for change_id in (5, 4, 3)] == [True, True, False]
        with pytest.raises(DomainError) as error:
            node.domain.queue.find(2)
        assert error.value.reason == "CHANGE_NOT_FOUND"
    async with bench.running() as node:
        assert kept(node) == [5, 4, 3]
        assert (await node.command("restart")).id == 6


async def test_messages_are_bounded_and_the_outcome_is_among_them(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "MAX_LINES", 20)
    monkeypatch.setattr(progress, "MAX_LINE_CHARACTERS", 50)
    bench.engine.build_lines = [f"line {number} " + "x" * 100 for number in range(100)]
    async with bench.running() as node:
        change = await node.install(spec())
        lines = await node.lines(change.id)
        assert len(lines) == 20
        assert lines[-1] == "Completed create operation on chute web: success"
        assert max(map(len, lines)) <= 50


async def test_a_watcher_that_lags_loses_the_oldest_lines_and_is_told(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "WATCHER_DEPTH", 10)
    bench.engine.build_lines = [f"line {number}" for number in range(100)]
    async with bench.running() as node:
        bench.engine.build_pause.clear()
        change = await node.install(spec(), ends=False)
        watch = node.domain.watcher.watch(change)
        async for event in watch:
            if event.synced:
                break
        bench.engine.build_pause.set()
        await node.ended(change.id)
        events = [event async for event in watch]
        assert sum(event.dropped for event in events) > 0
        assert events[-1].ended is not None
        assert events[-2].lines[-1][1] == "Completed create operation on chute web: success"


async def test_messages_of_a_crashed_change_are_kept(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.build_pause.clear()
        change = await node.install(spec(), ends=False)
        await _until(lambda: bench.engine.builds_at_once == 1)
    bench.engine.build_pause.set()
    async with bench.running() as node:
        await node.ended(change.id)
        lines = await node.lines(change.id)
    assert lines[:2] == ["Calling check_disk", "Calling build_image main"]
    assert "The node stopped in the middle of this change; what it did is undone." in lines
    assert lines.count("Calling build_image main") == 2

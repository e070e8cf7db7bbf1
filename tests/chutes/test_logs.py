"""Output of chutes: bounded, merged, and followed across restarts."""

import asyncio
from typing import Any

import pytest

from services.chutes.domain import logs
from services.chutes.domain.ports import LoggedLine, TimeSpan
from services.common.errors import DomainError
from tests.chutes.bench import ADMIN, Bench, RunningBench, spec, web_spec


class Reader:
    """Follows a chute in the background."""

    def __init__(self, node: RunningBench, tail: int = 200, service: str = "", name: str = "web") -> None:
        self.messages: list[str] = []
        self.dropped = 0
        self.synced = False
        chute = node.domain.manager.find(name, ADMIN)
        self._events = node.domain.logs.read(chute, service, tail, follow=True)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self._events:
            self.messages += [line.message for line in event.lines]
            self.dropped += event.dropped
            self.synced |= event.synced

    async def until(self, messages: list[str]) -> None:
        async with asyncio.timeout(10):
            while self.messages != messages or not self.synced:
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "LOOK_INTERVAL_S", 0.01)


def _write(bench: Bench, container: str, *lines: str) -> None:
    bench.engine.running[container].lines += lines


async def test_past_lines_of_all_services_come_by_time(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(web_spec())
        _write(bench, "web-front", "front 0", "front 1")
        _write(bench, "web-back", "back 0")
        chute = node.domain.manager.find("web", ADMIN)
        events = [event async for event in node.domain.logs.read(chute, "", 200, follow=False)]
        assert [line.message for line in events[0].lines] == ["front 0", "back 0", "front 1"]
        assert [event.synced for event in events] == [False, True]


async def test_a_follower_sees_new_lines_once(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        _write(bench, "web-main", "one", "two")
        reader = Reader(node)
        await reader.until(["one", "two"])
        _write(bench, "web-main", "three")
        await reader.until(["one", "two", "three"])
        reader.task.cancel()


async def test_a_follower_without_a_tail_sees_only_new_lines(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        _write(bench, "web-main", "old")
        reader = Reader(node, tail=0)
        await reader.until([])
        await asyncio.sleep(0.05)
        _write(bench, "web-main", "new")
        await reader.until(["new"])
        reader.task.cancel()


async def test_a_follower_ends_when_the_chute_is_removed(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        reader = Reader(node)
        await reader.until([])
        await node.command("delete")
        await asyncio.wait_for(reader.task, 10)


async def test_a_follower_waits_for_a_stopped_chute(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        await node.command("stop")
        reader = Reader(node)
        await reader.until([])
        await node.command("start")
        _write(bench, "web-main", "back again")
        await reader.until(["back again"])
        reader.task.cancel()


async def test_a_follower_that_lags_loses_the_oldest_lines_and_is_told(
    bench: Bench, monkeypatch: Any
) -> None:
    monkeypatch.setattr(logs, "FOLLOW_DEPTH", 5)
    async with bench.running() as node:
        await node.install(spec())
        chute = node.domain.manager.find("web", ADMIN)
        events = node.domain.logs.read(chute, "", 0, follow=True)
        assert (await anext(events)).synced
        first = asyncio.create_task(anext(events))
        await asyncio.sleep(0.05)
        _write(bench, "web-main", "first")
        assert [line.message for line in (await first).lines] == ["first"]
        _write(bench, "web-main", *(f"line {number}" for number in range(20)))
        await asyncio.sleep(0.1)
        event = await anext(events)
        assert [line.message for line in event.lines] == [f"line {number}" for number in range(15, 20)]
        assert event.dropped == 15
        await events.aclose()


async def test_large_past_output_is_bounded(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "MAX_PAST_CHARACTERS", 1000)
    async with bench.running() as node:
        await node.install(spec())
        _write(bench, "web-main", *("x" * 100 for _ in range(50)))
        chute = node.domain.manager.find("web", ADMIN)
        events = [event async for event in node.domain.logs.read(chute, "", 200, follow=False)]
        assert (len(events[0].lines), events[0].dropped) == (10, 40)


async def test_an_engine_that_is_down_is_told_to_readers_of_the_past(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        bench.engine.down = True
        chute = node.domain.manager.find("web", ADMIN)
        with pytest.raises(DomainError) as error:
            await anext(node.domain.logs.read(chute, "", 200, follow=False))
        assert error.value.reason == "ENGINE_DOWN"


async def test_a_tail_is_that_of_the_span(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(web_spec())
        _write(bench, "web-front", *(f"front {i}" for i in range(10)))
        _write(bench, "web-back", *(f"back {i}" for i in range(10)))
        chute = node.domain.manager.find("web", ADMIN)

        async def past(tail: int, span: TimeSpan, service: str = "") -> list[str]:
            events = node.domain.logs.read(chute, service, tail, follow=False, span=span)
            return [line.message async for event in events for line in event.lines]

        assert await past(200, TimeSpan(1003, 1004)) == ["front 3", "back 3", "front 4", "back 4"]
        assert await past(2, TimeSpan(until_ns=1004), "front") == ["front 3", "front 4"]
        assert await past(0, TimeSpan(until_ns=1004)) == []


async def test_a_follower_gets_what_is_new_since_a_time(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        _write(bench, "web-main", "old", "edge", "new")
        chute = node.domain.manager.find("web", ADMIN)
        events = node.domain.logs.read(chute, "", 200, follow=True, span=TimeSpan(since_ns=1001))
        messages: list[str] = []
        async with asyncio.timeout(10):
            async for event in events:
                messages += [line.message for line in event.lines]
                if event.synced:
                    _write(bench, "web-main", "newest")
                if "newest" in messages:
                    break
        assert messages == ["edge", "new", "newest"]


async def test_a_queue_of_lines_is_bounded_in_number_and_size_and_in_order(monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "FOLLOW_DEPTH", 5)
    monkeypatch.setattr(logs, "FOLLOW_CHARACTERS", 100)
    queue = logs.LineQueue()
    for number in (3, 1, 2, 5, 4, 7, 6):
        queue.push(LoggedLine("main", number, str(number)))
    batches = queue.batches(0.01)
    lines, lost = await anext(batches)
    assert ([line.timestamp_ns for line in lines], lost) == ([2, 4, 5, 6, 7], 2)
    assert await anext(batches) == ([], 0)
    queue.push(LoggedLine("main", 8, "x" * 60))
    queue.push(LoggedLine("main", 9, "y" * 60))
    lines, lost = await anext(batches)
    assert ([line.timestamp_ns for line in lines], lost) == ([9], 1)
    queue.close()
    with pytest.raises(StopAsyncIteration):
        await anext(batches)

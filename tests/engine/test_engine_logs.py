"""The output of containers on the real engine."""

import asyncio
import threading
import time
import tracemalloc

import docker
import pytest

from services.chutes.adapters.docker_engine import DockerEngine
from services.chutes.adapters.docker_logs import CUT, MAX_LINE_BYTES
from services.chutes.domain.ports import LoggedLine, TimeSpan
from services.common.errors import NotFound
from tests.engine.conftest import DEADLINE_S, Node, finished, output, state
from tests.support.engine import BUSYBOX

pytestmark = pytest.mark.engine


async def run(engine: DockerEngine, node: Node, script: str) -> None:
    await engine.ensure_network(node.chute, node.chute)
    await engine.create_container(node.plan(command=("sh", "-c", script)))
    await engine.start_container(node.container)


def log_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "engine-logs"]


async def no_log_threads() -> None:
    async with asyncio.timeout(5):
        while log_threads():
            await asyncio.sleep(0.01)


async def test_lines_come_in_order_with_their_times(engine: DockerEngine, node: Node) -> None:
    before_ns = time.time_ns()
    await run(engine, node, "for n in 1 2 3 4 5; do echo out $n; echo err $n >&2; done; printf unfinished")
    await finished(engine, node.container)
    lines = await output(engine, node.container)
    messages = [line.message for line in lines]
    assert [message for message in messages if message.startswith("out")] == [f"out {n}" for n in range(1, 6)]
    assert [message for message in messages if message.startswith("err")] == [f"err {n}" for n in range(1, 6)]
    assert messages[-1] == "unfinished"
    assert all(before_ns - 10**9 < line.timestamp_ns < time.time_ns() + 10**9 for line in lines)
    assert any(line.timestamp_ns % 1000 for line in lines)
    assert {line.service for line in lines} == {"main"}


async def test_the_tail_is_as_long_as_asked(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, "seq 1 100")
    await finished(engine, node.container)
    assert [line.message for line in await output(engine, node.container, tail=3)] == ["98", "99", "100"]
    assert await output(engine, node.container, tail=0) == []
    assert len(await output(engine, node.container, tail=1000)) == 100


async def test_bytes_that_are_no_text_are_replaced(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, r"printf 'a\377b\n\n\tc\r\nä€\n'")
    assert await finished(engine, node.container) == ["a\ufffdb", "", "\tc", "ä€"]


async def test_long_lines_are_cut_and_the_rest_is_left_out(engine: DockerEngine, node: Node) -> None:
    await run(
        engine,
        node,
        "echo before; head -c 100000 /dev/zero | tr '\\0' x; echo end; echo after; "
        "head -c 16383 /dev/zero | tr '\\0' y; echo; echo last",
    )
    before, long, after, fitting, last = await finished(engine, node.container)
    assert (before, after, last) == ("before", "after", "last")
    assert long == "x" * MAX_LINE_BYTES + CUT
    assert fitting == "y" * 16383


async def test_parts_of_long_lines_of_both_outputs_do_not_mix(engine: DockerEngine, node: Node) -> None:
    half = "head -c 60000 /dev/zero | tr '\\0' {0}"
    write = f"{half}; sleep 0.2; {half}; echo; echo e{{0}}"
    await run(engine, node, f"({write.format('o')}) & ({write.format('e')}) >&2; wait; echo last")
    messages = await finished(engine, node.container)
    assert sorted(messages) == sorted(
        ["o" * MAX_LINE_BYTES + CUT, "e" * MAX_LINE_BYTES + CUT, "eo", "ee", "last"]
    )


async def test_following_ends_with_the_container(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, "echo 1; sleep 0.5; echo 2")
    messages = []
    async with asyncio.timeout(DEADLINE_S):
        async with engine.logs(node.container, "main", 10, follow=True) as batches:
            async for batch in batches:
                messages += [line.message for line in batch]
    assert messages == ["1", "2"]


async def test_lines_arrive_while_they_are_written(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, "while read line; do echo got $line; done < /dev/null; echo first; sleep 3600")
    async with engine.logs(node.container, "main", 10, follow=True) as batches:
        async with asyncio.timeout(5):
            assert [line.message for line in await anext(batches)] == ["first"]


async def test_leaving_a_silent_log_takes_no_time(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, "sleep 3600")
    async with engine.logs(node.container, "main", 10, follow=True) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        assert log_threads()
        waiting.cancel()
        await asyncio.wait([waiting])
        start_s = time.monotonic()
    assert time.monotonic() - start_s < 0.5
    await no_log_threads()


async def test_a_cancelled_reader_leaves_at_once(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, "echo ready; sleep 3600")
    reading = asyncio.Event()

    async def read() -> None:
        async with engine.logs(node.container, "main", 10, follow=True) as batches:
            async for _ in batches:
                reading.set()

    task = asyncio.create_task(read())
    async with asyncio.timeout(DEADLINE_S):
        await reading.wait()
        start_s = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
    assert time.monotonic() - start_s < 0.5
    await no_log_threads()


async def test_a_flood_waits_for_the_reader(engine: DockerEngine, node: Node) -> None:
    await run(
        engine,
        node,
        "yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -n 9000",
    )
    await state(engine, node.container, "exited")
    tracemalloc.start()
    try:
        lines: list[LoggedLine] = []
        async with engine.logs(node.container, "main", 100_000, follow=False) as batches:
            await asyncio.sleep(1)  # The thread has time to run far ahead, and must not.
            _, peak_bytes = tracemalloc.get_traced_memory()
            async for batch in batches:
                assert len(batch) <= 256
                lines += batch
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1024 * 1024
    # They are kept in two files of at most 1 MB.
    assert len(lines) == 9000


async def test_leaving_in_the_middle_of_a_flood(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, "yes flood")
    async with asyncio.timeout(DEADLINE_S):
        async with engine.logs(node.container, "main", 10, follow=True) as batches:
            async for _ in batches:
                break
            start_s = time.monotonic()
        assert time.monotonic() - start_s < 1
    await no_log_threads()


async def test_many_readers_at_once(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, "sleep 1; seq 1 50; sleep 3600")

    async def read() -> int:
        count = 0
        async with engine.logs(node.container, "main", 100, follow=True) as batches:
            async for batch in batches:
                count += len(batch)
                if count >= 50:
                    break
        return count

    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.gather(*(read() for _ in range(30))) == [50] * 30
    await no_log_threads()


async def test_a_terminals_output_has_the_same_lines(
    engine: DockerEngine, node: Node, client: docker.APIClient
) -> None:
    labels = {"io.paradrop.node": node.id, "io.paradrop.chute": node.chute, "io.paradrop.service": "main"}
    script = "echo one; printf 'two\\nthree'; head -c 40000 /dev/zero | tr '\\0' x; echo; echo last"
    client.create_container(BUSYBOX, ["sh", "-c", script], name=node.container, tty=True, labels=labels)
    await engine.start_container(node.container)
    one, two, three, last = await finished(engine, node.container)
    assert (one, two, last) == ("one", "two", "last")
    assert three.startswith("threexxx")
    assert three.endswith(CUT)


async def test_a_container_that_is_not_there(engine: DockerEngine, node: Node) -> None:
    with pytest.raises(NotFound) as caught:
        async with engine.logs(node.container, "main", 10, follow=True):
            pass
    assert caught.value.reason == "CONTAINER_NOT_FOUND"


async def test_a_span_of_time_is_exact_to_the_nanosecond(engine: DockerEngine, node: Node) -> None:
    await run(engine, node, "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done")
    assert await finished(engine, node.container) == ["1", "2", "3", "4", "5"]
    times = [line.timestamp_ns for line in await output(engine, node.container)]

    async def within(span: TimeSpan) -> list[str]:
        async with engine.logs(node.container, "main", 1000, follow=False, span=span) as batches:
            return [line.message async for batch in batches for line in batch]

    assert await within(TimeSpan(since_ns=times[1])) == ["2", "3", "4", "5"]
    assert await within(TimeSpan(since_ns=times[1] + 1)) == ["3", "4", "5"]
    assert await within(TimeSpan(until_ns=times[2])) == ["1", "2", "3"]
    assert await within(TimeSpan(times[1], times[3])) == ["2", "3", "4"]
    assert await within(TimeSpan(since_ns=times[4] + 1)) == []

"""Log lines: kept, filtered, streamed, joined over processes, counted when lost."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from paradrop.node.v1 import node_pb2

from services.common.ring import RING, LogLine, LogRing, keep_line, service_of
from tests.node.conftest import Node

pytestmark = pytest.mark.usefixtures("alone")


def add(message: str, level: str = "info", service: str = "chutes", age_s: float = 0.0) -> None:
    RING.add(LogLine(time.time() - age_s, service, level, message))


async def read(node: Node, count: int = 1000, **request) -> list[str]:
    """Returns messages, with marks for what is no line, until the stream ends or `count` came."""
    found: list[str] = []
    call = node.stub.StreamLogs(node_pb2.StreamLogsRequest(**request), metadata=node.metadata)
    async for response in call:
        if response.HasField("lines"):
            found += [line.message for line in response.lines.lines]
        else:
            found.append(f"<{response.WhichOneof('event')}>")
        if len(found) >= count:
            call.cancel()
            break
    return found


async def test_kept_lines_are_filtered_by_service_level_time_and_number(node: Node) -> None:
    for number in range(4):
        add(f"old {number}", age_s=100)
    add("new", "warning")
    add("other", "error", "network")
    add("quiet", "debug")
    options = {"service": "chutes", "stop_at_end": True}
    assert (await read(node, tail=3, **options))[-4:] == ["old 3", "new", "quiet", "<end>"]
    assert await read(node, tail=2000, level="warning", since=time.time() - 50, **options) == ["new", "<end>"]
    assert await read(node, tail=2, service="network", stop_at_end=True) == ["other", "<end>"]
    assert await read(node, since=time.time() + 50, **options) == ["<end>"]


async def test_new_lines_come_after_the_mark(node: Node) -> None:
    task = asyncio.create_task(read(node, 3, service="network"))
    await asyncio.sleep(0.5)
    add("one", service="network")
    add("not wanted", service="chutes")
    add("two", service="network")
    async with asyncio.timeout(10):
        assert await task == ["<synced>", "one", "two"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"level": "loud"}, "LOG_LEVEL_INVALID"),
        ({"service": "chuets"}, "LOG_SERVICE_UNKNOWN"),
        ({"tail": -1}, "TAIL_OUT_OF_RANGE"),
        ({"tail": 9999}, "TAIL_OUT_OF_RANGE"),
    ],
)
async def test_wrong_wishes_are_refused(node: Node, request_: dict, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await read(node, **request_)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason in str(raised.value.trailing_metadata())


async def test_a_slow_reader_loses_the_oldest_lines_and_is_told() -> None:
    ring = LogRing(size=10)
    with ring.reading(depth=5) as (kept, reader):
        assert kept == []
        for number in range(20):
            ring.add(LogLine(0, "s", "info", str(number)))
        await asyncio.sleep(0)
        lines = await anext(reader.batches(1))
        assert [line.message for line in lines] == ["15", "16", "17", "18", "19"]
        assert reader.take_dropped() == 15
    with ring.reading() as (kept, _):
        assert len(kept) == 10


async def test_lines_may_come_from_threads() -> None:
    ring = LogRing()
    with ring.reading() as (_, reader):
        await asyncio.to_thread(ring.add, LogLine(0, "s", "info", "from a thread"))
        async with asyncio.timeout(5):
            assert (await anext(reader.batches(1)))[0].message == "from a thread"


def test_a_line_belongs_to_the_service_of_its_rpc_or_its_file() -> None:
    assert service_of("/paradrop.chutes.v1.A/GetChute", "/x/services/common/boundary.py") == "chutes"
    assert service_of(None, "/x/services/network/app.py") == "network"
    assert service_of("/paradrop.process.v1.A/GetProcess", "/x/services/common/boundary.py") == "node"
    assert service_of(None, "/x/services/cli.py") == "node"
    assert service_of(None, "/x/gateway/envoy.py") == "gateway"
    keep_line(None, "info", {"event": "hello", "pathname": "/services/auth/app.py", "level": "info", "n": 1})
    with asyncio.Runner() as runner:

        async def last() -> LogLine:
            with RING.reading() as (kept, _):
                return kept[-1]

        line = runner.run(last())
    assert (line.service, line.message, dict(line.fields)) == ("auth", "hello", {"n": "1"})


PROGRAM = """
import logging, structlog
from services.common.logs import configure_logs
configure_logs("info")
structlog.get_logger().info("ours", number=3)
structlog.get_logger().debug("too quiet")
logging.getLogger("uvicorn.error").error("theirs")
from services.common.ring import RING
print([(l.service, l.level, l.message) for l in RING._lines])
"""


def test_configured_logs_keep_our_lines_and_those_of_libraries(tmp_path: Path) -> None:
    program = tmp_path / "services" / "network" / "program.py"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-c", f"exec(compile(open({str(program)!r}).read(), {str(program)!r}, 'exec'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[('network', 'info', 'ours'), ('libraries', 'error', 'theirs')]"
    assert '"event": "ours"' in done.stderr
    assert "theirs" in done.stderr

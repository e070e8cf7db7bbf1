"""What chutes use, over a real socket, with measurements that are known."""

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest

from services.chutes.domain import usage
from tests.chutes.bench import spec, web_spec
from tests.chutes.client import refusal
from tests.chutes.served import Served


def set_usage(served: Served, container: str, **changes: Any) -> None:
    found = served.bench.engine.running[container]
    found.usage = replace(found.usage, **changes)


async def test_usage_is_told_by_service_and_together(served: Served) -> None:
    await served.node.install(web_spec())
    front = {"cpu_ns": 2_500_000_000, "memory_bytes": 1000, "memory_limit_bytes": 4000}
    set_usage(served, "web-front", received_bytes=2**40, **front)
    back = {"cpu_ns": 500_000_000, "memory_bytes": 10, "sent_bytes": 5}
    set_usage(served, "web-back", read_bytes=6, written_bytes=7, **back)
    found = (await served.client().call("GetUsage", chute="web")).usage
    assert set(found.services) == {"front", "back"}
    one, total = found.services["front"], found.total
    assert (one.cpu_seconds, one.memory_bytes, one.memory_limit_bytes) == (2.5, 1000, 4000)
    assert one.HasField("cpu_percent")
    assert not found.services["back"].HasField("memory_limit_bytes")
    assert not total.HasField("memory_limit_bytes")
    assert (total.cpu_seconds, total.memory_bytes, total.network_received_bytes) == (3.0, 1010, float(2**40))
    assert (total.network_sent_bytes, total.block_read_bytes, total.block_written_bytes) == (5, 6, 7)
    assert total.pid_count == 2
    assert found.time.seconds > 0


async def test_the_load_is_that_of_the_time_between_two_measurements(served: Served) -> None:
    await served.node.install(spec())
    stream = aiter(served.client().stream("StreamUsage", chute="web"))
    first = await anext(stream)
    assert first.usage.services["main"].cpu_percent == 0
    set_usage(served, "web-main", cpu_ns=500_000_000)
    second = await anext(stream)
    passed_s = second.usage.time.ToNanoseconds() / 1e9 - first.usage.time.ToNanoseconds() / 1e9
    assert second.usage.services["main"].cpu_percent == pytest.approx(50 / passed_s, rel=0.05)
    # A container that was started again counts from nothing.
    set_usage(served, "web-main", cpu_ns=0)
    third = await anext(stream)
    assert third.usage.services["main"].cpu_percent >= 0


async def test_many_who_ask_at_once_cost_one_measurement(served: Served) -> None:
    await served.node.install(web_spec())
    await asyncio.gather(*(served.client().call("GetUsage", chute="web") for _ in range(20)))
    assert served.bench.engine.calls["measure"] <= 4
    before = served.bench.engine.calls["measure"]
    await asyncio.sleep(0.7)
    assert served.bench.engine.calls["measure"] == before  # Nobody asks, nothing is measured.


async def test_a_stream_ends_with_the_chute_and_shows_life_until_then(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "IDLE_S", 0.3)
    await served.node.install(spec())
    events = []
    async for event in served.client().stream("StreamUsage", chute="web", interval_s=1):
        events.append(event)
        if len(events) == 2:
            await served.node.command("delete")
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "usage"
    assert "heartbeat" in kinds
    assert kinds[-1] == "end"
    assert events[-1].end.status.code == 0


async def test_a_stopped_chute_uses_nothing(served: Served) -> None:
    await served.node.install(spec())
    await served.node.command("stop")
    found = (await served.client().call("GetUsage", chute="web")).usage
    assert not found.services
    assert found.total.cpu_seconds == 0
    assert not found.HasField("time")


async def test_what_cannot_be_measured_is_said(served: Served) -> None:
    await served.node.install(spec())
    calls: list[tuple[dict[str, Any], str]] = [
        ({"chute": "nobody"}, "CHUTE_NOT_FOUND"),
        ({"chute": "web", "interval_s": 61}, "INTERVAL_OUT_OF_RANGE"),
        ({"chute": "web", "interval_s": -1}, "INTERVAL_OUT_OF_RANGE"),
    ]
    for fields, reason in calls:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await anext(aiter(served.client().stream("StreamUsage", **fields)))
        assert refusal(error.value)[1] == reason
    served.bench.engine.down = True
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await served.client().call("GetUsage", chute="web")
    assert refusal(error.value)[:2] == ("UNAVAILABLE", "ENGINE_DOWN")
    served.bench.engine.down = False


async def test_others_do_not_see_it(served: Served) -> None:
    await served.node.install(spec())
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await served.client("other").call("GetUsage", chute="web")
    assert refusal(error.value)[1] == "CHUTE_NOT_YOURS"
    assert (await served.client("web").call("GetUsage", chute="web")).usage.services

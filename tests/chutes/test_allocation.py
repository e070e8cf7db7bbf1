"""How the processor is shared out."""

import asyncio
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chutes.adapters.nft_priority import ruleset
from services.chutes.domain.allocation import LEAST_SHARE, cpu_shares, refuse_too_much
from services.chutes.domain.spec import ChuteSpec, ServiceSpec
from services.common.errors import FailedPrecondition, NotFound
from tests.chutes.bench import Bench, RunningBench, spec
from tests.chutes.client import refusal
from tests.chutes.served import Served
from tests.support.engine import chute_tar


def chute(name: str, *fractions: float | None) -> ChuteSpec:
    services = {
        f"s{i}": ServiceSpec(f"s{i}", requests={} if fraction is None else {"cpu-fraction": fraction})
        for i, fraction in enumerate(fractions)
    }
    return ChuteSpec(name, services)


@pytest.mark.parametrize(
    ("chutes", "shares"),
    [
        # The example of the original.
        ([(0.25, None, None)], [1536, 768, 768]),
        ([(0.25,), (None,), (None,)], [1536, 768, 768]),
        ([(None,)], [1024]),
        ([(None,)] * 7, [1024] * 7),
        ([(1.0,), (None,)], [2048, LEAST_SHARE]),
        ([(0.5,), (0.5,)], [1024, 1024]),
        ([(0.1, 0.2), (None, 0)], [1126, 1536, 717, 717]),
        ([(1.0,)], [1024]),
        # Cannot come to pass, and does no harm.
        ([(0.9,), (0.9,)], [1843, 1843]),
        ([], []),
    ],
)
def test_the_rest_is_divided_equally_among_all(
    chutes: list[tuple[float | None, ...]], shares: list[int]
) -> None:
    specs = [chute(f"c{i}", *fractions) for i, fractions in enumerate(chutes)]
    assert list(cpu_shares(specs).values()) == shares


@given(st.lists(st.one_of(st.none(), st.floats(0, 0.1)), min_size=1, max_size=9))
def test_shares_have_an_even_portion_on_average(fractions: list[float | None]) -> None:
    shares = cpu_shares([chute("web", *fractions)])
    assert abs(sum(shares.values()) - 1024 * len(fractions)) <= len(fractions)
    ranked = sorted(range(len(fractions)), key=lambda i: fractions[i] or 0)
    values = list(shares.values())
    assert [values[i] for i in ranked] == sorted(values)


def test_more_than_the_whole_is_refused_with_what_is_left() -> None:
    refuse_too_much([chute("a", 0.7), chute("b", 0.1, 0.2)], "b")
    with pytest.raises(
        FailedPrecondition, match=r"asks for 0\.40 of the processor, and the other .* have 0\.70"
    ):
        refuse_too_much([chute("a", 0.7), chute("b", 0.2, 0.2)], "b")


def with_fraction(name: str, fraction: float) -> ChuteSpec:
    service = ServiceSpec("main", requests={"cpu-fraction": fraction})
    return ChuteSpec(name, {"main": service}, version=1)


def told(bench: Bench) -> dict[str, int]:
    return {name: container.shares for name, container in bench.engine.running.items()}


async def until_told(node: RunningBench, expected: dict[str, int]) -> None:
    async with asyncio.timeout(10):
        while told(node.bench) != expected:
            await asyncio.sleep(0.01)


async def test_running_containers_get_theirs_when_chutes_come_and_go(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec("one"))
        await node.install(spec("two"))
        assert bench.engine.calls["set_cpu_shares"] == 0  # An even share is what a new container has.
        await node.install(with_fraction("big", 0.25))
        await until_told(node, {"one-main": 768, "two-main": 768, "big-main": 1536})
        await node.command("stop", "one")
        await until_told(node, {"two-main": 768, "big-main": 1280})
        await node.command("start", "one")
        await until_told(node, {"one-main": 768, "two-main": 768, "big-main": 1536})
        await node.command("delete", "big")
        await until_told(node, {"one-main": 1024, "two-main": 1024})
        calls = bench.engine.calls["set_cpu_shares"]
        await node.command("restart", "one")
        await until_told(node, {"one-main": 1024, "two-main": 1024})
        assert bench.engine.calls["set_cpu_shares"] == calls
    # Somebody may have changed them while this service was away.
    bench.engine.running["two-main"].shares = 7
    async with bench.running() as node:
        await until_told(node, {"one-main": 1024, "two-main": 1024})


async def test_one_container_that_ends_meanwhile_does_not_keep_the_others_from_theirs(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec("one"))
        await node.install(spec("two"))
        bench.engine.fail_at("set_cpu_shares", 1, NotFound("Gone.", reason="CONTAINER_NOT_FOUND"))
        await node.install(with_fraction("big", 0.5))
        # One call failed: the other two are as they should be, and the next news mends the third.
        async with asyncio.timeout(10):
            while bench.engine.calls["set_cpu_shares"] < 3:
                await asyncio.sleep(0.01)
        await node.command("restart", "two")
        await until_told(node, {"one-main": 512, "two-main": 512, "big-main": 2048})


async def _refused(call: Any) -> tuple[str, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


def asking(name: str, fraction: float) -> bytes:
    requests = f"requests: {{cpu-fraction: {fraction}}}"
    return chute_tar(
        {
            "paradrop.yaml": f"name: {name}\nservices:\n  main:\n    type: normal\n    {requests}\n",
            "Dockerfile": "FROM scratch\n",
        }
    )


async def test_a_chute_that_asks_for_too_much_is_refused_before_it_becomes_a_change(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(asking("one", 0.6)))
    assert await _refused(client.upload(asking("two", 0.5))) == (
        "FAILED_PRECONDITION",
        "CPU_FRACTION_EXCEEDED",
        "requests.cpu-fraction",
    )
    await client.done(await client.call_id("StopChute", chute="one"))
    await client.done(await client.upload(asking("two", 0.5)))
    for rpc in ("StartChute", "RestartChute"):
        assert (await _refused(client.call(rpc, chute="one")))[1] == "CPU_FRACTION_EXCEEDED"
    assert (await _refused(client.update("two", asking("two", 1.5))))[1] == "CHUTE_FILE_INVALID"
    # What it has itself does not count against it.
    await client.done(await client.update("two", asking("two", 0.9)))
    chutes = {chute.name: chute for chute in (await client.call("ListChutes")).chutes}
    assert chutes["two"].services["main"].allocation.cpu_shares == 1024
    assert chutes["one"].services["main"].allocation.cpu_shares == 0
    assert (chutes["one"].allocation.cpu_shares, chutes["two"].allocation.cpu_shares) == (0, 1024)


async def test_changes_that_wait_count_as_done(served: Served) -> None:
    client = served.client()
    served.bench.engine.build_pause.clear()
    first = await client.upload(asking("one", 0.6))
    assert (await _refused(client.upload(asking("two", 0.5))))[1] == "CPU_FRACTION_EXCEEDED"
    served.bench.engine.build_pause.set()
    await client.done(first)


def first(name: str) -> ChuteSpec:
    service = ServiceSpec("main", requests={"prioritize-traffic": True})
    return ChuteSpec(name, {"main": service}, version=1)


async def test_traffic_goes_first_for_those_who_ask_while_they_run(bench: Bench) -> None:
    async def until(told: list[list[str]]) -> None:
        async with asyncio.timeout(10):
            while bench.priority.told != told:
                await asyncio.sleep(0.01)

    async with bench.running() as node:
        await node.install(spec("plain"))
        assert bench.priority.told == []  # Nobody asks, nothing is touched.
        await node.install(first("quick"))
        await until([["172.18.0.2"]])
        bench.priority.fault = FailedPrecondition("No nft.", reason="NFT_FAILED")
        await node.command("stop", "quick")
        await until([["172.18.0.2"], []])
        await node.command("delete", "plain")
        assert bench.priority.told == [["172.18.0.2"], []]


def test_the_rules_hold_addresses_and_nothing_else() -> None:
    assert "elements = { 10.0.0.1, 10.0.0.2 }" in ruleset(["10.0.0.1", "10.0.0.2"])
    assert ruleset([]) == "add table ip paradrop_chutes\ndelete table ip paradrop_chutes\n"
    with pytest.raises(ValueError, match="x"):
        ruleset(["10.0.0.1 }; x"])

"""What changes wait for: a wait for one chute holds nobody else up."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from services.chutes.adapters.power import NoPower
from services.chutes.app import node_changes
from services.chutes.domain.change import Change
from services.chutes.domain.chute import Chute
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.planner import Plan
from services.chutes.domain.turns import Overtaken, Turns
from tests.chutes.bench import ADMIN, Bench, RunningBench, spec


class Sole(NodeChange):
    """A change of the node that runs alone and notes what else has begun."""

    type = "sole"
    exclusive = True

    async def look(self, payload: Mapping[str, Any], installed: Mapping[str, Chute]) -> Mapping[str, Any]:
        return {"chutes": sorted(installed)}

    def plan(self, change_id: int, payload: Mapping[str, Any], facts: Mapping[str, Any]) -> Plan:
        return Plan(())


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.node_changes = [Sole(), *node_changes(NoPower())]
    return bench


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def waits_for(change: Change, reason: str) -> bool:
    return change.waiting is not None and change.waiting.reason == reason


async def update_that_meets_a_lock(node: RunningBench) -> Change:
    """Returns an update whose chute has locked itself while the new image was built."""
    await node.install(spec(version=1))
    engine = node.bench.engine
    engine.build_pause.clear()
    change = await node.install(spec(version=2), replace=True, ends=False)
    await until(lambda: engine.builds_at_once == 1)
    await node.domain.manager.lock("web", ADMIN, "measuring")
    engine.build_pause.set()
    await until(lambda: change.step == "await_unlock" and waits_for(change, "UPDATE_LOCKED"))
    return change


@pytest.mark.parametrize("locked", ["before it begins", "on its way"])
async def test_a_change_that_waits_for_a_lock_holds_up_nobody(locked: str, bench: Bench) -> None:
    async with bench.running() as node:
        if locked == "on its way":
            change = await update_that_meets_a_lock(node)
            assert (change.status, change.phase) == ("processing", "doing")
        else:
            await node.install(spec(version=1))
            await node.domain.manager.lock("web", ADMIN, "measuring")
            change = await node.install(spec(version=2), replace=True, ends=False)
            await until(lambda: waits_for(change, "UPDATE_LOCKED"))
        assert change.waiting is not None
        assert "(measuring)" in change.waiting.message
        assert (await node.install(spec("other"))).status == "succeeded"
        assert (await node.ended(await node.domain.node.accept("sole", {}, ADMIN))).status == "succeeded"
        assert (await node.command("restart", "other")).status == "succeeded"
        assert waits_for(change, "UPDATE_LOCKED")
        assert bench.engine.running["web-main"].plan.image == "web-main:1"
        await node.domain.manager.unlock("web", ADMIN)
        ended = await node.ended(change.id)
        assert (ended.status, ended.waiting) == ("succeeded", None)
        assert bench.engine.running["web-main"].plan.image == "web-main:2"


async def test_without_a_change_of_the_node_a_build_is_not_done_again(bench: Bench) -> None:
    async with bench.running() as node:
        change = await update_that_meets_a_lock(node)
        await node.domain.manager.unlock("web", ADMIN)
        assert (await node.ended(change.id)).status == "succeeded"
        assert bench.engine.calls["build_image"] == 2  # One for each version.
        assert change.attempts == 1


async def test_what_a_change_of_the_node_overtook_begins_anew(bench: Bench) -> None:
    async with bench.running() as node:
        change = await update_that_meets_a_lock(node)
        for _ in range(5):
            await node.ended(await node.domain.node.accept("sole", {}, ADMIN))
        await node.domain.manager.unlock("web", ADMIN)
        assert (await node.ended(change.id)).status == "succeeded"
        assert bench.engine.calls["build_image"] == 3
        assert change.attempts == 1  # To be overtaken costs none.
        assert "A change of the whole node ran meanwhile; this one begins anew." in await node.lines(
            change.id
        )


async def test_a_reset_removes_a_locked_chute_in_the_middle_of_its_update(bench: Bench) -> None:
    async with bench.running() as node:
        before = bench.engine.snapshot()
        change = await update_that_meets_a_lock(node)
        reset = await node.ended(await node.domain.node.accept("factoryreset", {}, ADMIN))
        assert reset.status == "succeeded"
        # The lock went with the data; the update was accepted before, and installs the chute.
        assert (await node.ended(change.id)).status == "succeeded"
        assert list(node.domain.registry.installed) == ["web"]
        assert (await node.command("delete")).status == "succeeded"
        assert bench.engine.snapshot() == before


async def test_a_wait_on_the_way_is_cancelled_and_undone(bench: Bench) -> None:
    async with bench.running() as node:
        change = await update_that_meets_a_lock(node)
        await node.domain.queue.cancel(change, "alice")
        ended = await node.ended(change.id)
        assert ended.failure is not None
        assert (ended.failure.reason, ended.failure.undone, ended.waiting) == ("CHANGE_CANCELLED", True, None)
        assert "web-main:2" not in bench.engine.images
        # Its turn was given back once, not twice.
        assert (await node.ended(await node.domain.node.accept("sole", {}, ADMIN))).status == "succeeded"


async def test_a_crash_while_waiting_on_the_way_is_survived(bench: Bench) -> None:
    async with bench.running() as node:
        change = await update_that_meets_a_lock(node)
    async with bench.running() as node:
        await until(lambda: waits_for(node.domain.queue.find(change.id), "UPDATE_LOCKED"))
        assert bench.engine.running["web-main"].plan.image == "web-main:1"
        await node.domain.manager.unlock("web", ADMIN)
        assert (await node.ended(change.id)).status == "succeeded"


class TestTurns:
    async def test_who_is_set_aside_comes_back_after_the_one_who_runs_alone(self) -> None:
        turns, order = Turns(), []

        async def alone() -> None:
            await turns.take(True, lambda: None)
            order.append("alone")
            await asyncio.sleep(0.01)
            order.append("alone ends")
            turns.release()

        await turns.take(False, lambda: None)
        task = asyncio.create_task(alone())

        async def aside() -> None:
            async with turns.set_aside(lambda: order.append("waits")):
                while not order:
                    await asyncio.sleep(0)

        with pytest.raises(Overtaken):
            await aside()
        assert order == ["alone", "waits", "alone ends"]
        turns.release()
        await task
        await turns.take(True, lambda: pytest.fail("the turn was not given back"))

    async def test_one_whose_wait_is_cancelled_has_a_turn_to_give_back(self) -> None:
        turns = Turns()
        await turns.take(False, lambda: None)

        async def aside() -> None:
            try:
                async with turns.set_aside(lambda: None):
                    await asyncio.sleep(60)
            finally:
                turns.release()

        task = asyncio.create_task(aside())
        await asyncio.sleep(0)
        await turns.take(True, lambda: None)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        turns.release()
        await turns.take(True, lambda: pytest.fail("somebody still has a turn"))

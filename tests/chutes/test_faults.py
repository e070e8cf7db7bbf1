"""What goes wrong in the engine, and what is left then."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.chutes.domain import imagesteps, queue, settlement, steps
from services.common.errors import FailedPrecondition, Unavailable
from tests.chutes.bench import ADMIN, Bench, spec, web_spec

BROKEN = FailedPrecondition("It does not want to.", reason="ENGINE_REFUSED")

METHODS = ["build_image", "ensure_network", "create_container", "start_container"]


def _known(bench: Bench) -> object:
    return bench.engine.snapshot(), bench.files(), dict(bench.tokens.tokens)


@pytest.mark.parametrize("half_done", [False, True], ids=["at once", "half done"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_failed_install_leaves_nothing(method: str, nth: int, half_done: bool, bench: Bench) -> None:
    if half_done:
        bench.engine.half_done.add(method)
    async with bench.running() as node:
        before = _known(bench)
        bench.engine.fail_at(method, nth, BROKEN)
        change = await node.install(web_spec())
        if nth == 2 and method == "ensure_network":
            assert change.status == "succeeded"
            return
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("ENGINE_REFUSED", True)
        assert _known(bench) == before


@pytest.mark.parametrize("half_done", [False, True], ids=["at once", "half done"])
@pytest.mark.parametrize("method", [*METHODS, "remove_container"])
async def test_a_failed_update_leaves_the_old_chute(method: str, half_done: bool, bench: Bench) -> None:
    if half_done:
        bench.engine.half_done.add(method)
    async with bench.running() as node:
        await node.install(web_spec(version=1))
        before = _known(bench)
        bench.engine.fail_at(method, 1, BROKEN)
        change = await node.install(web_spec(version=2), replace=True)
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("ENGINE_REFUSED", True)
        assert _known(bench) == before
        assert node.domain.manager.find("web", ADMIN).version == 1


async def test_a_service_that_exits_fails_the_change_and_its_last_words_are_told(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.exits_at_once.add("web")
        change = await node.install(spec())
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("SERVICE_EXITED", True)
        lines = await node.lines(change.id)
        assert "web-main: cannot go on" in lines
        assert lines[-2:] == [
            f"Chute web create failed: {change.failure.message}",
            "Completed create operation on chute web: failure",
        ]
        assert "status 3" in change.failure.message


async def test_an_undo_that_fails_does_not_stop_the_others(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.fail_at("start_container", 1, BROKEN)
        bench.engine.faults["remove_container"] = [BROKEN] * settlement.TRIES
        change = await node.install(spec())
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("ENGINE_REFUSED", False)
        assert bench.tokens.tokens == {}
        assert bench.files() == []
        lines = await node.lines(change.id)
        assert "create_container main: It does not want to." in lines
        # What the undo could not remove went with the sweep after it.
        assert bench.engine.snapshot() == ({}, [], {}, {})


async def test_an_undo_is_tried_again(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.fail_at("start_container", 1, BROKEN)
        bench.engine.faults["remove_container"] = [BROKEN] * (settlement.TRIES - 1)
        change = await node.install(spec())
        assert change.failure is not None
        assert change.failure.undone


async def test_a_token_service_that_is_away_fails_the_install(bench: Bench) -> None:
    async with bench.running() as node:
        bench.tokens.fault = Unavailable("Not now.", reason="TOKEN_SERVICE_FAILED")
        change = await node.install(spec())
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("TOKEN_SERVICE_FAILED", True)
        assert bench.engine.snapshot() == ({}, [], {}, {})


@pytest.mark.parametrize("method", ["build_image", "start_container"])
async def test_a_step_that_hangs_ends_at_its_deadline(method: str, bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(imagesteps, "BUILD_DEADLINE_S", 0.1)
    monkeypatch.setattr(steps.Step, "deadline_s", 0.1)
    async with bench.running() as node:
        bench.engine.hangs.add(method)
        change = await node.install(spec())
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("STEP_TIMED_OUT", True)
        assert bench.engine.snapshot() == ({}, [], {}, {})


async def test_changes_wait_for_an_engine_that_is_down(bench: Bench) -> None:
    bench.engine.down = True
    async with bench.running() as node:
        change = await node.install(spec(), ends=False)
        await _until(lambda: change.waiting is not None and change.waiting.reason == "ENGINE_DOWN")
        assert change.status == "queued"
        bench.engine.down = False
        assert (await node.ended(change.id)).status == "succeeded"
        assert change.attempts == 1


@pytest.mark.parametrize("method", ["build_image", "create_container", "start_container"])
@pytest.mark.parametrize("half_done", [False, True], ids=["at once", "half done"])
async def test_an_engine_that_goes_away_in_the_middle_is_waited_for(
    method: str, half_done: bool, bench: Bench
) -> None:
    async with bench.running() as node:
        await node.install(web_spec(version=1))
        bench.engine.goes_down_at(method, half_done)
        change = await node.install(web_spec(version=2), replace=True, ends=False)
        await _until(lambda: change.waiting is not None and change.waiting.reason == "ENGINE_DOWN")
        assert (change.status, change.phase) == ("processing", "undoing")
        bench.engine.stop_all()
        bench.engine.down = False
        assert (await node.ended(change.id)).status == "succeeded"
        assert change.attempts == 2
        assert change.waiting is None
        assert set(bench.engine.images) == {"web-front:2", "web-back:2"}


async def test_a_change_that_brings_the_engine_down_each_time_is_given_up(bench: Bench) -> None:
    async with bench.running() as node:
        change = await node.install(spec(), ends=False)
        await node.ended(change.id)
        for _ in range(settlement.MAX_ATTEMPTS):
            bench.engine.goes_down_at("build_image", True)
        change = await node.install(spec(), replace=True, ends=False)
        while not change.ended:
            if bench.engine.down:
                bench.engine.down = False
            await asyncio.sleep(0.01)
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("INTERRUPTED", True)
        assert bench.engine.running["web-main"].status == "running"


async def test_chutes_are_started_again_after_the_engine_was(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec("a"))
        await node.install(spec("b"))
        await node.command("stop", "b")
        bench.engine.down = True
        await _until(lambda: not node.domain.gate.is_open)
        bench.engine.stop_all()
        bench.engine.down = False
        # On the way the container is absent: it is made anew.
        await _until(lambda: any(each.status == "running" for each in bench.engine.running.values()))
        assert set(bench.engine.running) == {"a-main"}
        await _until(lambda: not list(node.domain.queue.unfinished()))
        newest = node.domain.queue.ended()[0]
        assert (newest.request.type, newest.request.user.name) == ("restart", "__paradrop__")


async def test_leftovers_that_cannot_be_swept_do_not_stop_the_service(bench: Bench) -> None:
    bench.engine.faults["sweep"] = [BROKEN]
    async with bench.running() as node:
        assert (await node.install(spec())).status == "succeeded"


async def test_a_full_disk_delays_a_change_and_does_not_lose_it(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(queue, "RETRY_INTERVAL_S", 0.01)
    bench.engine.down = True
    async with bench.running() as node:
        change = await node.install(spec(description="long " * 10_000), ends=False)
        await _until(lambda: change.waiting is not None and change.waiting.reason == "ENGINE_DOWN")
        await node.database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
        bench.engine.down = False
        await asyncio.sleep(0.1)
        assert change.status == "queued"
        await node.database.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
        assert (await node.ended(change.id)).status == "succeeded"
        assert change.attempts == 1


async def _until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def test_what_has_run_before_is_not_watched_when_it_starts_again(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        await node.command("stop")
    bench.settle_s = 3600.0
    async with bench.running() as node:
        assert (await node.command("start")).status == "succeeded"
        await node.command("stop")
        start = node.domain.manager.command("start", "web", ADMIN, {"COLOUR": "red"})
        change = node.domain.queue.find(await start)
        async with asyncio.timeout(10):
            while change.step != "verify_running":
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert not change.ended
        await node.domain.queue.cancel(change, "paradrop")
        assert (await node.ended(change.id)).status == "failed"


async def test_an_undo_makes_the_image_again_whose_name_was_taken_off(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec(version=1))
        del bench.engine.images["web-main:1"]
        bench.engine.fail_at("start_container", 1, BROKEN)
        change = await node.install(spec(version=2), replace=True)
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("ENGINE_REFUSED", True)
        assert bench.engine.images == {"web-main:1": "web"}
        assert bench.engine.running["web-main"].plan.image == "web-main:1"
        assert bench.engine.running["web-main"].status == "running"


async def test_a_configuration_that_fails_leaves_the_image_that_it_has_made_again(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec(version=1))
        del bench.engine.images["web-main:1"]
        bench.engine.fail_at("start_container", 1, BROKEN)
        document = {"services": {"main": {}}, "environment": {"COLOUR": "red"}}
        change = await node.ended(await node.domain.manager.configure("web", document, ADMIN))
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("ENGINE_REFUSED", True)
        assert bench.engine.images == {"web-main:1": "web"}
        change = await node.ended(await node.domain.manager.configure("web", document, ADMIN))
        assert change.status == "succeeded"
        assert bench.engine.running["web-main"].plan.environment["COLOUR"] == "red"


async def test_an_undo_without_image_and_files_says_what_is_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "TRY_INTERVAL_S", 0.001)
    async with bench.running() as node:
        await node.install(spec(version=1))
        chute = node.domain.manager.find("web", ADMIN)
        node.domain.registry.update({"web": replace(chute, sources="")})
        del bench.engine.images["web-main:1"]
        bench.engine.fail_at("start_container", 1, BROKEN)
        change = await node.install(spec(version=2), replace=True)
        assert change.failure is not None
        assert not change.failure.undone
        assert any("send them with PUT /api/v1/chutes/web" in line for line in await node.lines(change.id))
        # The next update needs nothing of what is lost.
        assert (await node.install(spec(version=2), replace=True)).status == "succeeded"

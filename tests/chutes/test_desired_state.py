"""The node makes what runs what should, and says why it is not."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.chutes.domain import containersteps, deviation, imagesteps
from services.chutes.domain.chute import NODE, Chute
from services.chutes.domain.deviation import Attempts, finding, may_rest
from services.chutes.domain.ports import ContainerState
from services.chutes.domain.spec import ChuteSpec, ServiceSpec
from services.common.errors import FailedPrecondition
from services.launcher.backup import back_up, restore
from tests.chutes.bench import ADMIN, Bench, RunningBench, spec, web_spec


async def _until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def _running(bench: Bench) -> set[str]:
    return {name for name, container in bench.engine.running.items() if container.status == "running"}


def _deviation(node: RunningBench) -> deviation.Deviation | None:
    return node.domain.supervisor.deviation(node.domain.manager.find("web", ADMIN))


async def test_a_container_that_dies_is_made_again_and_the_others_are_left_alone(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(web_spec())
        token, front = bench.tokens.tokens["web"], bench.engine.running["web-front"]
        back = bench.engine.running["web-back"]
        back.status, back.exit_code = "exited", 1
        await _until(lambda: bench.engine.running.get("web-back") not in (None, back))
        await _until(lambda: not list(node.domain.queue.unfinished()))
        assert _running(bench) == {"web-front", "web-back"}
        assert bench.engine.running["web-front"] is front
        assert bench.tokens.tokens["web"] == token
        change = node.domain.queue.ended()[0]
        assert (change.request.type, change.request.user.name) == ("restart", "__paradrop__")
        assert _deviation(node) is None


async def test_a_container_that_is_removed_by_hand_comes_back(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        del bench.engine.running["web-main"]
        await _until(lambda: _running(bench) == {"web-main"})


async def test_an_image_that_is_removed_by_hand_is_built_again(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(web_spec())
        images = dict(bench.engine.images)
        del bench.engine.images[node.domain.manager.find("web", ADMIN).images["front"]]
        del bench.engine.running["web-front"]
        await _until(lambda: _running(bench) == {"web-front", "web-back"})
        await _until(lambda: not list(node.domain.queue.unfinished()))
        assert bench.engine.images == images
        (change,) = [each for each in node.domain.queue.ended() if each.request.user == NODE]
        assert change.status == "succeeded"


async def test_an_image_whose_files_are_gone_is_told(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
    with closing(sqlite3.connect(bench.home / "chutes.sqlite3")) as database:
        # As a node before this version has left it.
        database.execute("UPDATE chutes SET document = json_remove(document, '$.sources')")
        database.commit()
    async with bench.running() as node:
        bench.engine.images.clear()
        bench.engine.running.clear()
        await _until(lambda: (told := _deviation(node)) is not None and told.reason == "IMAGE_MISSING")


async def test_an_image_of_a_registry_is_fetched_again(bench: Bench) -> None:
    async with bench.running() as node:
        cache = ServiceSpec("main", "image", image="redis:7")
        await node.install(ChuteSpec("web", {"main": cache}))
        bench.engine.images.clear()
        bench.engine.running.clear()
        await _until(lambda: _running(bench) == {"web-main"})
        assert [reference for reference, _ in bench.engine.pulled] == ["redis:7"] * 2


async def test_an_image_is_built_again_when_there_is_room(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(deviation, "FIRST_DELAY_S", 0.02)
    async with bench.running() as node:
        await node.install(spec())
        bench.engine.free = imagesteps.MIN_FREE_BYTES - 1
        bench.engine.images.clear()
        bench.engine.running.clear()
        await _until(lambda: (told := _deviation(node)) is not None and told.reason == "DISK_FULL")
        assert len(bench.engine.built) == 1
        bench.engine.free = None
        await _until(lambda: _running(bench) == {"web-main"})
        assert len(bench.engine.built) == 2


@pytest.mark.thorough
async def test_an_image_that_does_not_build_again_is_tried_ever_less_often(
    bench: Bench, monkeypatch: Any
) -> None:
    monkeypatch.setattr(deviation, "FIRST_DELAY_S", 0.05)
    async with bench.running() as node:
        await node.install(spec())
        failure = FailedPrecondition("No base image.", reason="IMAGE_BUILD_FAILED")
        bench.engine.faults["build_image"] = [failure] * 1000
        bench.engine.images.clear()
        bench.engine.running.clear()
        await asyncio.sleep(1.0)
        tried = 1000 - len(bench.engine.faults["build_image"])
        # 50, 100, 200, 400 ms, …; one waits now.
        assert 2 <= tried <= 6
        await _until(lambda: (told := _deviation(node)) is not None and told.reason == "IMAGE_BUILD_FAILED")
        bench.engine.faults.clear()
        await _until(lambda: _running(bench) == {"web-main"})


async def test_a_backup_holds_what_images_are_built_from(bench: Bench, tmp_path: Path) -> None:
    """On a machine with another engine the chute is built again from it, and finds its data."""
    bench.home = tmp_path / "node" / "chutes"
    async with bench.running() as node:
        await node.install(spec())
        (bench.home / "data" / "web" / "kept").write_text("precious")
        await asyncio.to_thread(back_up, tmp_path / "node", tmp_path / "backup")
    await asyncio.to_thread(restore, tmp_path / "backup", tmp_path / "other")
    other = Bench(tmp_path / "other" / "chutes")
    async with other.running() as node:
        await _until(lambda: _running(other) == {"web-main"})
        await _until(lambda: not list(node.domain.queue.unfinished()))
    assert other.engine.built == ["web-main:" + str(bench.engine.built[0]).rpartition(":")[2]]
    assert (other.home / "data" / "web" / "kept").read_text() == "precious"
    assert other.sources() == bench.sources()


@pytest.mark.parametrize("ends", ["delete", "update"])
async def test_files_go_when_no_image_needs_them_any_more(ends: str, bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec(version=1))
        (first,) = (bench.home / "work").iterdir()
        if ends == "delete":
            await node.command("delete")
        else:
            await node.install(spec(version=2), replace=True)
        assert not first.exists()
        assert len(list((bench.home / "work").iterdir())) == (ends == "update")


async def test_files_of_an_update_that_fails_go_and_the_others_stay(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec(version=1))
        kept = list((bench.home / "work").iterdir())
        bench.engine.exits_at_once.add("web")
        assert (await node.install(spec(version=2), replace=True)).status == "failed"
        assert list((bench.home / "work").iterdir()) == kept


async def test_a_chute_that_keeps_falling_is_started_ever_less_often(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(deviation, "FIRST_DELAY_S", 0.05)
    async with bench.running() as node:
        await node.install(spec())
        bench.engine.exits_at_once.add("web")
        bench.engine.running["web-main"].status = "exited"
        bench.engine.running["web-main"].exit_code = 3
        await asyncio.sleep(1.0)
        starts = bench.engine.calls["start_container"]
        # One of the install and some restarts; each that fails also starts the container before again.
        assert 3 <= starts <= 2 * 6
        found = _deviation(node)
        assert found is not None
        assert found.reason in ("SERVICE_EXITED", "CHANGE_RUNNING")
        assert found.attempts >= 2
        await _until(lambda: not list(node.domain.queue.unfinished()))
        found = _deviation(node)
        assert found is not None
        assert found.reason == "SERVICE_EXITED"
        assert "status 3" in found.message
        bench.engine.exits_at_once.clear()
        await _until(lambda: _running(bench) == {"web-main"})


async def test_why_a_start_fails_is_the_reason_that_is_told(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(deviation, "FIRST_DELAY_S", 60.0)
    async with bench.running() as node:
        await node.install(spec())
        broken = FailedPrecondition("Port 80 is in use.", reason="PORT_TAKEN")
        bench.engine.faults["start_container"] = [broken] * 10
        del bench.engine.running["web-main"]
        await _until(lambda: (found := _deviation(node)) and found.reason == "PORT_TAKEN")
        found = _deviation(node)
        assert found is not None
        assert found.message == "Port 80 is in use. The node starts it again by itself."
        assert (found.attempts, found.next_attempt_time_s is not None) == (1, True)


@pytest.mark.parametrize(
    ("policy", "code", "comes_back"),
    [("always", 0, True), ("on-failure", 0, False), ("on-failure", 1, True), ("no", 1, False)],
)
async def test_the_restart_policy_of_a_service_counts(
    policy: str, code: int, comes_back: bool, bench: Bench
) -> None:
    chute = replace(spec(), services={"main": ServiceSpec("main", restart=policy)})
    async with bench.running() as node:
        await node.install(chute)
        container = bench.engine.running["web-main"]
        container.status, container.exit_code = "exited", code
        await asyncio.sleep(0.1)
        await _until(lambda: not list(node.domain.queue.unfinished()))
        assert (bench.engine.running["web-main"] is not container) == comes_back
        assert _deviation(node) is None


async def test_a_service_that_ended_for_good_does_not_keep_another_from_coming_back(bench: Bench) -> None:
    services = {"back": ServiceSpec("back"), "job": ServiceSpec("job", restart="no")}
    async with bench.running() as node:
        await node.install(replace(spec(), services=services))
        job, back = bench.engine.running["web-job"], bench.engine.running["web-back"]
        job.status, job.exit_code = "exited", 5
        back.status, back.exit_code = "exited", 0
        await _until(lambda: bench.engine.running.get("web-back") not in (None, back))
        await _until(lambda: not list(node.domain.queue.unfinished()))
        assert [change.status for change in node.domain.queue.ended()] == ["succeeded", "succeeded"]
        assert bench.engine.running["web-job"] is job
        assert bench.engine.running["web-back"].status == "running"


async def test_an_unhealthy_service_is_told_and_left_to_run(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        bench.engine.running["web-main"].health = "unhealthy"
        found = _deviation(node)
        assert found is not None
        assert (found.reason, found.next_attempt_time_s) == ("SERVICE_UNHEALTHY", None)
        await asyncio.sleep(0.05)
        assert len(node.domain.queue.ended()) == 1


async def test_without_an_engine_that_is_the_reason(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        bench.engine.down = True
        found = _deviation(node)
        assert found is not None
        assert found.reason == "ENGINE_DOWN"
        bench.engine.down = False
        await node.command("stop")
        assert _deviation(node) is None


def test_attempts_wait_twice_as_long_each_time_and_are_forgotten() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)
    waits = []
    for _ in range(12):
        assert attempts.due("web")
        attempts.note("web")
        assert not attempts.due("web")
        waits.append(attempts.wait_s("web"))
        now += waits[-1]
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == deviation.LAST_DELAY_S
    attempts.well("web")
    assert attempts.count("web") == 0  # The last attempt is long ago.
    attempts.note("web")
    attempts.well("web")
    assert attempts.count("web") == 1
    attempts.forget(lambda _name: False)
    assert attempts.due("web")


def test_a_fallen_service_goes_before_an_unhealthy_one() -> None:
    chute = Chute(web_spec(), owner=None, version=1, images={}, create_time_s=0.0)  # type: ignore[arg-type]
    states = {
        "web-front": ContainerState("web-front", "web", "front", "running", health="unhealthy"),
        "web-back": ContainerState("web-back", "web", "back", "exited", exit_code=2),
    }
    found = finding(chute, states)
    assert found is not None
    assert (found.service, found.reason) == ("back", "SERVICE_EXITED")
    assert not may_rest(chute.spec.services["back"], states["web-back"])


@pytest.mark.parametrize("health", ["unhealthy", "starting"])
async def test_an_update_that_does_not_become_healthy_is_taken_back(
    health: str, bench: Bench, monkeypatch: Any
) -> None:
    monkeypatch.setattr(containersteps, "HEALTH_DEADLINE_S", 0.1)
    async with bench.running() as node:
        await node.install(spec(version=1))
        before = bench.engine.snapshot()
        bench.engine.health["web"] = health
        change = await node.install(spec(version=2), replace=True)
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("SERVICE_UNHEALTHY", True)
        assert bench.engine.snapshot() == before
        assert node.domain.manager.find("web", ADMIN).version == 1


async def test_an_update_waits_until_it_is_healthy_and_only_then_drops_the_image_before(
    bench: Bench,
) -> None:
    async with bench.running() as node:
        await node.install(spec(version=1))
        bench.engine.health["web"] = "starting"
        change = await node.install(spec(version=2), replace=True, ends=False)
        await _until(lambda: change.step == "verify_running")
        await asyncio.sleep(0.05)
        assert not change.ended
        assert set(bench.engine.images) == {"web-main:1", "web-main:2"}
        bench.engine.running["web-main"].health = "healthy"
        assert (await node.ended(change.id)).status == "succeeded"
        assert set(bench.engine.images) == {"web-main:2"}


async def test_an_update_must_stay_up_for_the_time_of_grace(bench: Bench) -> None:
    bench.grace_s = 0.3
    async with bench.running() as node:
        await node.install(spec(version=1))
        change = await node.install(spec(version=2), replace=True, ends=False)
        await _until(lambda: change.step == "verify_running")
        await asyncio.sleep(0.1)
        container = bench.engine.running["web-main"]
        container.status, container.exit_code = "exited", 9
        await node.ended(change.id)
        assert change.failure is not None
        assert change.failure.reason == "SERVICE_EXITED"
        assert bench.engine.running["web-main"].plan.image == "web-main:1"


async def test_a_busy_machine_that_starts_slowly_is_given_as_long_to_tell_of_an_end(bench: Bench) -> None:
    bench.engine.start_s = 0.3
    bench.engine.exits_at_once.add("web")
    async with bench.running() as node:
        change = await node.install(spec())
        assert change.failure is not None
        assert change.failure.reason == "SERVICE_EXITED"
        assert not bench.engine.running


async def test_without_room_nothing_is_built(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.free = imagesteps.MIN_FREE_BYTES - 1
        change = await node.install(spec())
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("DISK_FULL", True)
        assert bench.engine.calls["build_image"] == 0
        bench.engine.free = 2 * imagesteps.MIN_FREE_BYTES
        assert (await node.install(spec())).status == "succeeded"

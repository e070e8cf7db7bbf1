"""What callers can do to changes: ask what they would do, ask once, wait, cancel, force."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from services.chutes.adapters.store import MIGRATIONS
from services.chutes.domain.change import Change, Terms
from services.chutes.domain.manager import Command
from services.chutes.domain.spec import Definition
from services.common.errors import DomainError
from tests.chutes.bench import ADMIN, ALICE, Bench, Crash, RunningBench, spec, web_spec

LOCK = "update.lock"


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def _known(bench: Bench) -> object:
    return bench.engine.snapshot(), bench.files(), dict(bench.tokens.tokens)


def _waits_for(change: Change, reason: str) -> Callable[[], bool]:
    return lambda: change.waiting is not None and change.waiting.reason == reason


async def _cancelled(node: RunningBench, change: Change) -> None:
    await node.domain.queue.cancel(change, "alice")
    ended = await node.ended(change.id)
    assert ended.failure is not None
    assert (ended.status, ended.cancelled_by) == ("failed", "alice")
    assert (ended.failure.reason, ended.failure.undone) == ("CHANGE_CANCELLED", True)
    assert (await node.lines(change.id))[-1].endswith(": failure")


async def test_a_build_is_cancelled_and_undone(bench: Bench) -> None:
    async with bench.running() as node:
        before = _known(bench)
        bench.engine.build_pause.clear()
        change = await node.install(web_spec(), ends=False)
        await _until(lambda: bench.engine.builds_at_once == 1)
        await _cancelled(node, change)
        assert _known(bench) == before


async def test_a_queued_change_ends_at_once_and_the_others_go_on(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.build_pause.clear()
        first = await node.install(spec(version=1), ends=False)
        second = await node.install(spec(version=2), replace=True, ends=False)
        third = node.domain.queue.find(await node.domain.manager.command("stop", "web", ADMIN))
        assert third.waiting is not None
        assert (third.waiting.reason, third.waiting.message) == (
            "EARLIER_CHANGE",
            f"Waiting for the end of change {first.id}.",
        )
        await _cancelled(node, second)
        assert not first.ended
        bench.engine.build_pause.set()
        assert (await node.ended(third.id)).status == "succeeded"
        assert node.domain.manager.find("web", ADMIN).version == 1


async def test_a_change_that_waits_for_the_engine_is_cancelled_without_it(bench: Bench) -> None:
    bench.engine.down = True
    async with bench.running() as node:
        change = await node.install(spec(), ends=False)
        await _until(_waits_for(change, "ENGINE_DOWN"))
        await _cancelled(node, change)
        assert bench.files() == []


async def test_a_stuck_engine_call_is_cancelled(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.hangs.add("start_container")
        change = await node.install(spec(), ends=False)
        await _until(lambda: bench.engine.calls["start_container"] == 1)
        await _cancelled(node, change)
        assert bench.engine.snapshot() == ({}, [], {}, {})


async def test_a_stuck_engine_call_blocks_no_other_chute(bench: Bench) -> None:
    async with bench.running() as node:
        bench.engine.hangs.add("start_container")
        stuck = [await node.install(spec(name), ends=False) for name in "abcdefghij"]
        await _until(lambda: bench.engine.calls["start_container"] == len(stuck))
        bench.engine.hangs.clear()
        assert (await node.install(spec("free"))).status == "succeeded"
        assert not any(change.ended for change in stuck)
        for change in stuck:
            await _cancelled(node, change)


async def test_past_the_commit_nothing_is_cancelled(bench: Bench) -> None:
    refused: list[str] = []

    def cancel_late(moment: str, step: str) -> None:
        if (moment, step) == ("after", "commit"):
            refused.append("asked")
            asking.append(asyncio.create_task(node.domain.queue.cancel(change, "alice")))

    asking: list[asyncio.Task[None]] = []
    async with bench.running(cancel_late) as node:
        bench.engine.build_pause.clear()
        change = await node.install(spec(), ends=False)
        bench.engine.build_pause.set()
        assert (await node.ended(change.id)).status == "succeeded"
        for task in (*asking, asyncio.create_task(node.domain.queue.cancel(change, "alice"))):
            with pytest.raises(DomainError) as error:
                await task
            assert error.value.reason == "CHANGE_NOT_CANCELLABLE"
        assert refused
        assert change.cancelled_by == ""


async def test_a_cancelled_change_stays_cancelled_after_a_crash(bench: Bench) -> None:
    def crash(moment: str, step: str) -> None:
        if (moment, step) == ("before", "undo build_image main"):
            raise Crash

    async with bench.running(crash) as node:
        before = _known(bench)
        bench.engine.build_pause.clear()
        change_id = (await node.install(spec(), ends=False)).id
        await _until(lambda: bench.engine.builds_at_once == 1)
        await node.domain.queue.cancel(node.domain.queue.find(change_id), "alice")
        await asyncio.sleep(0.05)
    bench.engine.build_pause.set()
    async with bench.running() as node:
        change = await node.ended(change_id)
        assert change.failure is not None
        assert (change.failure.reason, change.cancelled_by) == ("CHANGE_CANCELLED", "alice")
        assert _known(bench) == before


async def test_a_dry_run_tells_the_steps_and_does_nothing(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec(version=1))
        before, calls = _known(bench), dict(bench.engine.calls)
        plan = await node.domain.manager.preview("delete", "web", ADMIN)
        assert [step.name for step in plan.steps] == [
            "await_unlock",
            "remove_container main",
            "remove_network",
        ]
        assert [step.name for step in plan.finish] == [
            "revoke_token",
            "remove_images",
            "remove_folders",
            "remove_sources",
        ]
        assert all(step.description.endswith(".") for step in (*plan.steps, *plan.finish))
        after = dict(bench.engine.calls)
        assert {name for name, count in after.items() if count != calls.get(name)} == {"refresh"}
        assert _known(bench) == before
        assert len(node.domain.queue.ended()) == 1
        with pytest.raises(DomainError) as error:
            await node.domain.manager.preview("start", "web", ADMIN)
        assert error.value.reason == "CHUTE_RUNNING"


async def test_the_same_request_becomes_one_change(bench: Bench) -> None:
    terms = Terms(request_id="key-1")
    async with bench.running() as node:
        await node.install(spec("web"))
        first = await node.domain.manager.command("restart", "web", ADMIN, terms=terms)
        assert await node.domain.manager.command("restart", "web", ADMIN, terms=terms) == first
        await node.ended(first)
    async with bench.running() as node:
        assert await node.domain.manager.command("restart", "web", ADMIN, terms=terms) == first
        with pytest.raises(DomainError) as error:
            await node.domain.manager.command("stop", "web", ADMIN, terms=terms)
        assert error.value.reason == "IDEMPOTENCY_KEY_REUSED"
        await node.install(spec("other"), by=ALICE)
        # Other users may call their requests the same.
        assert await node.domain.manager.command("restart", "other", ALICE, terms=terms) > first


async def test_the_same_upload_leaves_no_second_workspace(bench: Bench) -> None:
    terms = Terms(request_id="key-1")
    async with bench.running() as node:
        workspaces = [node.unpack(), node.unpack()]
        ids = {
            await node.domain.manager.install(Definition(spec(), {}), each, ADMIN, False, terms)
            for each in workspaces
        }
        assert len(ids) == 1
        assert (await node.ended(ids.pop())).status == "succeeded"
        assert [path.name for path in (bench.home / "work").iterdir() if path.name == workspaces[1]] == []


@pytest.mark.parametrize("command", ["stop", "restart", "delete"])
async def test_a_locked_chute_is_not_taken_down(command: Command, bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        (bench.home / "data" / "web" / LOCK).write_text("measuring\nuntil noon\n")
        change = node.domain.queue.find(await node.domain.manager.command(command, "web", ADMIN))
        await _until(_waits_for(change, "UPDATE_LOCKED"))
        assert change.waiting is not None
        assert "(measuring until noon)" in change.waiting.message
        assert bench.engine.running["web-main"].status == "running"
        (bench.home / "data" / "web" / LOCK).unlink()
        assert (await node.ended(change.id)).status == "succeeded"
        assert change.waiting is None


async def test_force_overrides_a_lock(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        await node.domain.manager.lock("web", ADMIN, "measuring")
        change_id = await node.domain.manager.command("stop", "web", ADMIN, terms=Terms(force=True))
        assert (await node.ended(change_id)).status == "succeeded"
        # A stopped chute has nothing to protect.
        assert (await node.command("delete")).status == "succeeded"


async def test_an_update_is_prepared_while_the_chute_has_just_locked_itself(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec(version=1))
        bench.engine.build_pause.clear()
        change = await node.install(spec(version=2), replace=True, ends=False)
        await _until(lambda: bench.engine.builds_at_once == 1)
        await node.domain.manager.lock("web", ADMIN, "")
        bench.engine.build_pause.set()
        await _until(lambda: change.step == "await_unlock")
        assert "web-main:2" in bench.engine.images
        assert bench.engine.running["web-main"].plan.image == "web-main:1"
        await node.domain.manager.unlock("web", ADMIN)
        assert (await node.ended(change.id)).status == "succeeded"
        assert bench.engine.running["web-main"].plan.image == "web-main:2"


async def test_a_lock_is_set_once_and_ends_for_good(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec(), by=ALICE)
        await node.domain.manager.lock("web", ALICE, "measuring")
        with pytest.raises(DomainError) as error:
            await node.domain.manager.lock("web", ALICE, "again")
        assert error.value.reason == "CHUTE_LOCKED"
        with pytest.raises(DomainError) as error:
            await node.domain.manager.lock("web", ALICE, "two\nlines")
        assert (error.value.reason, error.value.field) == ("LOCK_REASON_INVALID", "reason")
        for _ in range(2):
            await node.domain.manager.unlock("web", ALICE)
        assert await node.folders.lock("web") is None


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
async def test_whatever_the_chute_makes_of_the_lock_is_only_a_lock(kind: str, bench: Bench) -> None:
    import os

    async with bench.running() as node:
        await node.install(spec())
        secret, lock = bench.home / "secret", bench.home / "data" / "web" / LOCK
        secret.write_text("secret")
        if kind == "link":
            lock.symlink_to(secret)
        elif kind == "folder":
            lock.mkdir()
        else:
            os.mkfifo(lock)
        assert await node.folders.lock("web") == ""
        assert not await node.folders.set_lock("web", "mine")
        await node.domain.manager.unlock("web", ADMIN)
        assert await node.folders.lock("web") is None
        assert secret.read_text() == "secret"


async def test_kept_data_comes_back_to_its_owner_alone(bench: Bench) -> None:
    data = bench.home / "data" / "web" / "kept"
    async with bench.running() as node:
        await node.install(spec(), by=ALICE)
        data.write_text("precious")
        change_id = await node.domain.manager.command(
            "delete", "web", ALICE, terms=Terms(keep_data=True, force=True)
        )
        await node.ended(change_id)
        assert not data.parent.exists()
        await node.install(spec(), by=ADMIN)
        assert not data.exists()
        await node.command("delete")
        bench.engine.fail_at("start_container", 1, DomainError("no", reason="BROKEN"))
        assert (await node.install(spec(), by=ALICE)).status == "failed"
        assert not data.parent.exists()
        assert (await node.install(spec(), by=ALICE)).status == "succeeded"
        assert data.read_text() == "precious"
        assert list((bench.home / "kept").iterdir()) == []


async def test_a_watcher_is_told_how_far_a_change_is(bench: Bench) -> None:
    bench.engine.build_lines = [f"Step {number}/5 : RUN true" for number in range(1, 6)]
    async with bench.running() as node:
        bench.engine.build_pause.clear()
        change = await node.install(spec(), ends=False)
        seen: list[Any] = []
        async for event in node.domain.watcher.watch(change):
            if event.synced:
                bench.engine.build_pause.set()
            if event.moved:
                seen.append((event.moved.step, event.moved.percent))
        assert seen
        percents = [percent for _, percent in seen]
        assert percents == sorted(percents)
        assert change.percent == 100


async def test_a_store_of_the_first_schema_opens_and_its_changes_go_on(bench: Bench) -> None:
    bench.home.mkdir()
    database = sqlite3.connect(bench.home / "chutes.sqlite3")
    database.executescript(MIGRATIONS[0])
    user = {"name": "paradrop", "domain": "localhost", "role": "admin"}
    service = {
        **{"type": "normal", "source": ".", "image": None, "command": None, "environment": {}},
        **{"build": {}, "requests": {}, "port_bindings": []},
    }
    chute = {
        "spec": {
            **{"name": "web", "version": 1, "description": "", "environment": {}, "web": None, "config": {}},
            "services": {"main": service},
        },
        **{"owner": user, "version": 1, "images": {"main": "web-main:1"}, "create_time_s": 1.0},
        **{"desired": "stopped", "environment": {}, "token": ""},
    }
    request = {
        **{"type": "delete", "chute": "web", "user": user, "version": None},
        **{"spec": None, "workspace": None, "environment": None, "request_id": ""},
    }
    database.execute("INSERT INTO chutes VALUES ('web', ?)", (json.dumps(chute),))
    database.execute(
        "INSERT INTO changes (request, status, phase, create_time_s) VALUES (?, 'queued', 'waiting', 1.0)",
        (json.dumps(request),),
    )
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    async with bench.running() as node:
        assert (await node.ended(1)).status == "succeeded"
        assert node.domain.manager.visible(ADMIN) == []

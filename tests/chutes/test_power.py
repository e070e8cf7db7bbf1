"""Restarting, halting and factory resets; this machine itself is never touched."""

from pathlib import Path

import pytest

from services.chutes.adapters.power import NoPower, SystemPower
from services.chutes.app import node_changes
from services.common.errors import FailedPrecondition
from tests.chutes.bench import ADMIN, Bench, spec
from tests.chutes.served import Served


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.node_changes = node_changes(NoPower())
    return bench


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command `shutdown` that only notes how it was called."""
    folder, noted = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    (folder / "shutdown").write_text(
        f'#!/bin/sh\necho "$*" >> {noted}\ntest ! -e {tmp_path}/no || {{ echo "not as root"; exit 1; }}\n'
    )
    (folder / "shutdown").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    noted.touch()
    return noted


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [("reboot", "-r +1", "Rebooting in 60 seconds."), ("shutdown", "-h +1", "Halting in 60 seconds.")],
)
async def test_the_system_is_asked_with_a_minute_left(
    bench: Bench, command: Path, kind: str, arguments: str, words: str
) -> None:
    bench.node_changes = node_changes(SystemPower())
    async with bench.running() as node:
        change = await node.ended(await node.domain.node.accept(kind, {}, ADMIN))
        assert change.status == "succeeded"
        assert words in await node.lines(change.id)
    assert command.read_text() == f"{arguments}\n"


async def test_a_refusal_of_the_system_is_told(bench: Bench, command: Path) -> None:
    bench.node_changes = node_changes(SystemPower())
    command.with_name("no").touch()
    async with bench.running() as node:
        change = await node.ended(await node.domain.node.accept("reboot", {}, ADMIN))
    assert change.failure is not None
    assert change.failure.reason == "POWER_REFUSED"
    assert "not as root" in change.failure.message


async def test_without_the_command_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(FailedPrecondition, match="no command 'shutdown'"):
        await SystemPower().schedule(again=True)


async def test_labs_can_forbid_it(bench: Bench) -> None:
    async with bench.running() as node:
        change = await node.ended(await node.domain.node.accept("shutdown", {}, ADMIN))
    assert change.failure is not None
    assert change.failure.reason == "POWER_DISABLED"


async def test_a_factory_reset_removes_everything_of_ours_and_ends_in_a_working_node(bench: Bench) -> None:
    async with bench.running() as node:
        for name in ("one", "two"):
            await node.install(spec(name))
        change = await node.ended(await node.domain.node.accept("factoryreset", {}, ADMIN))
        assert change.status == "succeeded"
        assert node.domain.registry.installed == {}
        assert bench.engine.running == {}
        assert bench.engine.networks == {}
        assert bench.engine.images == {}
        assert not any(node.folders.data(name).exists() for name in ("one", "two"))
        await node.install(spec("three"))
        assert "three" in node.domain.registry.installed


async def test_a_reset_that_was_confirmed_for_other_chutes_removes_nothing(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec("one"))
        number = await node.domain.node.accept("factoryreset", {"chutes": ["two"]}, ADMIN)
        change = await node.ended(number)
        assert change.failure is not None
        assert change.failure.reason == "RESET_NOT_AS_CONFIRMED"
        assert list(node.domain.registry.installed) == ["one"]


async def test_over_the_wire_a_dry_run_tells_what_goes_and_what_stays(served: Served) -> None:
    admin = served.client()
    reply = await admin.call("FactoryReset", dry_run=True)
    assert (reply.change_id, reply.success) == (0, True)
    assert any("chutes" in line for line in reply.removed)
    assert any("users" in line for line in reply.kept)
    assert served.node.domain.queue.ended() == []


async def test_over_the_wire_a_reset_is_a_change(served: Served) -> None:
    reply = await served.client().call("FactoryReset")
    await served.client().done(reply.change_id)

"""The node's care for a Docker engine, with real daemons beside the one that the other tests use."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from services.common.settings import Settings, load_settings
from services.launcher.engine import EngineKeeper, ask

pytestmark = [pytest.mark.engine, pytest.mark.apart, pytest.mark.timeout(180)]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start an engine")

START_AND_HANG = """
import asyncio, sys
from services.common.settings import load_settings
from services.launcher.engine import EngineKeeper
home, address, *daemon = sys.argv[1:]
settings = load_settings({"PARADROP_HOME": home})
keeper = EngineKeeper(settings, ensure=True, say=print, daemon=daemon, daemon_address=address)
asyncio.run(keeper.prepare())
print("still down:" if keeper.report.problem else "answers", flush=True)
sys.stdin.read()
"""


@dataclass
class Machine:
    """A machine without an engine, on which one could run."""

    settings: Settings
    folder: Path
    said: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    @property
    def daemon(self) -> tuple[str, ...]:
        return (
            # In a network of its own: a second daemon takes the first one's bridge away.
            *(
                "unshare",
                "--net",
                "--",
                "dockerd",
                "--host",
                self.address,
                "--pidfile",
                f"{self.folder}/docker.pid",
            ),
            *("--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
        )

    def keeper(self, *flags: str, ensure: bool = True) -> EngineKeeper:
        return EngineKeeper(
            self.settings,
            ensure=ensure,
            say=self.said.append,
            daemon=(*self.daemon, *flags),
            daemon_address=self.address,
        )

    async def answers(self) -> bool:
        return not (await asyncio.to_thread(ask, self.address)).problem


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Short paths: containerd's sockets lie deep below this folder.
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        settings = load_settings({"PARADROP_HOME": f"{folder}/home"})
        settings.prepare()
        yield Machine(settings, Path(folder))


@needs_root
async def test_an_engine_is_started_and_stopped(machine: Machine) -> None:
    keeper = machine.keeper()
    await keeper.prepare()
    assert keeper.report.problem == ""
    assert keeper.report.version
    assert keeper.is_own
    assert "Starting a Docker engine" in machine.said[0]
    await keeper.stop()
    assert not await machine.answers()
    assert not keeper.is_own
    assert list(machine.settings.home.glob("dockerd.json")) == []


@needs_root
async def test_a_running_engine_is_used_and_left_alone(machine: Machine) -> None:
    somebody = machine.keeper()
    await somebody.prepare()
    try:
        stranger = load_settings({"PARADROP_HOME": f"{machine.folder}/other-home"})
        stranger.prepare()
        keeper = replace(machine, settings=stranger).keeper()
        await keeper.prepare()
        assert keeper.report.version
        assert not keeper.is_own
        await keeper.stop()
        assert await machine.answers()
    finally:
        await somebody.stop()


@needs_root
async def test_the_engine_of_a_killed_run_is_adopted(machine: Machine) -> None:
    arguments = [str(machine.settings.home), machine.address, *machine.daemon]
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START_AND_HANG, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert killed.stdout is not None
    assert b"Starting" in await killed.stdout.readline()
    assert await killed.stdout.readline() == b"answers\n"
    killed.kill()
    await killed.wait()
    assert await machine.answers()
    elsewhere = replace(machine.settings, docker_host=f"unix://{machine.folder}/other.sock")
    keeper = replace(machine, settings=elsewhere).keeper(ensure=False)
    await keeper.prepare()
    assert not keeper.is_own
    await keeper.stop()
    assert await machine.answers()
    keeper = machine.keeper(ensure=False)
    await keeper.prepare()
    assert keeper.report.problem == ""
    assert keeper.is_own
    await keeper.stop()
    assert not await machine.answers()
    assert not [p for p in psutil.process_iter(["cmdline"]) if machine.address in (p.info["cmdline"] or [])]


@needs_root
async def test_an_engine_that_cannot_start_says_why(machine: Machine) -> None:
    keeper = machine.keeper("--log-level", "loud")
    await keeper.prepare()
    assert "dockerd does not start here" in keeper.report.problem
    assert "loud" in keeper.report.problem
    assert "dockerd.log" in keeper.report.problem
    assert not keeper.is_own


async def test_without_being_asked_nothing_is_started(machine: Machine) -> None:
    keeper = machine.keeper(ensure=False)
    await keeper.prepare()
    assert machine.address in keeper.report.problem
    assert "systemctl start docker" in keeper.report.problem
    assert not keeper.is_own
    assert machine.said == []


async def test_an_engine_elsewhere_is_never_started_here(machine: Machine) -> None:
    elsewhere = replace(machine.settings, docker_host=f"unix://{machine.folder}/elsewhere.sock")
    keeper = replace(machine, settings=elsewhere).keeper()
    await keeper.prepare()
    assert "elsewhere.sock" in keeper.report.problem
    assert machine.said == []

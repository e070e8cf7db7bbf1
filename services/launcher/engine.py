"""Makes sure of a Docker engine: uses the one that runs, or installs and starts one as root."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from services.common.children import program_path
from services.common.settings import Settings
from services.launcher import processes
from services.launcher.http import get

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
INSTALL = ("docker.io", "iptables")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.05
AS_ROOT = "or run the node as root (sudo make run, or paradrop run --ensure-engine)"
HOW_TO_GET = f"install one (sudo apt-get install docker.io), {AS_ROOT}"
HOW_TO_START = f"start it (sudo systemctl start docker), {AS_ROOT}"
HOW_TO_JOIN = "sudo usermod -aG docker $USER, then log in again"


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What is known of the engine."""

    address: str
    version: str = ""
    problem: str = ""
    """Why it does not answer and what to do; empty when it does."""


def ask(address: str) -> EngineReport:
    """Asks the engine for its version. Blocking."""
    try:
        status, body = get(address, "/version")
        if status == 200:
            return EngineReport(address, version=str(json.loads(body).get("Version", "")))
        problem = f"{address} answered with status {status}"
    except PermissionError:
        problem = f"this user may not use the Docker engine at {address}"
    except (FileNotFoundError, ConnectionRefusedError):
        problem = f"no Docker engine answers at {address}"
    except (OSError, ValueError) as error:
        problem = f"no Docker engine answers at {address} ({error})"
    return EngineReport(address, problem=problem)


class EngineKeeper:
    """The engine of one run of the node.

    It stops only an engine that this run has started, or one before it that was killed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        ensure: bool,
        say: Callable[[str], None],
        daemon: Sequence[str] = ("dockerd",),
        daemon_address: str = DEFAULT_ADDRESS,
    ) -> None:
        self._given = settings.docker_host
        self._address = settings.docker_host or daemon_address
        self._starts_here = self._address == daemon_address
        self._daemon = daemon
        self._record = settings.home / "dockerd.json"
        self._logs = settings.home / "logs"
        self._ensure = ensure
        self._say = say
        self._own: psutil.Process | None = None
        self.report = EngineReport(self._address, problem="not asked yet")

    @property
    def is_own(self) -> bool:
        """Whether this node has started the engine and will stop it."""
        return self._own is not None

    async def prepare(self) -> None:
        """Finds or starts the engine; afterwards `report` says how that went. Raises nothing."""
        if self._starts_here:
            self._own = await asyncio.to_thread(processes.recall, self._record)
        self.report = await asyncio.to_thread(ask, self._address)
        if not self.report.problem:
            return
        if self._own:
            # A run of this node that was killed has started it a moment ago.
            await self._until_it_answers()
        elif self._ensure and not self._given and os.geteuid() == 0:
            await self._install_and_start()
        else:
            self._note(f"{self.report.problem}; {await asyncio.to_thread(self._hint)}")

    def _hint(self) -> str:
        if self._given:
            return "start it, or unset DOCKER_HOST to use the one of this machine"
        if Path(self._address.removeprefix("unix://")).exists():
            return f"see that it runs and that this user may use it ({HOW_TO_JOIN})"
        return HOW_TO_START if self._is_installed() else HOW_TO_GET

    def _is_installed(self) -> bool:
        return shutil.which(self._daemon[0], path=program_path()) is not None

    async def _install_and_start(self) -> None:
        if not await asyncio.to_thread(self._is_installed) and not await self._install():
            return
        self.report = await asyncio.to_thread(ask, self._address)
        if self.report.problem:
            await self._start()

    async def _install(self) -> bool:
        if not await asyncio.to_thread(shutil.which, "apt-get"):
            self._note(f"{self.report.problem}; install Docker with the package manager of this system")
            return False
        log = await asyncio.to_thread(self._log_file, "apt.log")
        self._say(f"No Docker engine here: installing {' and '.join(INSTALL)} with apt-get (log: {log}) ...")
        for command in (
            ["apt-get", "update", "-q"],
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *INSTALL],
        ):
            if not await asyncio.to_thread(_run, command, log):
                said = await asyncio.to_thread(last_words, log)
                self._note(f"'{' '.join(command)}' failed: {said} (log: {log})")
                return False
        return True

    async def _start(self) -> None:
        log = await asyncio.to_thread(self._log_file, "dockerd.log")
        self._say(f"Starting a Docker engine for the time of this run (log: {log}) ...")
        spawning = asyncio.ensure_future(asyncio.to_thread(self._spawn, log))
        try:
            await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # Whoever ends this run must find the engine either not started or ours.
            await asyncio.wait([spawning])
            raise
        except OSError as error:
            self._note(f"dockerd cannot be started: {error}")
        else:
            await self._until_it_answers()

    def _spawn(self, log: Path) -> None:
        with log.open("wb") as output:
            # A session of its own: it must outlive a crash of ours and a Ctrl-C meant for us.
            self._own = psutil.Popen(
                list(self._daemon),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # It needs programs of root itself, such as iptables and modprobe.
                env=os.environ | {"PATH": program_path()},
            )
        processes.remember(self._record, self._own)

    async def _until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        log = self._logs / "dockerd.log"
        while time.monotonic() < deadline:
            self.report = await asyncio.to_thread(ask, self._address)
            if not self.report.problem:
                return
            if self._own is None or await asyncio.to_thread(_has_ended, self._own):
                said = await asyncio.to_thread(last_words, log)
                self._note(f"dockerd does not start here: {said} (log: {log})")
                await self.stop()
                return
            await asyncio.sleep(POLL_INTERVAL_S)
        self._note(f"dockerd does not answer after {START_TIMEOUT_S:.0f} s (log: {log})")

    async def stop(self) -> None:
        """Stops the engine, and its containers with it, if this node has started it."""
        if self._own is None:
            return
        await asyncio.to_thread(_end, self._own)
        if isinstance(self._own, psutil.Popen):
            self._own.poll()  # Lets Python's own record of it know as well.
        await asyncio.to_thread(self._record.unlink, missing_ok=True)
        self._own = None

    def abandon(self) -> None:
        """Tells an engine of ours to stop and does not wait for it."""
        if self._own is not None:
            self._own.terminate()

    def _note(self, problem: str) -> None:
        self.report = EngineReport(self._address, problem=problem)

    def _log_file(self, name: str) -> Path:
        self._logs.mkdir(mode=0o700, exist_ok=True)
        return self._logs / name


def last_words(log: Path) -> str:
    """Returns the last line of a log that says something."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    failures = [line for line in lines if "failed to start daemon" in line or line.startswith("E:")]
    return (failures or lines or ["nothing was logged"])[-1]


def _run(command: list[str], log: Path) -> bool:
    with log.open("ab") as output:
        # A session of its own: a Ctrl-C must not leave a half-installed package behind.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            check=False,
        )
    return done.returncode == 0


def _has_ended(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        try:
            process.wait(0)
        except psutil.TimeoutExpired:
            # After a crash of ours it belongs to process 1, which in a container often buries nobody. One of
            # ours is buried by us, and not before the last of its threads has ended.
            return not isinstance(process, psutil.Popen) and process.status() == psutil.STATUS_ZOMBIE
    return True


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not _has_ended(process):
            if time.monotonic() > deadline:
                process.kill()
                return
            time.sleep(POLL_INTERVAL_S)

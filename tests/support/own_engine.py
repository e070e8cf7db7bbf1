"""A Docker engine of a test's own, which may be killed at any moment and started again.

It has namespaces of its own for networks, mounts and processes: a second engine would take the bridge of the
first away, and with the first process of the namespace everything ends that it has started.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker
import psutil
import pytest

from tests.support.engine import START_TIMEOUT_S, busybox_image, engine_answers

PROGRAMS = ("dockerd", "docker-init", "unshare", "nsenter", "ip")
_CLONE_NEWNET = 0x40000000


@dataclass
class OwnEngine:
    """A dockerd that nobody else uses."""

    folder: Path
    """Short: containerd's sockets lie deep below it."""
    first: int
    """Number of the first process of its namespaces, which lives as long as they do."""
    flags: Sequence[str] = ()
    _entered: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def data_root(self) -> Path:
        """Where it keeps images and containers."""
        return self.folder / "data"

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        log = self.folder / "dockerd.log"
        places = {"pidfile": "docker.pid", "data-root": "data", "exec-root": "exec"}
        command = [
            *("dockerd", "--host", self.address, *self.flags),
            *(f"--{flag}={self.folder}/{place}" for flag, place in places.items()),
        ]
        with log.open("ab") as output:
            entered = subprocess.Popen(self._inside(*command), stdout=output, stderr=output)
        self._entered.append(entered)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not engine_answers(self.address):
            if entered.poll() is not None or time.monotonic() > deadline_s:
                pytest.fail(f"dockerd does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends the daemon with SIGKILL; its containers live on, as they do then."""
        entered = self._entered.pop()
        (daemon,) = psutil.Process(entered.pid).children()
        # The kernel ends it with the daemon; one that takes its time would be taken for the new daemon's.
        containerds = [child for child in daemon.children() if child.name() == "containerd"]
        daemon.kill()
        entered.wait(10)
        psutil.wait_procs(containerds, 30)

    def listen(self) -> socket.socket:
        """Returns a socket that listens where the engine's loopback address is."""
        made: list[socket.socket] = []

        def enter() -> None:
            # A thread of its own: it never comes back from the namespace, the socket stays there with it.
            libc = ctypes.CDLL(None, use_errno=True)
            with Path(f"/proc/{self.first}/ns/net").open("rb") as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
            made.append(socket.create_server(("127.0.0.1", 0)))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]

    def run(self, *command: str) -> None:
        """Runs a program in the namespaces of the engine."""
        subprocess.run(self._inside(*command), check=True)

    def _inside(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self.first), "--net", "--mount", "--pid", "--", *command]


@contextmanager
def own_engine(*flags: str, disk: Path | None = None) -> Iterator[OwnEngine]:
    """Runs an engine for the time of the context; its data are on `disk` if that is given."""
    if os.geteuid() != 0:
        pytest.skip("only root can start an engine")
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"needs {', '.join(missing)} (apt-get install docker.io iproute2 util-linux)")
    with tempfile.TemporaryDirectory(prefix="pd-", ignore_cleanup_errors=True) as folder:
        if disk is not None:
            (Path(folder) / "data").symlink_to(disk)
        holder = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
                *("docker-init", "--", "sleep", "infinity"),
            ],
            stderr=subprocess.DEVNULL,
        )
        engine = OwnEngine(Path(folder), _child(holder), flags)
        try:
            engine.run("ip", "link", "set", "lo", "up")
            engine.start()
            yield engine
        finally:
            # The first process of the namespace takes everything in it along.
            for child in psutil.Process(holder.pid).children():
                child.kill()
            for process in (holder, *engine._entered):
                process.wait(10)


def _child(parent: subprocess.Popen[bytes]) -> int:
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        for child in psutil.Process(parent.pid).children():
            if child.name() == "docker-init":
                return child.pid
        time.sleep(0.01)
    pytest.fail("unshare does not start anything")


@contextmanager
def client_of(engine: OwnEngine) -> Iterator[docker.APIClient]:
    """Connects to an engine, which has the image that test chutes are made from then."""
    client = docker.APIClient(engine.address, version="auto")
    busybox_image(client)
    yield client
    client.close()

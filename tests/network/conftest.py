"""Network namespaces for one test: a host's, a container's, and what lies beyond."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "busybox"))),
    reason="needs root, iproute2, nftables and busybox to make network namespaces",
)


@dataclass(frozen=True)
class Namespace:
    """A network namespace with a process in it."""

    name: str
    pid: int

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.name

    def run(self, *words: str, check: bool = True) -> str:
        """Runs a program in it and returns its output."""
        command: tuple[str, ...] = ("ip", "netns", "exec", self.name, *words)
        if words[0] == "ip":
            command = ("ip", "-n", self.name, *words[1:])
        done = subprocess.run(command, capture_output=True, text=True, check=check, timeout=30)
        return done.stdout

    def reaches(self, address: str) -> bool:
        """Tells whether a ping is answered."""
        command = ["ip", "netns", "exec", self.name, "busybox", "ping", "-c1", "-W1", address]
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0


def reached(*tries: tuple[Namespace, str]) -> list[str]:
    """Pings from several namespaces at once and returns which addresses answer."""
    with ThreadPoolExecutor() as threads:
        answers = threads.map(lambda one: one[0].reaches(one[1]), tries)
    return [address for (_, address), answer in zip(tries, answers, strict=True) if answer]


class Namespaces:
    """Makes namespaces that end with the test."""

    def __init__(self) -> None:
        self._made: list[tuple[Namespace, subprocess.Popen[bytes]]] = []

    def make(self) -> Namespace:
        name = f"pd-{secrets.token_hex(4)}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        process = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "600"])
        namespace = Namespace(name, process.pid)
        self._made.append((namespace, process))
        # "ip" becomes "sleep" within the namespace; until then the process is still outside.
        while os.stat(f"/proc/{process.pid}/ns/net").st_ino != namespace.path.stat().st_ino:
            pass
        namespace.run("ip", "link", "set", "lo", "up")
        return namespace

    def connect(self, one: Namespace, name: str, other: Namespace, other_name: str) -> None:
        """Lays a cable between two."""
        one.run("ip", "link", "add", name, "type", "veth", "peer", "name", other_name, "netns", other.name)
        one.run("ip", "link", "set", name, "up")
        other.run("ip", "link", "set", other_name, "up")

    def close(self) -> None:
        for namespace, process in self._made:
            process.kill()
            process.wait()
            subprocess.run(["ip", "netns", "del", namespace.name], check=True)


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    made = Namespaces()
    try:
        yield made
    finally:
        made.close()

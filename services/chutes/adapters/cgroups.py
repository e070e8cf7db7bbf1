"""What a container uses, read where the kernel accounts for it: no call of the engine and no process."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from services.chutes.domain.ports import Measurement

SCOPES = ("docker/{}", "system.slice/docker-{}.scope")
"""Where engines put containers, with the cgroupfs and with the systemd driver."""
NO_LIMIT_BYTES = 2**62
"""The kernel writes "no limit" of cgroups version 1 as a number near the largest."""


class Cgroups:
    """The control groups of this machine, version 1 or 2."""

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> None:
        self._root = root
        self._proc = proc
        self._folders: dict[str, str] = {}

    def measure(self, container: str) -> Measurement | None:
        """Returns what a container uses; None if its group cannot be seen from here. Blocking, but short."""
        try:
            scope = self._scope(container)
            if scope is None:
                return None
            return self._version_2(scope) if self._is_version_2() else self._version_1(scope)
        except (OSError, ValueError, LookupError, StopIteration):
            self._folders.pop(container, None)
            return None

    def forget(self, present: set[str]) -> None:
        """Forgets the folders of containers that are gone."""
        for container in set(self._folders) - present:
            del self._folders[container]

    def _is_version_2(self) -> bool:
        return (self._root / "cgroup.controllers").exists()

    def _scope(self, container: str) -> str | None:
        if container not in self._folders:
            parent = self._root if self._is_version_2() else self._root / "memory"
            for scope in (scope.format(container) for scope in SCOPES):
                if (parent / scope).is_dir():
                    self._folders[container] = scope
        return self._folders.get(container)

    def _version_2(self, scope: str) -> Measurement:
        group = self._root / scope
        memory = _pairs(group / "memory.stat")
        limit = _text(group / "memory.max").strip()
        reads, writes = 0, 0
        for line in _lines(group / "io.stat"):
            counts = dict(part.split("=", 1) for part in line.split()[1:] if "=" in part)
            reads += int(counts.get("rbytes", 0))
            writes += int(counts.get("wbytes", 0))
        return self._measurement(
            cpu_ns=_pairs(group / "cpu.stat")["usage_usec"] * 1000,
            memory_bytes=int(_text(group / "memory.current")) - memory.get("inactive_file", 0),
            limit_bytes=None if limit == "max" else int(limit),
            blocks=(reads, writes),
            pids=int(_text(group / "pids.current")),
            processes=group / "cgroup.procs",
        )

    def _version_1(self, scope: str) -> Measurement:
        def file(controller: str, name: str) -> Path:
            return self._root / controller / scope / name

        limit_bytes = int(_text(file("memory", "memory.limit_in_bytes")))
        blocks = {"Read": 0, "Write": 0}
        for line in _lines(file("blkio", "blkio.throttle.io_service_bytes_recursive")):
            device, *rest = line.split()
            if len(rest) == 2 and device != "Total" and rest[0] in blocks:
                blocks[rest[0]] += int(rest[1])
        inactive = _pairs(file("memory", "memory.stat")).get("total_inactive_file", 0)
        return self._measurement(
            cpu_ns=int(_text(file("cpuacct", "cpuacct.usage"))),
            memory_bytes=int(_text(file("memory", "memory.usage_in_bytes"))) - inactive,
            limit_bytes=None if limit_bytes >= NO_LIMIT_BYTES else limit_bytes,
            blocks=(blocks["Read"], blocks["Write"]),
            pids=int(_text(file("pids", "pids.current"))),
            processes=file("memory", "cgroup.procs"),
        )

    def _measurement(
        self,
        *,
        cpu_ns: int,
        memory_bytes: int,
        limit_bytes: int | None,
        blocks: tuple[int, int],
        pids: int,
        processes: Path,
    ) -> Measurement:
        received, sent = self._network(processes)
        return Measurement(
            time_s=time.time(),
            cpu_ns=cpu_ns,
            memory_bytes=max(0, memory_bytes),
            memory_limit_bytes=limit_bytes,
            received_bytes=received,
            sent_bytes=sent,
            read_bytes=blocks[0],
            written_bytes=blocks[1],
            pid_count=pids,
        )

    def _network(self, processes: Path) -> tuple[int, int]:
        """Adds up the interfaces of the container; those of the node if it shares them."""
        process = int(next(_lines(processes)))  # Of the others the namespace is the same.
        received, sent = 0, 0
        for line in _lines(self._proc / str(process) / "net" / "dev"):
            name, colon, counts = line.partition(":")
            if colon and name.strip() != "lo":
                columns = counts.split()
                received, sent = received + int(columns[0]), sent + int(columns[8])
        return received, sent


def _text(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16).decode()
    finally:
        os.close(descriptor)


def _lines(path: Path) -> Iterator[str]:
    yield from _text(path).splitlines()


def _pairs(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _lines(path))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}

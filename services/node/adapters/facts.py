"""Gathers the facts that a diagnosis needs, and does what can safely be done about some issues."""

import asyncio
import ctypes
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

from services.common.errors import FailedPrecondition
from services.common.settings import Settings
from services.node.adapters.certificates import ends_s
from services.node.domain.diagnosis.facts import Disk, Facts

log = structlog.get_logger()

TIME_ERROR = 5
"""What adjtimex returns when nothing disciplines the clock."""
STRUCT_TIMEX_BYTES = 512
"""More than the kernel's struct timex has on any processor."""
COMMAND_TIMEOUT_S = 10.0
SECRET_FILES = ("admin-password", "internal/*", "auth/*", "node/provision.json", "chutes/*.sqlite3")

Gather = Callable[[Facts], Awaitable[Facts]]


class FactFinder:
    """Looks at this machine; `others` adds what other parts of the node know."""

    def __init__(self, settings: Settings, others: Gather) -> None:
        self._settings = settings
        self._others = others

    async def gather(self) -> Facts:
        """Returns everything that is known now."""
        return await self._others(await asyncio.to_thread(machine_facts, self._settings))

    async def fix(self, issue: str) -> str:
        """Does what can be done about an issue and tells what that was."""
        if issue == "secrets-readable":
            return await asyncio.to_thread(_make_private, self._settings)
        return await asyncio.to_thread(_synchronise_clock)


def machine_facts(settings: Settings) -> Facts:
    """Returns what this machine tells about itself. Blocking."""
    memory = psutil.virtual_memory()
    return Facts(
        # In a container this is a volume, and what is above it may be a file system in memory.
        disks=_disks([Path("/"), settings.state_dir("node")]),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        hottest_celsius=_hottest_celsius(),
        time_s=time.time(),
        built_s=Path(__file__).stat().st_mtime,
        clock_synchronised=_clock_synchronised(),
        can_synchronise=shutil.which("timedatectl") is not None and os.path.isdir("/run/systemd/system"),
        certificate_ends_s=ends_s(settings.tls_cert),
        controller_certificate_ends_s=ends_s(settings.controller_cert),
        readable_secrets=[str(path) for path in _readable_secrets(settings)],
    )


def _disks(paths: Sequence[Path]) -> list[Disk]:
    disks = {}
    for path in paths:
        with suppress(OSError):
            found = os.statvfs(path)
            # Root's reserve counts as free: the node usually is root.
            disks[path.stat().st_dev] = Disk(
                str(path),
                found.f_blocks * found.f_frsize,
                found.f_bfree * found.f_frsize,
                bool(found.f_flag & os.ST_RDONLY) and path != Path("/"),
            )
    return list(disks.values())


def _hottest_celsius() -> float | None:
    with suppress(OSError, AttributeError):
        readings = [
            sensor.current for sensors in psutil.sensors_temperatures().values() for sensor in sensors
        ]
        return max(readings, default=None)
    return None


def _clock_synchronised() -> bool | None:
    # A struct of zeros only asks.
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(STRUCT_TIMEX_BYTES))
    return None if state < 0 else state != TIME_ERROR


def _readable_secrets(settings: Settings) -> list[Path]:
    own = [path for pattern in SECRET_FILES for path in sorted(settings.home.glob(pattern))]
    given = [path for path in (settings.tls_key, settings.controller_key) if path is not None]
    return [path for path in (*own, *given) if _is_readable_by_others(path)]


def _is_readable_by_others(path: Path) -> bool:
    with suppress(OSError):
        mode = path.lstat().st_mode
        return stat.S_ISREG(mode) and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))
    return False


def _make_private(settings: Settings) -> str:
    files = _readable_secrets(settings)
    try:
        for path in files:
            path.chmod(0o600)
    except OSError as error:
        raise FailedPrecondition(
            f"{error.filename} belongs to somebody else; its owner can make it private with chmod 600.",
            reason="ISSUE_FIX_FAILED",
        ) from None
    log.warning("made private what others could read", files=[str(path) for path in files])
    return f"Made private: {', '.join(map(str, files))}."


def _synchronise_clock() -> str:
    command = ["timedatectl", "set-ntp", "true"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=COMMAND_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        raise FailedPrecondition(
            "'timedatectl set-ntp true' failed; is a time client such as systemd-timesyncd installed?",
            reason="ISSUE_FIX_FAILED",
        ) from None
    return "Told systemd to keep the clock right; the first answer of a time server may take a minute."

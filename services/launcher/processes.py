"""Remembers a process across a crash of ours, and recognises it afterwards."""

import json
from pathlib import Path

import psutil

from services.common.files import write_atomically

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def remember(file: Path, process: psutil.Process) -> None:
    """Notes a process that outlives us."""
    write_atomically(file, json.dumps({"pid": process.pid, "birth": birth(process.pid)}).encode())


def recall(file: Path) -> psutil.Process | None:
    """Returns the noted process if it still runs; a new one that got its number is not it."""
    try:
        noted = json.loads(file.read_bytes())
        process = psutil.Process(noted["pid"])
        if birth(process.pid) == noted["birth"] and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        pass
    return None


def birth(pid: int) -> str:
    """Returns what no other process with this number has: the boot, and the ticks after it.

    Not a time of day: routers without a clock learn that only once they are online.
    """
    # The name in parentheses may hold anything, spaces and parentheses included.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return f"{BOOT_ID.read_text().strip()} {fields[19]}"

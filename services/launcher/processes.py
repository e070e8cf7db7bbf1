"""Remembers a process across a crash of ours, and recognises it afterwards."""

import json
from pathlib import Path

import psutil

from services.common.files import write_atomically


def remember(file: Path, process: psutil.Process) -> None:
    """Notes a process that outlives us."""
    write_atomically(file, json.dumps({"pid": process.pid, "started_s": process.create_time()}).encode())


def recall(file: Path) -> psutil.Process | None:
    """Returns the noted process if it still runs; a new one that got its number is not it."""
    try:
        noted = json.loads(file.read_bytes())
        process = psutil.Process(noted["pid"])
        if process.create_time() == noted["started_s"] and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        pass
    return None

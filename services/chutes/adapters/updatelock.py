"""The update lock of a chute: a file in its data folder, which the chute itself may make and remove.

The chute owns the folder and may put anything there, so nothing that it names is followed or waited for.
"""

import os
import stat
from pathlib import Path

FILE_NAME = "update.lock"
MAX_REASON_BYTES = 200


def read(folder: Path) -> str | None:
    """Returns why a chute is locked, "" without a reason, or None if it is not."""
    try:
        descriptor = os.open(folder / FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:  # A link, a socket or the like: it is there, and says nothing.
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        text = os.read(descriptor, MAX_REASON_BYTES).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def write(folder: Path, reason: str) -> bool:
    """Locks a chute; tells whether it was not locked before."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / FILE_NAME, flags, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, reason.encode())
        os.fchmod(descriptor, 0o644)
        status = folder.stat()
        if os.geteuid() == 0:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True

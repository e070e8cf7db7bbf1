"""Files that survive power loss and are read by nobody else."""

import os
from pathlib import Path

PRIVATE = 0o600
READABLE = 0o644


class StateError(Exception):
    """Something that the node keeps cannot be used; the message names the file and says what to do."""


def damaged(path: Path, why: str) -> StateError:
    """Returns the error about a file that does not hold what it should."""
    return StateError(
        f"{path} cannot be used ({why}); put a backup back with 'paradrop restore', or move the file away to "
        "begin anew without what it holds."
    )


def write_atomically(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Replaces a file so that a reader, or a power loss, sees the old or the new content whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Makes what was created, renamed or removed in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""One node per state folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.launcher.errors import StartError

LOCK_FILE = "lock"


@contextmanager
def locked(home: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds the state folder for the time of the context; the kernel lets go of it whatever happens to us.

    Services in processes of their own share the folder with each other, but not with a whole node.
    """
    try:
        descriptor = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(
            f"The state folder {home} cannot be written to ({error.strerror}); make it writable to this "
            "user, or set PARADROP_HOME to another folder."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(_taken(home, os.pread(descriptor, 20, 0).decode(errors="replace"))) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _taken(home: Path, holder: str) -> str:
    who = f"Another node (process {holder.strip()})" if holder.strip() else "Another node"
    return f"{who} runs with the state folder {home}; stop it, or set PARADROP_HOME to another folder."

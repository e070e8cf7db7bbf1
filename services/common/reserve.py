"""Room on a disk that is kept back for the day when nothing else is left."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 1024 * 1024
AMPLE_BYTES = 16 * RESERVE_BYTES
"""A disk with so much room can do without what is kept back."""


class Reserve:
    """A file that is there for its size. On a full disk it makes way, so that something can be removed.

    Blocking, as everything on disks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.held = False
        """Whether the room is kept back now."""

    def balance(self) -> None:
        """Keeps room back on a disk that has much, and gives it to one that has none."""
        free_bytes = shutil.disk_usage(self._path.parent).free
        self.held = self._path.exists()
        if free_bytes < RESERVE_BYTES:
            self.release()
        elif free_bytes > AMPLE_BYTES and not self.held:
            self._hold()

    def release(self) -> bool:
        """Makes room; tells whether there was any to make."""
        self.held = False
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _hold(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            self.held = True
        except OSError:
            # Somebody was faster, or the file system knows no such thing: there is no reserve then.
            with suppress(OSError):
                self._path.unlink()
        finally:
            os.close(descriptor)

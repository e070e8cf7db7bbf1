"""Room on the node's disk for the files of chutes."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.errors import ResourceExhausted

MIN_FREE_BYTES = 100 * 1024 * 1024


def require_free(folder: Path, size_bytes: int) -> None:
    """Raises ResourceExhausted (DISK_FULL) if too little is left after so much is written. Blocking."""
    if shutil.disk_usage(folder).free - size_bytes < MIN_FREE_BYTES:
        raise _disk_full()


@contextmanager
def disk_full_told() -> Iterator[None]:
    """Says that the disk is full if that is what an OSError of the context means."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full() from error
        raise


def _disk_full() -> ResourceExhausted:
    return ResourceExhausted(
        f"The disk of the node is full: {MIN_FREE_BYTES // 1024 // 1024} MB must stay free. "
        "Remove chutes or other files, then try again.",
        reason="DISK_FULL",
        min_free_bytes=str(MIN_FREE_BYTES),
    )

"""A file system of a few megabytes, and how to fill it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEBIBYTE = 1024 * 1024


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mounts a file system of this size for the time of the context; its file is sparse."""
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if os.geteuid() != 0 or mkfs is None:
        pytest.skip("needs root and mkfs.ext4 (apt-get install e2fsprogs)")
    image, disk = folder / "disk.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    disk.mkdir()
    # Nothing is kept back for root, who runs the tests.
    subprocess.run([mkfs, "-q", "-m", "0", image], check=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", image, disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs loop devices: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        # At once also when a test has failed with the file open.
        subprocess.run(["umount", "--lazy", disk], check=True)
        image.unlink()


def fill(folder: Path) -> Path:
    """Writes until nothing is left, and returns the file."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MEBIBYTE, 65536, 4096, 512):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass
    return filler

"""Brings whole folders to the disk."""

import os
from pathlib import Path

from services.common.files import sync_dir

MAX_SINGLE_FILES = 100
"""Up to so many files each is synced alone; beyond, syncing every file system at once is faster on flash."""


def sync_tree(root: Path) -> None:
    """Makes a folder and everything in it survive power loss."""
    folders, files = [], []
    for folder, _, names in os.walk(root):
        folders.append(Path(folder))
        files += [Path(folder) / name for name in names]
        if len(folders) + len(files) > MAX_SINGLE_FILES:
            os.sync()
            return
    for file in files:
        if not file.is_symlink():
            _sync_file(file)
    for path in (*folders, root.parent):
        sync_dir(path)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

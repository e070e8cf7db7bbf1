"""Puts the state folder of a node into one file, and back.

A backup is a gzipped tar. Its first member says what it is. Databases are copied by SQLite itself, so that a
node may run meanwhile; what chutes write while it is read is kept as far as it was read.
"""

import gzip
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from services.common.files import sync_dir
from services.launcher.errors import StartError
from services.launcher.lock import LOCK_FILE, locked

MANIFEST = "paradrop-backup.json"
FORMAT = 1
DATABASE = ".sqlite3"
DATABASE_LOGS = (".sqlite3-wal", ".sqlite3-shm", ".sqlite3-journal", ".sqlite3-reserve")
"""What lies beside a database and is of no use without the running node."""
PASSING = frozenset({"run", "logs", "gateway", LOCK_FILE})
"""What the next start makes anew, at the top of the state folder."""


def back_up(home: Path, target: Path) -> int:
    """Writes a backup of a state folder and returns its size in bytes. Blocking.

    Raises `StartError` if there is nothing to back up, or the file exists.
    """
    if not any((home / name).exists() for name in ("auth", "chutes")):
        raise StartError(f"There is no state of a node in {home}; set PARADROP_HOME to its folder.")
    if target.exists():
        raise StartError(f"{target} exists already; choose another name.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with (
                gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=1) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            ):
                _add_manifest(archive)
                for path in _kept(home):
                    _add(archive, path, str(path.relative_to(home)))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_dir(target.parent)
    return target.stat().st_size


def restore(source: Path, home: Path) -> Path | None:
    """Puts a backup in the place of a state folder, which is kept beside it. Blocking.

    Returns where the earlier state is now, or None if there was none. Raises `StartError`, and changes
    nothing, if a node runs with the folder or the file is no whole backup. A folder that holds other file
    systems, such as the volumes of containers, must hold no state yet.
    """
    if any(path.is_mount() for path in (home, *home.glob("*"))):
        _restore_into_volumes(source, home)
        return None
    home.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{home.name}.restored-", dir=home.parent))
    try:
        _unpack(source, fresh)
        if not home.exists():
            fresh.rename(home)
            return None
        with locked(home):
            earlier = home.with_name(f"{home.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
            home.rename(earlier)
            fresh.rename(home)
        return earlier
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        sync_dir(home.parent)


def _restore_into_volumes(source: Path, home: Path) -> None:
    with locked(home):
        if found := next((path for path in _kept(home) if not path.is_dir()), None):
            raise StartError(f"{found} is there already; remove the volumes first (docker-compose down -v).")
        # Read to its end before, so that a broken file leaves the volumes as they are.
        _unpack(source, None)
        _unpack(source, home)
        # It is ours, and the node may be another user.
        (home / LOCK_FILE).unlink()
        os.sync()


def _kept(home: Path) -> Iterator[Path]:
    for entry in sorted(home.iterdir()):
        if entry.name not in PASSING:
            yield entry
            if entry.is_dir() and not entry.is_symlink():
                yield from _below(entry)


def _below(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _below(entry)


def _add_manifest(archive: tarfile.TarFile) -> None:
    content = json.dumps({"format": FORMAT, "time_s": int(time.time())}).encode()
    member = tarfile.TarInfo(MANIFEST)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    if path.name.endswith(DATABASE_LOGS):
        return
    try:
        kind = path.lstat().st_mode
        if path.name.endswith(DATABASE) and stat.S_ISREG(kind):
            _add_database(archive, path, name)
        elif stat.S_ISREG(kind):
            with path.open("rb") as file:
                archive.addfile(archive.gettarinfo(arcname=name, fileobj=file), _Padded(file))
        elif stat.S_ISDIR(kind) or stat.S_ISLNK(kind):
            archive.add(path, name, recursive=False)
    except FileNotFoundError:
        return  # A chute removed it meanwhile.


def _add_database(archive: tarfile.TarFile, path: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        with copy.open("rb") as file:
            member = archive.gettarinfo(str(path), name)
            member.size = copy.stat().st_size
            archive.addfile(member, file)


class _Padded:
    """A file that has as many bytes as it had in the beginning, even if somebody shortens it meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        return content + bytes(max(0, size - len(content)))


def _unpack(source: Path, folder: Path | None) -> None:
    """Unpacks a backup into a folder, or only sees whether it could."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            first = archive.next()
            content = archive.extractfile(first) if first and first.name == MANIFEST else None
            if content is None or json.load(content)["format"] != FORMAT:
                raise StartError(f"{source} is no backup of a node that this version can read.")
            # The check is ours: early releases of Python 3.11 have no filters, later ones other defaults.
            archive.extraction_filter = lambda member, _: member
            root = Path(os.path.realpath(folder or source.parent))
            folders = []
            for member in _after(archive, first):
                _check(member, root)
                if folder is not None:
                    archive.extract(member, folder, set_attrs=not member.isdir(), numeric_owner=True)
                    folders += [member] if member.isdir() else []
            # Last, as they might not let anything be put into them.
            for member in folders:
                path = str(root / member.name)
                archive.chown(member, path, numeric_owner=True)
                archive.utime(member, path)
                archive.chmod(member, path)
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, FileNotFoundError) and not source.exists():
            raise StartError(f"There is no file {source}.") from None
        raise StartError(f"{source} is no whole backup of a node: {error}") from None


def _check(member: tarfile.TarInfo, root: Path) -> None:
    """Refuses what would lie outside of the folder; the data of chutes keeps its permissions."""
    for name in [member.name, member.linkname] if member.islnk() else [member.name]:
        # A link itself may lead anywhere; through one that was unpacked before, nothing may.
        place = (root / name).parent if member.issym() else root / name
        if not Path(os.path.realpath(place)).is_relative_to(root):
            raise tarfile.TarError(f"{name} would lie outside of the state folder")
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise tarfile.TarError(f"{member.name} is no file, folder or link")
    member.mode &= 0o777


def _after(archive: tarfile.TarFile, first: tarfile.TarInfo | None) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        if first is None or member.name != first.name:
            yield member

"""Makes archives of chutes while their containers may do with the data what they like.

A container may put a link in the place of a folder at any moment. So nothing is opened by a path: each folder
is opened in the one above it, and never through a link.
"""

import errno
import os
import stat
import tarfile
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from services.chutes.adapters import updatelock
from services.chutes.adapters.folders import DiskFolders
from services.chutes.adapters.links import leads_out
from services.chutes.adapters.threads import to_its_end
from services.chutes.domain.archives import (
    CHECKSUM,
    DATA,
    DESCRIPTION,
    MANIFEST,
    MAX_DEPTH,
    SOURCES,
    checksum,
    description,
    manifest,
)
from services.chutes.domain.chute import Chute
from services.chutes.domain.errors import chute_changed
from services.common.errors import FailedPrecondition

PIECE_BYTES = 256 * 1024
READ_BYTES = 256 * 1024
TURN_BYTES = 4 * 1024 * 1024
"""After so much of the tar a piece is given out, however small it has become."""

MAX_HARD_LINKS = 10_000
"""So many files with several names are remembered; others are in the archive once for each name."""

GZIP = zlib.MAX_WBITS | 16
FAST = 1
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DiskPacker:
    """`services.chutes.domain.ports.Packer` for folders on disk."""

    def __init__(self, folders: DiskFolders) -> None:
        self._folders = folders

    async def pack(
        self, chute: Chute, reading: AbstractAsyncContextManager[None]
    ) -> AsyncGenerator[bytes, None]:
        """Yields the archive of a chute in pieces."""
        archive = _Archive(chute.name)
        data = self._folders.data(chute.name)
        async for piece in _pieces(archive.head(chute, data)):
            yield piece
        if chute.sources:
            async for piece in _pieces(archive.sources(self._folders.workspace(chute.sources))):
                yield piece
        async with reading:
            async for piece in _pieces(archive.data(data)):
                yield piece
        async for piece in _pieces(archive.tail()):
            yield piece


async def _pieces(made: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Makes pieces in a thread, one at a time and only when they are asked for."""
    while (piece := await to_its_end(next, made, None)) is not None:
        if piece:
            yield piece


@dataclass
class _Archive:
    """One archive while it is made. All methods block and yield what is ready to be sent."""

    chute: str
    _packed: bytearray = field(default_factory=bytearray)
    _unsent_bytes: int = 0
    _skipped: int = 0
    _names: dict[tuple[int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._digest = sha256()
        self._gzip = zlib.compressobj(FAST, zlib.DEFLATED, GZIP)

    def head(self, chute: Chute, data: Path) -> Iterator[bytes]:
        """Says what it is an archive of."""
        yield from self._text(MANIFEST, manifest(chute, _data_bytes(data), time.time()))
        yield from self._text(DESCRIPTION, description(chute))

    def sources(self, folder: Path) -> Iterator[bytes]:
        """Adds the files that images are built from: they are ours, and all of them must be there."""
        try:
            yield from self._root(folder, SOURCES)
        except FileNotFoundError:
            raise chute_changed(self.chute) from None

    def data(self, folder: Path) -> Iterator[bytes]:
        """Adds what the chute keeps, but for its update lock: that is about the containers of here."""
        try:
            yield from self._root(folder, DATA, skip=updatelock.FILE_NAME)
        except FileNotFoundError:
            raise chute_changed(self.chute) from None

    def tail(self) -> Iterator[bytes]:
        """Ends the archive."""
        yield from self._text(CHECKSUM, checksum(self._digest.hexdigest(), self._skipped))
        self._add(bytes(2 * tarfile.BLOCKSIZE))
        self._packed += self._gzip.flush()
        yield bytes(self._packed)

    def _text(self, name: str, content: bytes) -> Iterator[bytes]:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
        self._header(member)
        self._add(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        yield from self._ready()

    def _root(self, folder: Path, name: str, skip: str = "") -> Iterator[bytes]:
        descriptor = os.open(folder, FOLDER_FLAGS)
        try:
            yield from self._folder(descriptor, name, depth=0, skip=skip)
        finally:
            os.close(descriptor)

    def _folder(self, descriptor: int, name: str, depth: int, skip: str = "") -> Iterator[bytes]:
        """Adds a folder after what is in it, so that whoever unpacks it can set its time at once."""
        if depth > MAX_DEPTH:
            raise FailedPrecondition(
                f"The data of the chute is nested deeper than {MAX_DEPTH} folders, which no archive takes.",
                reason="DATA_TOO_DEEP",
                limit=str(MAX_DEPTH),
            )
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name == skip:
                    continue
                try:
                    yield from self._entry(descriptor, entry.name, f"{name}/{entry.name}", depth)
                except FileNotFoundError:
                    continue  # The chute has removed it meanwhile.
                except PermissionError:
                    raise FailedPrecondition(
                        f"The node may not read {entry.name!r} in {name}/; run it as root, or let the chute "
                        "allow others to read it.",
                        reason="DATA_UNREADABLE",
                    ) from None
        status = os.fstat(descriptor)
        self._header(_member(name, tarfile.DIRTYPE, status))
        yield from self._ready()

    def _entry(self, above: int, entry: str, name: str, depth: int) -> Iterator[bytes]:
        kind = os.lstat(entry, dir_fd=above).st_mode
        try:
            if stat.S_ISDIR(kind):
                descriptor = os.open(entry, FOLDER_FLAGS, dir_fd=above)
                try:
                    yield from self._folder(descriptor, name, depth + 1)
                finally:
                    os.close(descriptor)
            elif stat.S_ISREG(kind):
                descriptor = os.open(entry, FILE_FLAGS, dir_fd=above)
                try:
                    yield from self._file(descriptor, name)
                finally:
                    os.close(descriptor)
            elif stat.S_ISLNK(kind):
                yield from self._link(above, entry, name)
            else:
                self._skipped += 1
        except NotADirectoryError:
            # The chute has put something else in its place meanwhile.
            self._skipped += 1
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self._skipped += 1

    def _link(self, above: int, entry: str, name: str) -> Iterator[bytes]:
        target = os.readlink(entry, dir_fd=above)
        if leads_out(name.split("/")[1:], target):
            self._skipped += 1
            return
        member = _member(name, tarfile.SYMTYPE, os.lstat(entry, dir_fd=above))
        member.linkname = target
        self._header(member)
        yield from self._ready()

    def _file(self, descriptor: int, name: str) -> Iterator[bytes]:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            self._skipped += 1
            return
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in self._names:
            member = _member(name, tarfile.LNKTYPE, status)
            member.linkname = self._names[key]
            self._header(member)
            yield from self._ready()
            return
        member = _member(name, tarfile.REGTYPE, status)
        member.size = status.st_size
        self._header(member)
        left = status.st_size
        while left:
            # What the chute cuts off meanwhile is filled up: the header has gone already.
            chunk = os.read(descriptor, min(left, READ_BYTES)) or bytes(min(left, READ_BYTES))
            left -= len(chunk)
            self._add(chunk)
            yield from self._ready()
        self._add(bytes(-status.st_size % tarfile.BLOCKSIZE))
        if status.st_nlink > 1 and len(self._names) < MAX_HARD_LINKS:
            self._names[key] = name

    def _header(self, member: tarfile.TarInfo) -> None:
        self._add(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _add(self, content: bytes) -> None:
        self._digest.update(content)
        self._packed += self._gzip.compress(content)
        self._unsent_bytes += len(content)

    def _ready(self) -> Iterator[bytes]:
        if len(self._packed) >= PIECE_BYTES or self._unsent_bytes >= TURN_BYTES:
            piece = bytes(self._packed)
            self._packed.clear()
            self._unsent_bytes = 0
            yield piece


def _member(name: str, kind: bytes, status: os.stat_result) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = stat.S_IMODE(status.st_mode)
    member.uid, member.gid = status.st_uid, status.st_gid
    member.mtime, rest_ns = divmod(status.st_mtime_ns, 1_000_000_000)
    if rest_ns and member.mtime >= 0:
        # A float has not so many digits.
        member.pax_headers = {"mtime": f"{member.mtime}.{rest_ns:09}"}
    return member


def _data_bytes(folder: Path) -> int:
    """Returns about how much room the data needs; what changes meanwhile does not matter."""
    total = 0
    for _, _, names, descriptor in os.fwalk(folder):
        for name in names:
            try:
                status = os.lstat(name, dir_fd=descriptor)
            except FileNotFoundError:
                continue
            # A file with holes needs less than it is long.
            total += min(status.st_size, status.st_blocks * 512)
    return total

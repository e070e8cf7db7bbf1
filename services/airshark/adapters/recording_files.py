"""The folder of the recordings: what lies there, and how it is read."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.airshark.adapters.files import PIECE_BYTES
from services.airshark.domain import container
from services.airshark.domain.settings import NAME
from services.common.errors import AlreadyExists, NotFound, ResourceExhausted

SUFFIX = ".pdspec"
SPARE_BYTES = 64 * 1024 * 1024
"""So much of the disk stays free."""
READ_BYTES = 256 * 1024
PART = re.compile(r"(.+)-(\d{6})")


@dataclass(frozen=True, slots=True)
class Recording:
    """A file on the disk."""

    name: str
    size_bytes: int
    start_time_s: float
    active: bool
    radio: str
    source_kind: str
    duration_s: float
    chunk_count: int


class RecordingFiles:
    """All recordings as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Returns the file of a recording; raises `NotFound`. Blocking."""
        path = self._folder / f"{name}{SUFFIX}"
        if not NAME.fullmatch(name) or not path.is_file():
            raise _missing(name)
        return path

    def give(self, file: Path) -> str:
        """Lets a file from elsewhere be a recording as well; returns its name. Raises OSError. Blocking.

        It is in the folder as a link, which may be deleted like any recording, and is there again after
        the next start.
        """
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", file.stem).strip("-") or "given"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.paths():
            if path.is_symlink():
                path.unlink()
        (self._folder / f"{name}{SUFFIX}").symlink_to(file)
        return name

    def create(self, name: str) -> BinaryIO:
        """Makes the file of a new recording; raises domain errors. Blocking."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check_space()
        try:
            return open(self._folder / f"{name}{SUFFIX}", "xb", buffering=0)
        except FileExistsError:
            raise taken(name) from None

    def check_space(self) -> None:
        """Raises `ResourceExhausted` when too little of the disk is free. Blocking."""
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < SPARE_BYTES:
            raise ResourceExhausted(
                "The disk is full but for 64 MiB; delete recordings first.", reason="DISK_FULL"
            )

    def rotate(self, name: str, following: str, keep: int) -> BinaryIO:
        """Makes the next file of a recording that rotates, and room for it. Blocking."""
        kept = [path for path in self.paths() if is_part(path, name)]
        for path in kept[: max(len(kept) - keep + 1, 0)]:
            remove(path)
        return self.create(following)

    async def read(self, name: str, offset: int, length: int) -> AsyncIterator[tuple[bytes, int]]:
        """Yields bytes, and in the first place the size of the file."""
        path = await asyncio.to_thread(self.path, name)
        file = await asyncio.to_thread(path.open, "rb")
        with file:
            size = await asyncio.to_thread(_seek, file, offset)
            end = min(size, offset + length) if length else size
            yield b"", size
            while offset < end and (
                data := await asyncio.to_thread(file.read, min(READ_BYTES, end - offset))
            ):
                offset += len(data)
                yield data, 0

    def paths(self) -> list[Path]:
        """Returns the files of all recordings by name. Blocking."""
        with suppress(FileNotFoundError):
            return sorted(path for path in self._folder.iterdir() if path.suffix == SUFFIX)
        return []

    def page(self, after: str, size: int) -> list[Recording]:
        """Returns recordings whose names come after `after`. Blocking."""
        names = [path.stem for path in self.paths() if path.stem > after]
        found = []
        for name in names[:size]:
            with suppress(NotFound):
                found.append(self.describe(name))
        return found

    def describe(self, name: str) -> Recording:
        """Returns what is known of a recording; raises `NotFound`. Blocking."""
        path = self.path(name)
        try:
            header, duration_s, chunks = summary(path)
            size_bytes = path.stat().st_size
        except FileNotFoundError:  # Rotated away meanwhile.
            raise _missing(name) from None
        return Recording(
            name=name,
            size_bytes=size_bytes,
            start_time_s=header.start_time_s if header else 0.0,
            active=False,
            radio=header.radio if header else "",
            source_kind=header.source_kind if header else "",
            duration_s=duration_s,
            chunk_count=chunks,
        )


def taken(name: str) -> AlreadyExists:
    """Returns the error of a name that is in use."""
    return AlreadyExists(
        f"There is a recording '{name}' already; take another name or delete it.",
        reason="RECORDING_EXISTS",
        recording=name,
    )


def is_part(path: Path, name: str) -> bool:
    """Tells whether a file is one of those of a recording that rotates."""
    match = PART.fullmatch(path.stem)
    return match is not None and match[1] == name


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no recording '{name}'.", reason="RECORDING_NOT_FOUND", recording=name)


def summary(path: Path) -> tuple[container.Header | None, float, int]:
    """Returns the header of a recording, how long it is, and how many chunks it has. Blocking."""
    header, first_s, last_s, chunks = None, None, 0.0, 0
    parser = container.Parser()
    with path.open("rb") as file:
        while piece := file.read(64 * PIECE_BYTES):
            for frame in parser.feed(piece):
                chunk = container.to_chunk(frame)
                if chunk is not None:
                    chunks += 1
                    first_s = chunk.wall_time_s if first_s is None else first_s
                    last_s = chunk.wall_time_s
                elif header is None:
                    header = container.to_header(frame)
    return header, max(last_s - (first_s or last_s), 0.0), chunks


def remove(path: Path) -> None:
    """Removes a file, if it is there. Blocking."""
    path.unlink(missing_ok=True)


def _seek(file: BinaryIO, offset: int) -> int:
    size = os.fstat(file.fileno()).st_size
    file.seek(min(offset, size))
    return size

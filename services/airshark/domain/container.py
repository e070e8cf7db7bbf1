"""The format of recordings: what a radio gave, when, and from which radio.

    file  = magic, header frame, chunk frames ..., index frame, end frame
    magic = 89 "PDSPEC" 0A
    frame = F5 "P" "D" kind, u32 length of the payload, u32 CRC-32 of the payload,
            u32 CRC-32 of the twelve bytes before, payload
    kind  = "H" header: JSON with version, radio, source, settings and times
            "C" chunk: u64 time in microseconds since 1970, u32 batches lost before it, bytes of the kernel
            "X" index: for some chunks, u64 time and u64 offset of the frame in the file
            "E" end: u64 offset of the index frame; the last 24 bytes of the file

All numbers are little-endian. A file without an end frame is one that is being written, or whose writer
was stopped by force: it is read up to the last whole frame. Damage costs the frames that it hits.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from services.airshark.domain.sources import Chunk

MAGIC = b"\x89PDSPEC\n"
SYNC = b"\xf5PD"
FRAME = struct.Struct("<3scIII")
_CHECKED = struct.Struct("<3scII")
CHUNK = struct.Struct("<QI")
ENTRY = struct.Struct("<QQ")
END = struct.Struct("<Q")
END_FRAME_BYTES = FRAME.size + END.size
VERSION = 1
MAX_FRAME_BYTES = 4 * 1024 * 1024
INDEX_EVERY_S = 1.0
MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording says about itself."""

    radio: str
    source_kind: str
    description: str
    start_time_s: float
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that is whole."""

    kind: bytes
    payload: bytes
    offset: int
    """Where it begins in the file."""


class Writer:
    """Makes the bytes of a recording; where they go is the caller's business."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._entries: list[tuple[int, int]] = []

    def begin(self, header: Header) -> bytes:
        """Returns what a file begins with."""
        document = {
            "version": VERSION,
            "radio": header.radio,
            "source_kind": header.source_kind,
            "description": header.description,
            "start_time_s": header.start_time_s,
            "settings": header.settings,
        }
        return self._counted(MAGIC + _frame(b"H", json.dumps(document).encode()))

    def chunk(self, data: bytes, time_s: float, lost: int = 0) -> bytes:
        """Returns a chunk."""
        time_us = max(round(time_s * MICROSECONDS), 0)
        if not self._entries or time_us - self._entries[-1][0] >= INDEX_EVERY_S * MICROSECONDS:
            self._entries.append((time_us, self.size_bytes))
        return self._counted(_frame(b"C", CHUNK.pack(time_us, min(lost, 2**32 - 1)) + data))

    def size_after(self, data: bytes) -> int:
        """Returns the size that the file would have if it ended after this chunk."""
        index = FRAME.size + (len(self._entries) + 1) * ENTRY.size
        return self.size_bytes + FRAME.size + CHUNK.size + len(data) + index + END_FRAME_BYTES

    def end(self) -> bytes:
        """Returns what a file ends with."""
        offset = self.size_bytes
        index = _frame(b"X", b"".join(ENTRY.pack(*entry) for entry in self._entries))
        return self._counted(index + _frame(b"E", END.pack(offset)))

    def _counted(self, data: bytes) -> bytes:
        self.size_bytes += len(data)
        return data


def _frame(kind: bytes, payload: bytes) -> bytes:
    head = _CHECKED.pack(SYNC, kind, len(payload), zlib.crc32(payload))
    return head + zlib.crc32(head).to_bytes(4, "little") + payload


class Parser:
    """Reads a recording piece by piece; no input makes it raise."""

    def __init__(self, offset: int = 0) -> None:
        self._buffer = b""
        self._offset = offset
        """Where the buffer begins in the file."""
        self.damaged_bytes = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yields the frames that are complete now; what is damaged is skipped and counted."""
        buffer = self._buffer + data if self._buffer else data
        at = 0
        if self._offset == 0 and buffer.startswith(MAGIC):
            at = len(MAGIC)
        while len(buffer) - at >= FRAME.size:
            sync, kind, length, checksum, head_checksum = FRAME.unpack_from(buffer, at)
            damaged = sync != SYNC or zlib.crc32(buffer[at : at + _CHECKED.size]) != head_checksum
            if damaged or length > MAX_FRAME_BYTES:
                at = self._skip(buffer, at)
                continue
            end = at + FRAME.size + length
            if end > len(buffer):
                break
            payload = buffer[at + FRAME.size : end]
            if zlib.crc32(payload) != checksum:
                at = self._skip(buffer, at)
                continue
            yield Frame(kind, payload, self._offset + at)
            at = end
        self._buffer = buffer[at:]
        self._offset += at

    def _skip(self, buffer: bytes, at: int) -> int:
        following = buffer.find(SYNC, at + 1)
        if following < 0:
            following = max(len(buffer) - len(SYNC) + 1, at + 1)
        self.damaged_bytes += following - at
        return following


def to_chunk(frame: Frame) -> Chunk | None:
    """Returns the chunk in a frame; None if there is none."""
    if frame.kind != b"C" or len(frame.payload) < CHUNK.size:
        return None
    time_us, lost = CHUNK.unpack_from(frame.payload)
    return Chunk(frame.payload[CHUNK.size :], time_us / MICROSECONDS, was_full=lost > 0)


def to_header(frame: Frame) -> Header | None:
    """Returns the header in a frame; None if there is none that this version understands."""
    if frame.kind != b"H":
        return None
    try:
        document = json.loads(frame.payload)
        if document["version"] != VERSION:
            return None
        return Header(
            radio=str(document["radio"]),
            source_kind=str(document["source_kind"]),
            description=str(document["description"]),
            start_time_s=float(document["start_time_s"]),
            settings=dict(document["settings"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def to_index(frame: Frame) -> list[tuple[float, int]]:
    """Returns times in seconds and offsets of an index frame; empty if it is none."""
    if frame.kind != b"X" or len(frame.payload) % ENTRY.size:
        return []
    return [(time_us / MICROSECONDS, offset) for time_us, offset in ENTRY.iter_unpack(frame.payload)]

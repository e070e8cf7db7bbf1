"""Reads spectrum files of any kind: raw records, chunks with a length before each, and our own recordings."""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import numpy as np

from services.airshark.domain import container
from services.airshark.domain.block import SampleBlock
from services.airshark.domain.decoder import Decoder
from services.airshark.domain.formats import HEADER_BYTES, LAYOUTS, SKIPPED_IN_STEP
from services.airshark.domain.sources import Chunk

PIECE_BYTES = 4096
LENGTH = struct.Struct("<I")
MAX_CHUNK_BYTES = 16 * 1024 * 1024
CHUNK_S = 0.1
"""Files without times are played in chunks of this duration, as a radio is read."""
DEFAULT_INTERVAL_US = 1494
"""Between samples, where clocks do not tell."""
LONGEST_GAP_US = 500_000
PROBED_BYTES = 64 * 1024


class FileKind(StrEnum):
    """What a file holds."""

    RECORDING = "recording"
    CHUNKS = "chunks"
    RAW = "raw"


class NoCapture(Exception):
    """The file holds no samples in any form that is known; the message says which file."""


@dataclass(slots=True)
class Contents:
    """What was found while a file was read."""

    kind: FileKind
    header: container.Header | None = None
    damaged_bytes: int = 0
    complete: bool = True
    """Whether a recording has its index and trailer."""
    index: list[tuple[float, int]] = field(default_factory=list)


def probe(path: Path) -> FileKind:
    """Tells what a file holds; raises `NoCapture` or OSError. Blocking."""
    with path.open("rb") as file:
        start = file.read(PROBED_BYTES)
    if start.startswith(container.MAGIC):
        return FileKind.RECORDING
    if _is_chunks(start):
        return FileKind.CHUNKS
    decoder = Decoder("")
    decoder.feed(start, 0)
    decoder.finish(0)
    if decoder.counts["samples"] or decoder.counts["bad_length"]:
        return FileKind.RAW
    raise NoCapture(f"{path.name} holds no spectral samples that Paradrop can read.")


def _is_chunks(start: bytes) -> bool:
    """Tells whether lengths of 32 bits, each followed by a record, lead from one to the next."""
    at = found = 0
    while at + LENGTH.size + HEADER_BYTES <= len(start):
        (length,) = LENGTH.unpack_from(start, at)
        type, high, low = start[at + LENGTH.size : at + LENGTH.size + HEADER_BYTES]
        header = (type, high << 8 | low)
        if not HEADER_BYTES <= length <= MAX_CHUNK_BYTES:
            return False
        if header not in LAYOUTS and header not in SKIPPED_IN_STEP:
            return False
        found += 1
        at += LENGTH.size + length
    return found > 0


def read(path: Path, contents: Contents) -> Iterator[Chunk]:
    """Yields the chunks of a file, with their times if it has any; 0 otherwise. Blocking."""
    with path.open("rb") as file:
        if contents.kind is FileKind.RECORDING:
            yield from _recording(file, contents)
        elif contents.kind is FileKind.CHUNKS:
            yield from _chunks(file)
        else:
            while piece := file.read(PIECE_BYTES):
                yield Chunk(piece, 0.0)


def _recording(file: BinaryIO, contents: Contents) -> Iterator[Chunk]:
    parser = container.Parser()
    contents.complete = False
    while piece := file.read(16 * PIECE_BYTES):
        for frame in parser.feed(piece):
            chunk = container.to_chunk(frame)
            if chunk is not None:
                yield chunk
            elif frame.kind == b"H":
                contents.header = contents.header or container.to_header(frame)
            elif frame.kind == b"X":
                contents.complete, contents.index = True, container.to_index(frame)
        contents.damaged_bytes = parser.damaged_bytes


def _chunks(file: BinaryIO) -> Iterator[Chunk]:
    while len(head := file.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(head)
        if length > MAX_CHUNK_BYTES:
            return
        yield Chunk(file.read(length), 0.0)


def timed(chunks: Iterator[Chunk], start_time_s: float) -> Iterator[Chunk]:
    """Gives chunks without times those that the radio's clock suggests, and joins them to chunks of 100
    ms."""
    decoder = Decoder("")
    clock = AirClock()
    waiting: list[bytes] = []
    due_s = CHUNK_S
    for chunk in chunks:
        if chunk.wall_time_s:
            yield chunk
            continue
        waiting.append(chunk.data)
        clock.add(decoder.feed(chunk.data, 0))
        if clock.passed_s >= due_s:
            yield Chunk(b"".join(waiting), start_time_s + clock.passed_s)
            waiting = []
            due_s = clock.passed_s + CHUNK_S
    if waiting:
        yield Chunk(b"".join(waiting), start_time_s + clock.passed_s)


class AirClock:
    """Adds up the time that samples took, whatever the radio's clock does."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def add(self, blocks: list[SampleBlock]) -> None:
        """Takes samples in."""
        for block in blocks:
            steps = np.diff(block.tsf_us.astype(np.int64))
            nominal = (
                int(np.median(steps[(steps > 0) & (steps < LONGEST_GAP_US)])) if (steps > 0).any() else 0
            )
            nominal = nominal or DEFAULT_INTERVAL_US
            steps = np.where((steps < 0) | (steps > LONGEST_GAP_US), nominal, steps)
            self.passed_s += (int(steps.sum()) + nominal) / 1e6


def open_file(path: Path) -> tuple[Contents, Iterator[Chunk]]:
    """Returns what a file is and its chunks with times; raises `NoCapture` or OSError. Blocking."""
    contents = Contents(probe(path))
    return contents, timed(read(path, contents), time.time())

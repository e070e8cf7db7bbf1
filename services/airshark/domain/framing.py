"""Finds the records in a stream of bytes that may be cut anywhere and damaged anywhere."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.airshark.domain.formats import HEADER_BYTES, LAYOUTS, SKIPPED_IN_STEP, Layout, RecordType

MAX_SKIPPED_BYTES = 4096
"""A record that is not understood is stepped over if it claims no more than this and the next header is
good."""

TYPES = frozenset(RecordType)
_GOOD_HEADERS = LAYOUTS.keys() | SKIPPED_IN_STEP


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one layout, one right after the other."""

    layout: Layout
    start: int
    """Where the first one begins."""
    count: int

    @property
    def end(self) -> int:
        """Where the last one ends."""
        return self.start + self.count * self.layout.size_bytes


class Framer:
    """Cuts one stream into records; what it finds does not depend on how the stream arrives.

    A known header right behind a record is trusted. After damage, a header counts only if another one, or
    the end, follows its record.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        """By reason: what was not read."""
        self._searching = False

    def find(self, buffer: "npt.NDArray[np.uint8]", final: bool = False) -> tuple[list[Run], int]:
        """Returns the runs of whole records, and where that begins which needs more bytes to be understood.

        The next call must begin with these bytes. `final` says that no more will come.
        """
        runs: list[Run] = []
        headers = _Headers(buffer, final)
        position = 0
        while (left := len(buffer) - position) >= HEADER_BYTES:
            if self._searching:
                start, self._searching = headers.search(position)
                self._counts["skipped_bytes"] += start - position
                position = start
                if self._searching:
                    break
            layout = headers.layout(position)
            if layout is None:
                after = self._skip(headers, position)
                if after is None:
                    break
                position = after
            elif left < layout.size_bytes:
                break
            else:
                runs.append(Run(layout, position, _run_length(buffer, position, layout.size_bytes)))
                position = runs[-1].end
        if final and position < len(buffer):
            self._counts["skipped_bytes" if self._searching else "truncated"] += (
                len(buffer) - position if self._searching else 1
            )
            position = len(buffer)
        return runs, position

    def _skip(self, headers: "_Headers", position: int) -> int | None:
        """Returns where to go on behind something that cannot be read; None if more bytes are needed to
        tell."""
        type, length = header = headers.at(position)
        after = position + HEADER_BYTES + length
        if header in SKIPPED_IN_STEP:
            if not headers.holds(after):
                return None
        elif length <= MAX_SKIPPED_BYTES:
            follows = headers.good(after)
            if follows is None:
                return None
            if not follows:
                return self._lose(position)
        else:
            return self._lose(position)
        self._counts["bad_length" if type in TYPES else "bad_type"] += 1
        return after

    def _lose(self, position: int) -> int:
        self._searching = True
        self._counts["resynchronised"] += 1
        self._counts["skipped_bytes"] += 1
        return position + 1


def _run_length(buffer: "npt.NDArray[np.uint8]", start: int, size: int) -> int:
    """Returns how many whole records with the same header follow each other."""
    possible = (len(buffer) - start) // size
    # Four bytes of each record at once, and the last of them masked out, as the machine orders them.
    words: npt.NDArray[np.uint32] = np.ndarray((possible,), np.uint32, buffer, start, (size,))
    headers = words[0] & _HEADER_MASK
    known, step = 1, 4
    # In steps that grow, so that a stream that changes its kind all the time is not compared to its end each
    # time.
    while known < possible:
        step = min(step * 16, possible - known)
        same = (words[known : known + step] & _HEADER_MASK) == headers
        if np.count_nonzero(same) < step:
            return known + int(same.argmin())
        known += step
    return known


_HEADER_MASK = np.frombuffer(b"\xff\xff\xff\x00", np.uint32)[0]


class _Headers:
    """Looks for headers in one buffer."""

    def __init__(self, buffer: "npt.NDArray[np.uint8]", final: bool) -> None:
        self._buffer = buffer
        self._final = final
        self._all: npt.NDArray[np.intp] | None = None

    def at(self, position: int) -> tuple[int, int]:
        """Returns what would be type and length."""
        type, high, low = self._buffer[position : position + HEADER_BYTES].tolist()
        return type, high << 8 | low

    def layout(self, position: int) -> Layout | None:
        return LAYOUTS.get(self.at(position))

    def holds(self, end: int) -> bool:
        return end <= len(self._buffer)

    def good(self, position: int) -> bool | None:
        """Tells whether a known header, or the end of the stream, is here; None if that cannot be told
        yet."""
        left = len(self._buffer) - position
        if left >= HEADER_BYTES:
            return self.at(position) in _GOOD_HEADERS
        return left >= 0 if self._final else None

    def search(self, position: int) -> tuple[int, bool]:
        """Returns the next header that is followed by its record and another header, and False.

        If there is none, returns the first place where there may be one when more bytes come, and True.
        """
        candidates = self._candidates()
        for start in candidates[np.searchsorted(candidates, position) :].tolist():
            layout = LAYOUTS[self.at(start)]
            follows = self.good(start + layout.size_bytes)
            if follows is None:
                return start, True
            if follows:
                return start, False
        return max(position, len(self._buffer) - HEADER_BYTES + 1), True

    def _candidates(self) -> "npt.NDArray[np.intp]":
        if self._all is None:
            types = self._buffer[: -HEADER_BYTES + 1]
            places = np.flatnonzero((types >= min(RecordType)) & (types <= max(RecordType)))
            keys = (
                self._buffer[places].astype(np.int32) << 16
                | self._buffer[places + 1].astype(np.int32) << 8
                | self._buffer[places + 2]
            )
            self._all = places[_KNOWN_KEYS[keys]]
        return self._all


_KNOWN_KEYS = np.zeros((max(RecordType) + 1) << 16, np.bool_)
_KNOWN_KEYS[[type << 16 | length for type, length in LAYOUTS]] = True

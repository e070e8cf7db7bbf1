"""Turns the bytes of a radio into blocks of samples."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from services.airshark.domain.block import Flag, SampleBlock
from services.airshark.domain.formats import MAX_PLAUSIBLE_EXPONENT, Layout, RecordType
from services.airshark.domain.framing import Framer, Run
from services.airshark.domain.records import ht20_fields, ht40_fields, wide_fields

PIECE_BYTES = 1024 * 1024
"""So much is looked at at once, which bounds the memory that any input can take; much more than a record."""

TSF_JUMP_US = 10_000_000
TSF_BITS_ATH11K = 32
SATURATED_ABOVE_DBM = 0


class Decoder:
    """Reads the stream of one radio, piece by piece; no input makes it raise.

    `counts` tells by reason what happened since the start: `samples`; not read: `bad_type`, `bad_length`,
    `truncated`, `resynchronised` with `skipped_bytes`; read and flagged: `all_zero`, `bad_exponent`,
    `saturated`, `tsf_step`, `no_noise_floor`, `bad_width`.
    """

    def __init__(self, radio: str) -> None:
        self.radio = radio
        self.counts: Counter[str] = Counter()
        self._framer = Framer(self.counts)
        self._rest = b""
        self._fed = (b"", b"")
        self._last_tsf_us: dict[Layout, int] = {}

    def feed(self, data: bytes, wall_time_s: float) -> list[SampleBlock]:
        """Returns the samples that are complete now; samples of different kinds are in different blocks."""
        self._fed = (self._rest, data)
        return list(self._read(self._rest + data if self._rest else data, wall_time_s, final=False))

    @property
    def whole(self) -> bytes:
        """The bytes of the latest `feed` up to the end of the last record that it completed."""
        begun, data = self._fed
        joined = begun + data if begun else data
        return joined[: len(joined) - len(self._rest)]

    def finish(self, wall_time_s: float) -> list[SampleBlock]:
        """Returns what only the end of the stream completes, and counts a record that was cut off by it."""
        return list(self._read(self._rest, wall_time_s, final=True))

    def _read(self, data: bytes, wall_time_s: float, final: bool) -> Iterator[SampleBlock]:
        everything = np.frombuffer(data, np.uint8)
        start = 0
        while True:
            piece = everything[start : start + PIECE_BYTES]
            is_last = start + len(piece) == len(everything)
            runs, end = self._framer.find(piece, final and is_last)
            yield from self._blocks(piece, runs, wall_time_s)
            start += end
            if is_last:
                break
        self._rest = data[start:]

    def _blocks(
        self, piece: "npt.NDArray[np.uint8]", runs: list[Run], wall_time_s: float
    ) -> Iterator[SampleBlock]:
        by_layout: dict[Layout, list[tuple[Run, int]]] = {}
        for run in runs:
            by_layout.setdefault(run.layout, []).append((run, self.counts["samples"]))
            self.counts["samples"] += run.count
        for layout, found in by_layout.items():
            rows = [piece[run.start : run.end].reshape(run.count, -1) for run, _ in found]
            index = [np.arange(first, first + run.count, dtype=np.int64) for run, first in found]
            yield self._block(layout, _joined(rows), _joined(index), wall_time_s)

    def _block(
        self,
        layout: Layout,
        rows: "npt.NDArray[np.uint8]",
        index: "npt.NDArray[np.int64]",
        wall_time_s: float,
    ) -> SampleBlock:
        # Gathered first: to fetch each field from between the bins would go through all of them each time.
        heads = rows[:, : layout.head.itemsize].view((np.void, layout.head.itemsize))
        records = np.ascontiguousarray(heads).view(layout.head).reshape(-1)
        values, bad_width = _READ[layout.type](records, layout.bin_count)
        tsf_us, stepped = self._clock(layout, records["tsf"].astype(np.uint64))
        block = SampleBlock(
            radio=self.radio,
            type=layout.type,
            wall_time_s=wall_time_s,
            index=index,
            tsf_us=tsf_us,
            max_exp=np.bitwise_and(records["max_exp"], 15),
            magnitudes=rows[:, layout.head.itemsize :],
            flags=np.zeros(len(records), np.uint16),
            **values,
        )
        self._judge(block, stepped, bad_width)
        return block

    def _clock(
        self, layout: Layout, tsf_us: "npt.NDArray[np.uint64]"
    ) -> "tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]":
        """Returns times, continued where 32 bits end, and where the clock stepped."""
        last = self._last_tsf_us.get(layout, int(tsf_us[0]))
        if layout.type is RecordType.ATH11K:
            tsf_us = _continued(tsf_us, last)
        self._last_tsf_us[layout] = int(tsf_us[-1])
        stepped = np.empty(len(tsf_us), np.bool_)
        # Unsigned: a step back is a jump ahead by nearly everything.
        stepped[0] = (int(tsf_us[0]) - last) % 2**64 > TSF_JUMP_US
        np.greater(tsf_us[1:] - tsf_us[:-1], TSF_JUMP_US, out=stepped[1:])
        return tsf_us, stepped

    def _judge(
        self, block: SampleBlock, stepped: "npt.NDArray[np.bool_]", bad_width: "npt.NDArray[np.bool_]"
    ) -> None:
        for flag, where in (
            (Flag.ALL_ZERO, _all_zero(block.magnitudes, block.rssi_db.shape[1])),
            (Flag.BAD_EXPONENT, block.max_exp > MAX_PLAUSIBLE_EXPONENT),
            (Flag.SATURATED, block.rssi_db + block.noise_dbm > SATURATED_ABOVE_DBM),
            (Flag.TSF_STEP, stepped),
            (Flag.NO_NOISE_FLOOR, block.noise_dbm == 0),
            (Flag.BAD_WIDTH, bad_width),
        ):
            if np.count_nonzero(where):
                # Of one half or the other.
                rows = where if where.ndim == 1 else where.any(axis=1)
                np.bitwise_or(block.flags, rows * np.uint16(flag), out=block.flags)
                self.counts[str(flag.name).lower()] += int(np.count_nonzero(rows))


_READ = {
    RecordType.HT20: ht20_fields,
    RecordType.HT40: ht40_fields,
    RecordType.ATH10K: wide_fields,
    RecordType.ATH11K: wide_fields,
}


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _continued(tsf_us: "npt.NDArray[np.uint64]", last_us: int) -> "npt.NDArray[np.uint64]":
    """Returns times of 32 bits as if the clock had more, after the last one of before."""
    begun, low = divmod(last_us, 2**TSF_BITS_ATH11K)
    back = np.diff(tsf_us.astype(np.int64), prepend=low) < -(2 ** (TSF_BITS_ATH11K - 1))
    rounds = np.uint64(begun) + np.cumsum(back, dtype=np.uint64)
    return tsf_us + (rounds << np.uint64(TSF_BITS_ATH11K))


def _all_zero(magnitudes: "npt.NDArray[np.uint8]", halves: int) -> "npt.NDArray[np.bool_]":
    """Returns where a half has no energy at all, (n, halves).

    Only those are looked at whole of which the middle is 0.
    """
    parts = magnitudes.reshape(len(magnitudes), halves, -1)
    zero: npt.NDArray[np.bool_] = parts[:, :, parts.shape[2] // 2] == 0
    if np.count_nonzero(zero):
        zero[zero] = ~parts[zero].any(axis=1)
    return zero

"""Reads a whole file of samples, block after block, with a time for each sample."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.airshark.adapters.files import DEFAULT_INTERVAL_US, LONGEST_GAP_US, Contents, open_file
from services.airshark.domain.block import SampleBlock
from services.airshark.domain.decoder import Decoder


@dataclass(slots=True)
class Report:
    """What was seen while a file was read; whole when the reading has ended."""

    contents: Contents | None = None
    counts: Counter[str] = field(default_factory=Counter)
    air_time_s: float = 0.0


def read_blocks(path: Path, report: Report) -> "Iterator[tuple[SampleBlock, npt.NDArray[np.float64]]]":
    """Yields blocks, and when each of their samples was taken, in seconds since the first one of the file.

    Raises `NoCapture` or OSError.
    """
    contents, chunks = open_file(path)
    decoder = Decoder(path.stem)
    report.contents, report.counts = contents, decoder.counts
    clock = SampleClock()
    wall_time_s = 0.0
    for chunk in chunks:
        wall_time_s = chunk.wall_time_s
        for block in decoder.feed(chunk.data, wall_time_s):
            yield block, clock.times(block)
            report.air_time_s = clock.now_s
    for block in decoder.finish(wall_time_s):
        yield block, clock.times(block)
    report.air_time_s = clock.now_s


class SampleClock:
    """Gives each sample a time that never goes back, whatever the radio's clock does."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._last: dict[tuple[int, int], int] = {}

    def times(self, block: SampleBlock) -> "npt.NDArray[np.float64]":
        """Returns the times of a block's samples."""
        key = (block.type, block.bin_count)
        tsf_us = block.tsf_us.astype(np.int64)
        steps = np.diff(tsf_us, prepend=self._last.get(key, tsf_us[0]))
        strange = (steps < 0) | (steps > LONGEST_GAP_US)
        steps = np.where(strange, DEFAULT_INTERVAL_US, steps)
        self._last[key] = int(tsf_us[-1])
        times: npt.NDArray[np.float64] = self.now_s + np.cumsum(steps) / 1e6
        self.now_s = float(times[-1])
        return times

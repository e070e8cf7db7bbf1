"""One level for each frequency of a band, made of all samples of an interval."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from services.airshark.domain.block import Flag, SampleBlock

UNSEEN_DBM = -200.0
"""Stands where nothing was measured."""
LOWEST_DBM, HIGHEST_DBM = -160, 40
_EDGE = 1e-3
"""Part of a bin by which rounding may move it."""


class Statistic(StrEnum):
    """What of many levels is shown."""

    MAX = "max"
    MEAN = "mean"
    PERCENTILE = "percentile"


class Band:
    """Cells of equal width from `min_mhz` on; each takes the bins whose frequency lies within it.

    A cell that is narrower than a bin takes the nearest one.
    """

    def __init__(
        self, min_mhz: float, step_mhz: float, cells: int, statistic: Statistic, percentile: int = 50
    ) -> None:
        self.min_mhz = min_mhz
        self.step_mhz = step_mhz
        self.cells = cells
        self._statistic = statistic
        self._percentile = percentile
        self._columns: dict[tuple[float, float, int], tuple[slice, npt.NDArray[np.intp], int]] = {}
        self.clear()

    def clear(self) -> None:
        """Forgets all samples."""
        self.counts = np.zeros(self.cells, np.uint32)
        self._max = np.full(self.cells, UNSEEN_DBM, np.float32)
        self._power = np.zeros(self.cells, np.float64)
        if self._statistic is Statistic.PERCENTILE:
            self._histogram = np.zeros((self.cells, HIGHEST_DBM - LOWEST_DBM), np.uint32)

    def add(self, block: SampleBlock) -> None:
        """Takes samples in; those without energy are left out."""
        good = block.flags & Flag.ALL_ZERO == 0
        axes, which = block.axes
        for number in range(len(axes)):
            rows = good & (which == number)
            first = np.argmax(which == number)
            spacing = float(block.spacing_mhz[first])
            if spacing <= 0 or not rows.any():
                continue
            place = self._place(float(axes[number, 0]), spacing, block.bin_count)
            if place is None:
                continue
            cells, starts, end = place
            levels = np.maximum.reduceat(block.dbm[rows][:, :end], starts, axis=1)
            self._add(cells, levels)

    def _place(
        self, first_mhz: float, spacing: float, bin_count: int
    ) -> "tuple[slice, npt.NDArray[np.intp], int] | None":
        """Returns which cells an axis covers, the first bin of each, and where its last bin ends."""
        key = (first_mhz, spacing, bin_count)
        if key not in self._columns:
            if len(self._columns) > 1000:
                self._columns.clear()
            lower = self.min_mhz + self.step_mhz * np.arange(self.cells + 1)
            if spacing > self.step_mhz * (1 + _EDGE):
                bins = np.rint((lower + self.step_mhz / 2 - first_mhz) / spacing).astype(np.intp)
            else:
                bins = np.ceil((lower - first_mhz) / spacing - _EDGE).astype(np.intp)
            covered = np.flatnonzero((bins[:-1] >= 0) & (bins[:-1] < bin_count))
            if not len(covered):
                return None
            cells = slice(int(covered[0]), int(covered[-1]) + 1)
            end = int(np.clip(bins[cells.stop], bins[cells.stop - 1] + 1, bin_count))
            self._columns[key] = (cells, bins[cells], end)
        return self._columns[key]

    def _add(self, cells: slice, levels: "npt.NDArray[np.float32]") -> None:
        self.counts[cells] += np.uint32(len(levels))
        np.maximum(self._max[cells], levels.max(axis=0), out=self._max[cells])
        if self._statistic is Statistic.MEAN:
            self._power[cells] += np.power(10.0, levels / 10).sum(axis=0)
        elif self._statistic is Statistic.PERCENTILE:
            whole = np.clip(np.rint(levels), LOWEST_DBM, HIGHEST_DBM - 1).astype(np.intp) - LOWEST_DBM
            columns = np.arange(cells.start, cells.stop)
            np.add.at(self._histogram, (np.broadcast_to(columns, whole.shape), whole), 1)

    def levels(self) -> "npt.NDArray[np.float32]":
        """Returns the level of each cell in dBm; `UNSEEN_DBM` where there is none."""
        if self._statistic is Statistic.MAX:
            return self._max.copy()
        seen = self.counts > 0
        result = np.full(self.cells, UNSEEN_DBM, np.float32)
        if self._statistic is Statistic.MEAN:
            result[seen] = 10 * np.log10(np.maximum(self._power[seen] / self.counts[seen], 1e-20))
        else:
            wanted = self.counts * (self._percentile / 100)
            below = np.cumsum(self._histogram, axis=1) >= np.maximum(wanted, 1)[:, None]
            result[seen] = below.argmax(axis=1)[seen] + LOWEST_DBM
        return result

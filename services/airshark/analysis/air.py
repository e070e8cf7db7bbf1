"""Samples on one continuous time axis, cut into visits of one channel."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.ranks import percentiles, runs
from services.airshark.domain.block import Flag, SampleBlock

Floats: TypeAlias = "npt.NDArray[np.float32]"
Times: TypeAlias = "npt.NDArray[np.float64]"
Ints: TypeAlias = "npt.NDArray[np.int64]"
Bools: TypeAlias = "npt.NDArray[np.bool_]"

MAX_GAP_S = 0.03
"""A longer silence of the radio ends a visit."""
TRANSFORM_S = 4e-6
LONGEST_STEP_S = 2.0
"""A clock that steps by more was set anew."""
UNUSABLE = Flag.ALL_ZERO | Flag.BAD_EXPONENT


@dataclass(frozen=True)
class Air:
    """`n` samples in the order of arrival, all with the same number of bins and the same spacing."""

    time_s: Times
    visit: Ints
    """Number of the visit; it changes with the channel and after a gap."""
    centre_mhz: Floats
    first_bin_mhz: Floats
    spacing_mhz: float
    dbm: Floats
    """(n, bins)."""
    noise_dbm: Floats
    """Noise floor as the driver reports it."""
    total_dbm: Floats
    """Power of the whole sample."""
    interval_s: float
    """From one sample to the next when nothing is in the way."""

    def __len__(self) -> int:
        return len(self.time_s)

    @cached_property
    def channels(self) -> dict[float, Ints]:
        """The samples of each channel, in order, by the middle of the channel; lower ones come first."""
        middles = sorted(set(self.centre_mhz[runs(self.centre_mhz)[0]].tolist()))
        if len(middles) == 1:
            return {middles[0]: np.arange(len(self))}
        return {each: np.flatnonzero(self.centre_mhz == each) for each in middles}

    def bins_mhz(self, centre_mhz: float) -> Times:
        """Returns where the bins of a channel are, by its middle."""
        first_mhz = self.first_bin_mhz[self.channels[centre_mhz][0]]
        places: Times = first_mhz + np.arange(self.dbm.shape[1]) * self.spacing_mhz
        return places

    def select(self, rows: "Ints | Bools | slice") -> "Air":
        """Returns some of the samples."""
        return Air(
            self.time_s[rows],
            self.visit[rows],
            self.centre_mhz[rows],
            self.first_bin_mhz[rows],
            self.spacing_mhz,
            self.dbm[rows],
            self.noise_dbm[rows],
            self.total_dbm[rows],
            self.interval_s,
        )

    @property
    def watched_s(self) -> float:
        """Time that the samples stand for."""
        steps = np.diff(self.time_s)
        inside = (np.diff(self.visit) == 0) & (steps < MAX_GAP_S)
        return float(steps[inside].sum()) + self.interval_s if len(self) else 0.0


class Timeline:
    """Makes one time axis of a radio's clock, which restarts now and then."""

    def __init__(self) -> None:
        self._last_tsf_us: int | None = None
        self._last_centre = 0.0
        self._last_time_s = 0.0
        self._visit = 0
        self._interval_s = 0.0

    def air(self, block: SampleBlock) -> Air | None:
        """Returns the usable samples of a block; None if there are none."""
        usable = (block.flags & UNUSABLE) == 0
        time_s, visit = self._place(block)
        if not usable.any():
            return None
        air = Air(
            time_s,
            visit,
            block.centre_mhz,
            block.first_bin_mhz,
            float(block.spacing_mhz[0]),
            block.dbm,
            block.noise_dbm[:, 0].astype(np.float32),
            block.total_dbm[:, 0],
            self._interval_s,
        )
        return air if usable.all() else air.select(usable)

    def _place(self, block: SampleBlock) -> tuple[Times, Ints]:
        tsf = block.tsf_us.astype(np.int64)
        before = np.empty_like(tsf)
        before[0], before[1:] = tsf[0] if self._last_tsf_us is None else self._last_tsf_us, tsf[:-1]
        step_s = (tsf - before) * 1e-6
        sane = (step_s >= 0) & (step_s < LONGEST_STEP_S)
        short = step_s[(step_s > 0) & (step_s < MAX_GAP_S)]
        if len(short) >= 8:
            # The main mode: gaps of a busy channel are longer, and pairs within one report are shorter.
            measured = percentiles(short, 30)[0]
            self._interval_s = measured if not self._interval_s else 0.8 * self._interval_s + 0.2 * measured
        # Samples of one long report share one time stamp; they lie one transform apart.
        step_s = np.where(sane, np.maximum(step_s, TRANSFORM_S), self._interval_s)
        time_s = self._last_time_s + np.cumsum(step_s)
        # Some drivers give no more than a few samples per second: those are a visit all the same.
        cut = ~sane | (step_s > max(MAX_GAP_S, 4 * self._interval_s))
        cut[0] |= block.centre_mhz[0] != np.float32(self._last_centre)
        cut[1:] |= block.centre_mhz[1:] != block.centre_mhz[:-1]
        visit = self._visit + np.cumsum(cut)
        self._last_tsf_us, self._last_centre = int(tsf[-1]), float(block.centre_mhz[-1])
        self._last_time_s, self._visit = float(time_s[-1]), int(visit[-1])
        return time_s, visit


def concatenate(parts: list[Air]) -> Air:
    """Joins parts that have the same number of bins and spacing."""
    first = parts[-1]
    return Air(
        np.concatenate([part.time_s for part in parts]),
        np.concatenate([part.visit for part in parts]),
        np.concatenate([part.centre_mhz for part in parts]),
        np.concatenate([part.first_bin_mhz for part in parts]),
        first.spacing_mhz,
        np.concatenate([part.dbm for part in parts]),
        np.concatenate([part.noise_dbm for part in parts]),
        np.concatenate([part.total_dbm for part in parts]),
        first.interval_s,
    )

"""Joins peaks of neighbouring samples to pulses."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Air, Bools, Floats, Ints, Times
from services.airshark.analysis.peaks import MIN_OVER_MEDIAN_DB, Peaks

SAME_WITHIN_MHZ = 0.9
SPREAD_REACH = 0.4
SAME_WITHIN_DB = 9.0
STEP_MAX_INTERVALS = 1.6
BRIDGE_MAX_INTERVALS = 2.6
HIDDEN_BELOW_DB = 8.0


@dataclass(frozen=True)
class Pulses:
    """`k` pulses, ordered by their start; all arrays are (k,)."""

    start_s: Times
    """Middle of the first and of the last sample, half an interval moved outwards."""
    end_s: Times
    visit: Ints
    centre_mhz: Floats
    """Of the channel."""
    frequency_mhz: Floats
    wander_mhz: Floats
    """Standard deviation of the frequency within the pulse."""
    spread_mhz: Floats
    width_mhz: Floats
    power_dbm: Floats
    over_db: Floats
    samples: Ints
    whole: Bools
    """Whether samples before and after it show that it began and ended there."""

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def duration_s(self) -> Times:
        """How long each one lasted."""
        return self.end_s - self.start_s

    @property
    def clear(self) -> Bools:
        """Which ones stand out of their samples; the others are known by the channel they are on alone."""
        stands_out: Bools = self.over_db > MIN_OVER_MEDIAN_DB
        return stands_out

    def select(self, which: "Bools | npt.NDArray[np.intp]") -> "Pulses":
        """Returns some of the pulses."""
        return Pulses(*(getattr(self, each)[which] for each in NAMES))


NAMES = tuple(each.name for each in fields(Pulses))


def join_peaks(air: Air, peaks: Peaks) -> tuple[Pulses, Ints]:
    """Returns the pulses, and the number of its pulse for each peak."""
    if not len(peaks):
        return _none(), np.zeros(0, np.int64)
    chain = _chains(_predecessors(air, peaks))
    _, number = np.unique(chain, return_inverse=True)
    count = int(number.max()) + 1
    size = np.bincount(number, minlength=count)

    def mean(values: "npt.NDArray[np.floating]") -> "npt.NDArray[np.float64]":
        return np.bincount(number, values, count) / size

    first = np.full(count, len(air), np.int64)
    np.minimum.at(first, number, peaks.row)
    last = np.zeros(count, np.int64)
    np.maximum.at(last, number, peaks.row)
    frequency = mean(peaks.frequency_mhz)
    wander = mean((peaks.frequency_mhz - frequency[number]) ** 2)
    half = air.interval_s / 2
    power = 10 * np.log10(mean(10 ** (peaks.power_dbm.astype(np.float64) / 10)))
    pulses = Pulses(
        air.time_s[first] - half,
        air.time_s[last] + half,
        air.visit[first],
        air.centre_mhz[first],
        frequency.astype(np.float32),
        np.sqrt(wander).astype(np.float32),
        mean(peaks.spread_mhz).astype(np.float32),
        mean(peaks.width_mhz).astype(np.float32),
        power.astype(np.float32),
        mean(peaks.over_db).astype(np.float32),
        size.astype(np.int64),
        _watched(air, first, -1) & _watched(air, last, 1),
    )
    order = np.argsort(pulses.start_s, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    return pulses.select(order), rank[number]


def _watched(air: Air, row: Ints, side: int) -> Bools:
    """Tells whether the sample on that side follows at once, in the same visit."""
    other = row + side
    inside = (other >= 0) & (other < len(air))
    other = np.clip(other, 0, len(air) - 1)
    near = np.abs(air.time_s[other] - air.time_s[row]) < STEP_MAX_INTERVALS * air.interval_s
    watched: Bools = inside & near & (air.visit[other] == air.visit[row])
    return watched


def _predecessors(air: Air, peaks: Peaks) -> "npt.NDArray[np.intp]":
    """Returns for each peak the peak of the sample before that it continues, or itself."""
    count = len(peaks)
    before = np.arange(count)
    best = np.full(count, np.inf, np.float32)
    time_s, visit = air.time_s[peaks.row], air.visit[peaks.row]
    strongest = np.full(len(air), -np.inf, np.float32)
    np.maximum.at(strongest, peaks.row, peaks.power_dbm)
    # Peaks lie in the order of their samples, so what came before is among the last few.
    for distance in range(1, 9):
        if distance >= count:
            break
        now, then = slice(distance, None), slice(None, -distance)
        rows = peaks.row[now] - peaks.row[then]
        step = time_s[now] - time_s[then]
        # One sample may be missing where the radio took none; it may not show silence.
        near = (rows == 1) & (step < BRIDGE_MAX_INTERVALS * air.interval_s)
        # A much stronger signal in the sample between may have hidden it.
        hidden = strongest[peaks.row[now] - 1] > peaks.power_dbm[now] + HIDDEN_BELOW_DB
        near |= (rows == 2) & hidden & (step < BRIDGE_MAX_INTERVALS * air.interval_s)
        offset = np.abs(peaks.frequency_mhz[now] - peaks.frequency_mhz[then])
        # The place of a wide one is less certain.
        reach = SAME_WITHIN_MHZ + SPREAD_REACH * np.minimum(peaks.spread_mhz[now], peaks.spread_mhz[then])
        change = np.abs(peaks.power_dbm[now] - peaks.power_dbm[then])
        fits = near & (visit[now] == visit[then]) & (offset < reach) & (change < SAME_WITHIN_DB)
        cost = np.where(fits, offset + change * np.float32(0.1), np.inf)
        better = np.flatnonzero(cost < best[now])
        best[better + distance] = cost[better]
        before[better + distance] = better
    # A peak is continued by one other only: by the one that fits best.
    linked = np.flatnonzero(before != np.arange(count))
    linked = linked[np.argsort(best[linked], kind="stable")]
    _, keep = np.unique(before[linked], return_index=True)
    result = np.arange(count)
    result[linked[keep]] = before[linked[keep]]
    return result


def _chains(before: "npt.NDArray[np.intp]") -> "npt.NDArray[np.intp]":
    """Returns the first peak of each peak's chain."""
    while True:
        further = before[before]
        if (further == before).all():
            return before
        before = further


def _none() -> Pulses:
    times, numbers, values = np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.float32)
    return Pulses(
        times,
        times,
        numbers,
        values,
        values,
        values,
        values,
        values,
        values,
        values,
        numbers,
        np.zeros(0, bool),
    )

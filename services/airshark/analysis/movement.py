"""Measures how far a carrier moves, from sample to sample."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Air, Floats, Ints, Times
from services.airshark.analysis.peaks import Peaks
from services.airshark.analysis.ranks import median, percentiles, runs

Real = TypeVar("Real", np.float32, np.float64)

MIN_SAMPLES = 8
MIN_IN_VISIT = 60
DB_PER_BIN = 17.4
"""By so much the bins beside a carrier differ for each bin that it lies off the middle between them."""
ON_BIN = 0.25
"""So near to a bin, in bins, its neighbours do not tell on which side a carrier lies."""
TIP_MHZ, TIP_ALIKE_DB = (0.25, 3.0), 4.0
"""How far off, and how much alike in power, a carrier is that has left its place."""
PILOT_HZ = 19e3
"""Stereo sound has a tone there, however quiet the music is."""
BASS_S = 2.5e-3
"""What is slower than this is no speech that a telephone transmits."""
PICTURE_LINES_HZ = (15_625.0, 15_734.27)
"""So often a picture begins a new line."""


def tips(peaks: Peaks, free: Ints, frequency_mhz: float, power_dbm: float) -> tuple[int, int]:
    """Returns in how many samples a carrier is not at its place, but one as strong is below, and above."""
    off_mhz = peaks.fine_mhz[free] - frequency_mhz
    away_mhz, row = np.abs(off_mhz), peaks.row[free]
    at_place = np.zeros(int(row.max()) + 1, bool)
    at_place[row[away_mhz < TIP_MHZ[0]]] = True
    tip = ~at_place[row] & (away_mhz < TIP_MHZ[1])
    tip &= np.abs(peaks.power_dbm[free] - power_dbm) < TIP_ALIKE_DB
    return len(np.unique(row[tip & (off_mhz < 0)])), len(np.unique(row[tip & (off_mhz > 0)]))


def around(air: Air, rows: Ints, frequency_mhz: float) -> tuple[Floats, float]:
    """Returns the strongest bin around a frequency between its neighbours (n, 3), and how much it varies."""
    bins = air.dbm.shape[1]
    at = int(np.clip(np.rint((frequency_mhz - air.first_bin_mhz[rows[0]]) / air.spacing_mhz), 0, bins - 1))
    low, high = max(at - 2, 0), min(at + 3, bins)
    mean = np.mean(10 ** (air.dbm[rows, low:high] / 10), axis=0)
    top = low + int(mean.argmax())
    found = np.full((len(rows), 3), np.nan, np.float32)
    first, last = max(top - 1, 0), min(top + 2, bins)
    found[:, first - top + 1 : last - top + 1] = air.dbm[rows, first:last]
    return found, _deviation(found[:, 1])


def farthest(bins_dbm: Floats, seen: Floats, visit: Ints, spacing_mhz: float) -> float:
    """Returns how far a carrier moves in that visit in which it moves most: music and speech have quiet
    passages."""
    _, of_visit, count = np.unique(visit, return_inverse=True, return_counts=True)
    parts = [of_visit == each for each in np.flatnonzero(count >= MIN_IN_VISIT)] or [np.ones(len(seen), bool)]
    return max(min(_deviation(seen[part]), movement(bins_dbm[part], spacing_mhz)) for part in parts)


def near_middle(seen: Times, centre_mhz: float, spacing_mhz: float) -> float:
    """Returns how far a carrier moves near the middle of the view, by where it was `seen`.

    On the very bin beside the middle its neighbours do not tell on which side of that bin it lies, and it
    seems to jump: there the distance from the bin counts.
    """
    place = np.abs(seen - centre_mhz) / spacing_mhz
    if abs(median(place) - 1) < ON_BIN:
        return _deviation(np.abs(place - 1)) * spacing_mhz
    return _deviation(seen)


def movement(bins_dbm: Floats, spacing_mhz: float) -> float:
    """Returns how far a carrier moves by the level of its neighbouring bins, as a standard deviation.

    The window of a radio's transform decides how strong they are beside a carrier that stands still, and
    noise moves each measure too: of both the lower one counts. Between the neighbours the frequency does not
    jump from side to side, as it does between the strongest and whichever comes next.
    """
    below, top, above = bins_dbm.T
    both = _deviation((above - below) / DB_PER_BIN)
    stronger = max((each for each in (below, above) if np.isfinite(each).any()), key=np.mean)
    ratio = 10 ** ((stronger - top) / 20)
    one = _deviation(ratio / (1 + ratio))
    return min(both, one) * spacing_mhz


def tone_shares(time_s: Times, seen: Times, visit: Ints, *tones_hz: float) -> list[float]:
    """Returns how much of what moves a carrier is each of some tones, 0 to 1, by where it was `seen`.

    They may be far faster than samples come: when each of these was taken is known well enough for that.
    Between visits nothing is known of their phase.
    """
    starts, count = runs(visit)
    moves = within_visits(seen, visit)
    energy = np.add.reduceat(moves**2, starts)
    long = count >= MIN_IN_VISIT
    # By chance the power is the energy; of a pure tone it is half the number of samples times that.
    pure = float((energy * count)[long].sum()) / 2
    if pure <= 0:
        return [0.0] * len(tones_hz)
    shares = []
    for hertz in tones_hz:
        angle = (time_s * hertz % 1.0) * (2 * np.pi)
        power = sum(np.add.reduceat(moves * wave(angle), starts) ** 2 for wave in (np.cos, np.sin))
        found = float((power - energy)[long].sum())
        shares.append(float(np.sqrt(min(max(found / pure, 0.0), 1.0))))
    return shares


def bass_share(time_s: Times, seen: Times, visit: Ints) -> float:
    """Returns how much of what moves a carrier is slower than speech on a telephone, 0 to 1: only music has
    bass. By chance it is the share of one sample in `BASS_S`."""
    starts, count = runs(visit)
    moves = within_visits(seen, visit)
    piece = np.floor((time_s - np.repeat(time_s[starts], count)) / BASS_S)
    new = np.ones(len(piece), bool)
    np.not_equal(piece[1:], piece[:-1], out=new[1:])
    new[starts] = True
    begins = np.flatnonzero(new)
    size = np.diff(begins, append=len(moves))
    energy = float((moves**2).sum())
    return float((np.add.reduceat(moves, begins) ** 2 / size).sum()) / energy if energy > 0 else 0.0


def within_visits(values: "npt.NDArray[Real]", visit: Ints) -> "npt.NDArray[Real]":
    """Returns by how much values differ from the mean of their visit."""
    starts, count = runs(visit)
    means = np.add.reduceat(values, starts) / count
    within: npt.NDArray[Real] = values - np.repeat(means, count).astype(values.dtype)
    return within


def _deviation(values: "Floats | Times") -> float:
    """Returns the standard deviation by the middle of the values; infinite if there are none."""
    values = values[np.isfinite(values)]
    if len(values) < MIN_SAMPLES:
        return float("inf")
    low, high = percentiles(values, 15, 85)
    return (high - low) / 2.07

"""Reads carriers in the skirts of stronger ones: most samples show no peak there, but all together a hump."""

import numpy as np

from services.airshark.analysis.air import Air, Floats, Ints
from services.airshark.analysis.peaks import Peaks, measure, shoulder_bins
from services.airshark.analysis.ranks import median
from services.airshark.domain.power import milliwatts

Hump = tuple[int, int]
"""The bins of the valleys on both sides of it."""

MIN_HUMP_DB = 3.0
"""By so much a hump rises above the higher one of its valleys."""
REACH_MHZ, CLOSE_MHZ = 2.5, 1.3
TOP_BINS = 3
"""A hump is no lower than any of so many bins on each side."""
INSIDE_BINS = 2
MIN_STANDS, MIN_SAMPLES = 0.25, 60
"""Of the samples of a channel, so many show a carrier at least."""
ALIKE_DB, MAX_PAUSES = 8.0, 0.12
"""By so much the level of a carrier may differ from the usual one; what is weaker in more of the samples
pauses, and is no carrier."""


def tops(profile: Floats) -> Ints:
    """Returns the bins of a spectrum that are no lower than those beside them."""
    highest = profile.copy()
    for off in range(1, TOP_BINS + 1):
        np.maximum(highest[off:], profile[:-off], out=highest[off:])
        np.maximum(highest[:-off], profile[off:], out=highest[:-off])
    found: Ints = np.flatnonzero(profile == highest)
    return found


def humps(profile_dbm: Floats, spacing_mhz: float) -> dict[int, Hump]:
    """Returns the humps of a spectrum by the bin of their top."""
    high = tops(profile_dbm)
    inside = (high >= INSIDE_BINS) & (high < len(profile_dbm) - INSIDE_BINS)
    return _rising(profile_dbm, high[inside], round(REACH_MHZ / spacing_mhz))


def close_humps(profile_dbm: Floats, spacing_mhz: float) -> dict[int, Hump]:
    """Returns the humps of a spectrum of bins one by one by the bin of their top: close to another carrier no
    hump is left once three bins are taken together."""
    inner = profile_dbm[1:-1]
    high: Ints = np.flatnonzero((inner > profile_dbm[:-2]) & (inner > profile_dbm[2:])) + 1
    return _rising(profile_dbm, high, round(CLOSE_MHZ / spacing_mhz))


def _rising(profile_dbm: Floats, high: Ints, reach: int) -> dict[int, Hump]:
    """Returns which of some bins are tops that rise above the valleys on both sides, within reach."""
    found = {}
    # Of so few numbers, one by one is faster than all at once.
    levels_dbm = profile_dbm.tolist()
    for top in high.tolist():
        lower, upper = _valleys(levels_dbm, top, reach)
        if levels_dbm[top] - max(levels_dbm[lower], levels_dbm[upper]) >= MIN_HUMP_DB:
            found[top] = (lower, upper)
    return found


def _valleys(levels_dbm: list[float], top: int, reach: int) -> Hump:
    """Returns the lowest bins on both sides of a top; behind a higher one is another hump."""
    first = last = top
    while first > max(top - reach, 0) and levels_dbm[first - 1] <= levels_dbm[top]:
        first -= 1
    while last < min(top + reach, len(levels_dbm) - 1) and levels_dbm[last + 1] <= levels_dbm[top]:
        last += 1
    lower, upper = range(first, top + 1), range(top, last + 1)
    return min(lower, key=levels_dbm.__getitem__), min(upper, key=levels_dbm.__getitem__)


def prominence(profile_dbm: Floats, spacing_mhz: float) -> Floats:
    """Returns by how much each bin of a spectrum stands out of its shoulders, the nearer one in level."""
    near, far = shoulder_bins(spacing_mhz)
    padded = np.pad(profile_dbm, far, constant_values=np.inf)
    each = np.lib.stride_tricks.sliding_window_view(padded, 2 * far + 1)
    below, above = each[:, : far - near + 1].min(axis=1), each[:, far + near :].min(axis=1)
    # At the border of the view one shoulder must do.
    below, above = np.where(np.isinf(below), above, below), np.where(np.isinf(above), below, above)
    stands: Floats = profile_dbm - np.maximum(below, above)
    return stands


def read_out(air: Air, profiles_dbm: Floats, rows: Ints, hump: Hump) -> tuple[Peaks, float]:
    """Returns the strongest place of a hump in each sample of a channel that shows it as one, and the share
    of these in which it is as strong as usual: 0 if what is there pauses, or is seldom seen. `profiles_dbm`
    are the samples, (bins, rows)."""
    lower, upper = hump
    part = profiles_dbm[lower : upper + 1]
    at, level = part.argmax(axis=0), part.max(axis=0)
    over_db = level - 10 * np.log10((10 ** (part[0] / 10) + 10 ** (part[-1] / 10)) / 2)
    inner = (at > 0) & (at < len(part) - 1)
    stands = inner & (level > np.maximum(part[0], part[-1]))
    peaks = _peaks(air, rows[stands], (at + lower)[stands], over_db[stands])
    if len(peaks) < max(MIN_STANDS * len(rows), MIN_SAMPLES):
        return peaks, 0.0
    usual_dbm = median(peaks.power_dbm)
    if (level < usual_dbm - ALIKE_DB).mean() > MAX_PAUSES:
        return peaks, 0.0
    return peaks, float((np.abs(peaks.power_dbm - usual_dbm) < ALIKE_DB).mean())


def _peaks(air: Air, rows: Ints, place: Ints, over_db: Floats) -> Peaks:
    """Returns a peak around one bin of each of some samples."""
    inside = np.abs(np.arange(air.dbm.shape[1])[:, None] - place) <= INSIDE_BINS
    return measure(air, rows, milliwatts(np.ascontiguousarray(air.dbm[rows].T)) * inside, inside, over_db)

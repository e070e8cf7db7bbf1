"""Finds bursts beside carriers that never end, by what is more than is there all the time."""

import numpy as np

from services.airshark.analysis.air import Air, Bools, Floats
from services.airshark.analysis.carrier import CarrierSeen, is_own, keeps_peaks
from services.airshark.analysis.carriers import Levels
from services.airshark.analysis.faint import SAME_MHZ, find_faint
from services.airshark.analysis.peaks import PEAKS_PER_SAMPLE, Peaks, Picture, find_peaks_over, joined
from services.airshark.analysis.ranks import median

MOVES_DB = 3.0
"""No more than by this a carrier is stronger in one sample than it usually is."""


def beside_carriers(
    air: Air,
    peaks: Peaks,
    owned: Bools,
    picture: Picture,
    level: dict[float, Levels],
    carriers: list[CarrierSeen],
) -> Peaks:
    """Returns the peaks that carriers do not explain, and besides those that stand out of what is always
    there on a channel with carriers."""
    left = peaks.select(~owned)
    more = []
    for centre, rows in air.channels.items():
        here = [each for each in carriers if each.centre_mhz == centre and keeps_peaks(each, carriers)]
        if here:
            constant_dbm = _constant(level[centre])
            over_db = picture.smooth_dbm[centre] - constant_dbm[:, None]
            over = find_peaks_over(air, rows, over_db, constant_dbm)
            over = over.select(~_explained(over, here) & ~_known(over, left))
            shown = joined([left.select(air.centre_mhz[left.row] == centre), over])
            faint = find_faint(air, rows, over_db, constant_dbm, shown)
            more += [over, faint.select(~_explained(faint, here))]
    if not more:
        return left
    every = joined([left, *more])
    return every.select(np.argsort(every.row, kind="stable"))


def _explained(found: Peaks, carriers: list[CarrierSeen]) -> Bools:
    """Tells which of the peaks of a channel are of one of its carriers."""
    explained: Bools = np.any([is_own(each, found, MOVES_DB) for each in carriers], axis=0)
    return explained


def _known(peaks: Peaks, others: Peaks) -> Bools:
    """Tells which peaks are near one of some others, ordered by sample, in the same sample."""
    near = np.zeros(len(peaks), bool)
    first, end = (np.searchsorted(others.row, peaks.row, side) for side in ("left", "right"))
    for number in range(PEAKS_PER_SAMPLE):
        there = np.flatnonzero(first + number < end)
        off_mhz = np.abs(peaks.frequency_mhz[there] - others.frequency_mhz[first[there] + number])
        near[there] |= off_mhz < SAME_MHZ
    return near


def _constant(level: Levels) -> Floats:
    """Returns how strong each bin of a channel is without bursts.

    What sends most of the time, but pauses, is more than what is there when it does.
    """
    rises_db = level.usual_dbm - level.quiet_dbm
    constant: Floats = np.minimum(level.usual_dbm, level.quiet_dbm + median(rises_db)).astype(np.float32)
    return constant

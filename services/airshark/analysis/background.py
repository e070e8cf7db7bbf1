"""Finds bursts beside carriers that never end, by what is more than is there all the time."""

from dataclasses import fields, replace

import numpy as np

from services.airshark.analysis.air import Air, Bools, Floats
from services.airshark.analysis.carrier import CarrierSeen, is_own, keeps_peaks
from services.airshark.analysis.carriers import Levels
from services.airshark.analysis.peaks import PEAKS_PER_SAMPLE, Peaks, Picture, find_peaks_over
from services.airshark.analysis.ranks import median

MOVES_DB = 3.0
"""No more than by this a carrier is stronger in one sample than it usually is."""
SAME_MHZ = 2.0
"""So near in the same sample there is one peak."""


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
    parts = [left]
    for centre, rows in air.channels.items():
        here = [each for each in carriers if each.centre_mhz == centre and keeps_peaks(each, carriers)]
        if here:
            found = find_peaks_over(air.select(rows), picture.smooth_dbm[rows], _constant(level[centre]))
            of_carriers = np.any([is_own(each, found, MOVES_DB) for each in here], axis=0)
            parts.append(replace(found, row=rows[found.row]).select(~of_carriers))
    if len(parts) == 1:
        return left
    more = _joined(parts[1:])
    joined = _joined([left, more.select(~_known(more, left, len(air)))])
    return joined.select(np.argsort(joined.row, kind="stable"))


def _known(peaks: Peaks, others: Peaks, samples: int) -> Bools:
    """Tells which peaks are near one of some others in the same sample."""
    near = np.zeros(len(peaks), bool)
    if not len(others):
        return near
    begins = np.searchsorted(others.row, np.arange(samples + 1))
    first, count = begins[peaks.row], np.diff(begins)[peaks.row]
    for number in range(PEAKS_PER_SAMPLE):
        at = np.minimum(first + number, len(others) - 1)
        off_mhz = np.abs(peaks.frequency_mhz - others.frequency_mhz[at])
        near |= (number < count) & (off_mhz < SAME_MHZ)
    return near


def _joined(parts: list[Peaks]) -> Peaks:
    return Peaks(*(np.concatenate([getattr(each, name.name) for each in parts]) for name in fields(Peaks)))


def _constant(level: Levels) -> Floats:
    """Returns how strong each bin of a channel is without bursts.

    What sends most of the time, but pauses, is more than what is there when it does.
    """
    rises_db = level.usual_dbm - level.quiet_dbm
    constant: Floats = np.minimum(level.usual_dbm, level.quiet_dbm + median(rises_db)).astype(np.float32)
    return constant

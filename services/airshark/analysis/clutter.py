"""Tells what a signal that never ends leaves beside its carrier: flashes on one place, again and again."""

import numpy as np

from services.airshark.analysis.air import Air, Bools
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.ranks import median

CELL_MHZ = 1.0
FLASH_SAMPLES = 2
MIN_PER_S, MIN_FLASHES, MIN_SHARE = 80.0, 20, 0.7
"""Flashes on one place and the two beside it: no network pages so often, and no advertiser sends so often."""
LONG_SAMPLES, OTHER_DB = 5, 6.0
"""What is longer or of another power than the flashes is something else."""


def without_clutter(air: Air, pulses: Pulses) -> Pulses:
    """Returns the pulses that are more than the details of a picture or the skirts of a carrier."""
    clutter = np.zeros(len(pulses), bool)
    for centre in np.unique(pulses.centre_mhz):
        here = np.flatnonzero(pulses.centre_mhz == centre)
        watched_s = len(air.channels[float(centre)]) * air.interval_s
        clutter[here] = _clutter(pulses.select(here), watched_s)
    return pulses.select(~clutter)


def _clutter(pulses: Pulses, watched_s: float) -> Bools:
    """Tells which pulses of one channel are clutter."""
    place = np.floor(pulses.frequency_mhz / CELL_MHZ).astype(np.intp)
    place -= place.min() - 1
    flash = pulses.samples <= FLASH_SAMPLES
    flashes, all_of = (
        np.bincount(place[which], minlength=int(place.max()) + 2) for which in (flash, slice(None))
    )
    around = np.convolve(flashes, np.ones(3), "same")
    full = (around > max(MIN_PER_S * watched_s, MIN_FLASHES)) & (flashes > MIN_SHARE * all_of)
    result: Bools = full[place] & (pulses.samples < LONG_SAMPLES)
    for each in np.flatnonzero(full):
        mine = place == each
        result[mine] &= np.abs(pulses.power_dbm[mine] - median(pulses.power_dbm[mine & flash])) < OTHER_DB
    return result

"""Finds bursts of ZigBee that are hardly stronger than the skirt of a carrier that never ends.

No sample shows a peak of them, but all bins of a channel together, sample after sample, are stronger than
those on both sides of it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from services.airshark.analysis.air import Air, Bools, Floats, Ints
from services.airshark.analysis.peaks import GROW_WITHIN_DB, MIN_OVER_MEDIAN_DB, Peaks, none
from services.airshark.analysis.zigbee import CHANNELS_MHZ

HALF_MHZ, FLANKS_MHZ = 0.95, (1.8, 3.6)
"""How far from the middle of a channel most of a burst lies, and where nothing of it does."""
SAME_MHZ, MIN_FREE = 2.0, 0.75
"""So near in the same sample there is one peak; a burst of which fewer samples show none is no faint one."""
SMOOTHED = np.ones(3, np.float32) / 3
MIN_RISE_DB, MIN_USUAL_RISE_DB, MIN_SAMPLES = 2.2, 2.8, 4
"""By so much a channel is stronger than those on both sides of it, for so many samples, while one sends."""


def find_faint(air: Air, rows: Ints, over_db: Floats, constant_dbm: Floats, shown: Peaks) -> Peaks:
    """Returns one peak for each sample of the bursts, which is over less than any other peak is.

    `rows` are the samples of one channel of the radio, which show some peaks; what is there all the time,
    `constant_dbm`, (bins,), is of three bins together, and by how much more there is as well, `over_db`,
    (bins, rows).
    """
    frequency_mhz = air.bins_mhz(float(air.centre_mhz[rows[0]]))
    first_mhz, last_mhz = frequency_mhz[0] + FLANKS_MHZ[0], frequency_mhz[-1] - FLANKS_MHZ[0]
    channels_mhz = CHANNELS_MHZ[(first_mhz < CHANNELS_MHZ) & (last_mhz > CHANNELS_MHZ)]
    if not len(channels_mhz) or len(rows) < MIN_SAMPLES or air.spacing_mhz > HALF_MHZ:
        return none()
    sums = np.zeros((len(constant_dbm) + 1, len(rows)), np.float32)
    np.cumsum(over_db, axis=0, out=sums[1:])

    def mean_db(from_mhz: float, to_mhz: float) -> Floats:
        first, end = (np.searchsorted(frequency_mhz, channels_mhz + each) for each in (from_mhz, to_mhz))
        result: Floats = (sums[end] - sums[first]) / (end - first)[:, None]
        return result

    inside_db = mean_db(-HALF_MHZ, HALF_MHZ)
    rises_db = inside_db - np.maximum(mean_db(-FLANKS_MHZ[1], -FLANKS_MHZ[0]), mean_db(*FLANKS_MHZ))
    same = air.visit[rows[1:]] == air.visit[rows[:-1]]
    sample_of = np.searchsorted(rows, shown.row)
    bursts: list[_Burst] = []
    for channel_mhz, rise_db in zip(channels_mhz, rises_db, strict=True):
        rise_db = np.convolve(rise_db, SMOOTHED, "same")
        near = np.flatnonzero(np.abs(frequency_mhz - channel_mhz) < 2 * HALF_MHZ)
        taken = np.zeros(len(rows), bool)
        taken[sample_of[np.abs(shown.frequency_mhz - channel_mhz) < SAME_MHZ]] = True
        for first, end in _runs(rise_db > MIN_RISE_DB, same):
            usual_db, free = float(rise_db[first:end].mean()), ~taken[first:end]
            # Around a burst that shows by itself, some samples more seem to be of it.
            if usual_db > MIN_USUAL_RISE_DB and free.mean() >= MIN_FREE:
                each_db = over_db[near, first:end].mean(axis=1)
                bursts.append(_burst(rows[first:end][free], near, each_db, constant_dbm[near], usual_db))
    return _peaks(air, bursts)


class _Burst(NamedTuple):
    rows: Ints
    place: float
    """In bins, as all below."""
    spread: float
    width: int
    power_dbm: float
    over_db: float


def _runs(on: Bools, same: Bools) -> Iterator[tuple[int, int]]:
    """Yields the first and the end of each run of enough samples; `same` tells which are of the visit that
    the one before is of."""
    follows = on[1:] & on[:-1] & same
    first, last = on.copy(), on.copy()
    first[1:] &= ~follows
    last[:-1] &= ~follows
    starts, ends = np.flatnonzero(first), np.flatnonzero(last) + 1
    long = ends - starts >= MIN_SAMPLES
    yield from zip(starts[long].tolist(), ends[long].tolist(), strict=True)


def _burst(rows: Ints, bins: Ints, over_db: Floats, constant_dbm: Floats, rise_db: float) -> _Burst:
    """Measures all samples of a burst together."""
    more = np.maximum(10 ** (over_db / 10) - 1, 0) * 10 ** (constant_dbm / 10) / 3
    total = max(float(more.sum()), 1e-30)
    place = float(more @ bins) / total
    variance = float(more @ (bins - place) ** 2) / total
    width = int((more > more.max() * 10 ** (-GROW_WITHIN_DB / 10)).sum())
    spread = 2 * float(np.sqrt(variance))
    return _Burst(
        rows, place, spread, width, 10 * float(np.log10(total)), min(rise_db, MIN_OVER_MEDIAN_DB - 0.5)
    )


def _peaks(air: Air, bursts: list[_Burst]) -> Peaks:
    """Returns a peak for each sample of the bursts, in order."""
    if not bursts:
        return none()
    burst_of = np.repeat(np.arange(len(bursts)), [len(each.rows) for each in bursts])
    rows = np.concatenate([each.rows for each in bursts])
    order = np.argsort(rows, kind="stable")
    rows, burst_of = rows[order], burst_of[order]
    place, spread, width, power_dbm, over_db = np.array([each[1:] for each in bursts], np.float32)[burst_of].T
    frequency_mhz = air.first_bin_mhz[rows] + place * np.float32(air.spacing_mhz)
    edge_mhz = np.minimum(place, air.dbm.shape[1] - 1 - place) * np.float32(air.spacing_mhz)
    spread_mhz, width_mhz = spread * np.float32(air.spacing_mhz), width * np.float32(air.spacing_mhz)
    cut = np.zeros(len(rows), bool)
    return Peaks(rows, frequency_mhz, frequency_mhz, spread_mhz, width_mhz, power_dbm, over_db, edge_mhz, cut)

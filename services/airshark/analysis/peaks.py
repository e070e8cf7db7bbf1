"""Finds what stands out of each sample.

Each sample is compared with its own median, so that a wrong noise floor or RSSI, which moves a sample as a
whole, does no harm, and a signal as wide as the view, such as Wi-Fi, yields no peak at all.
"""

from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Air, Bools, Floats, Ints
from services.airshark.analysis.ranks import runs
from services.airshark.domain.power import milliwatts

Numbers: TypeAlias = "npt.NDArray[np.unsignedinteger]"

PEAKS_PER_SAMPLE = 4
BINS_IN_PART = 8
MIN_OVER_MEDIAN_DB = 9.5
"""Of three bins together. Noise alone gets there in one of some thousand samples."""
GROW_WITHIN_DB = 10.0
MIN_OVER_SHOULDERS_DB = 6.0
SHOULDER_MHZ = (1.4, 2.1)
MADE_UP_OF, MIDDLE = 56, 28
"""Bins of the records whose middle bin the driver makes up, and which one that is."""
IMAGE_DB, IMAGE_MHZ = 28.0, 0.5
"""How much weaker an image is at least, and how near to the place where it should be."""
OUTSIDE = 5.0
"""By so much more power the bin on the far side has if a tone lies there."""


@dataclass(frozen=True)
class Peaks:
    """`m` peaks, ordered by sample; all arrays are (m,)."""

    row: Ints
    """Number of the sample."""
    frequency_mhz: Floats
    """Power-weighted centre."""
    fine_mhz: Floats
    """Where a single tone would lie, by the ratio of the two strongest bins."""
    spread_mhz: Floats
    """Twice the square root of the power-weighted variance."""
    width_mhz: Floats
    """What lies within 10 dB of the peak."""
    power_dbm: Floats
    """Of all that."""
    over_db: Floats
    """Strongest three bins over the sample's median."""
    edge_mhz: Floats
    """From the centre to the nearer border of the view."""
    at_edge: Bools
    """Whether it is cut off by the border of the view."""

    def __len__(self) -> int:
        return len(self.row)

    def select(self, which: "Bools | npt.NDArray[np.intp]") -> "Peaks":
        """Returns some of the peaks."""
        return Peaks(*(getattr(self, each)[which] for each in NAMES))


def strongest(peaks: Peaks, mine: Ints) -> Ints:
    """Returns the strongest of some peaks in each sample."""
    ordered = mine[np.lexsort((-peaks.power_dbm[mine], peaks.row[mine]))]
    return ordered[runs(peaks.row[ordered])[0]]


def joined(parts: list[Peaks]) -> Peaks:
    """Returns all peaks of some parts, one part after the other."""
    return Peaks(*(np.concatenate([getattr(each, name) for each in parts]) for name in NAMES))


NAMES = tuple(each.name for each in fields(Peaks))


@dataclass(frozen=True)
class Picture:
    """What peak finding learns of each sample beside the peaks."""

    median_dbm: Floats
    """Of the bins, three together; (n,)."""
    parts_dbm: Floats
    """How strong parts of the view are, of `BINS_IN_PART` each, (n, parts)."""
    smooth_dbm: dict[float, Floats]
    """Three bins together, (bins, samples of a channel), by the middle of the channel."""


def joined_pictures(parts: list[Picture]) -> Picture:
    """Joins what was learnt of samples of different times, in order."""
    smooth_dbm: dict[float, list[Floats]] = {}
    for part in parts:
        for centre, each in part.smooth_dbm.items():
            smooth_dbm.setdefault(centre, []).append(each)
    return Picture(
        np.concatenate([part.median_dbm for part in parts]),
        np.concatenate([part.parts_dbm for part in parts]),
        {centre: np.concatenate(each, axis=1) for centre, each in smooth_dbm.items()},
    )


def find_peaks(air: Air) -> tuple[Peaks, Picture]:
    """Returns the peaks of all samples."""
    # Bin after bin in memory: what is worked out for all samples at once is several times as fast.
    dbm = np.ascontiguousarray(air.dbm.T)
    linear = milliwatts(dbm)
    smooth = linear.copy()
    smooth[1:] += linear[:-1]
    smooth[:-1] += linear[1:]
    np.maximum(smooth, 1e-30, out=smooth)
    smooth_db = np.log10(smooth, out=smooth)
    smooth_db *= 10
    median = _median(smooth_db)
    parts = len(dbm) // BINS_IN_PART
    parts_dbm = dbm[: parts * BINS_IN_PART].reshape(parts, BINS_IN_PART, -1).mean(axis=1).T
    return _search(air, linear, smooth_db, median), Picture(median, parts_dbm, _by_channel(air, smooth_db))


def find_peaks_over(air: Air, rows: Ints, over_db: Floats, constant_dbm: Floats) -> Peaks:
    """Returns the peaks over what is there all the time: bursts beside a strong carrier show in no other way.

    `rows` are the samples of one channel; what is there all the time, `constant_dbm`, (bins,), is of three
    bins together, and by how much more there is as well, `over_db`, (bins, rows).
    """
    median = _median(over_db)
    shown = np.flatnonzero(over_db.max(axis=0) > median + MIN_OVER_MEDIAN_DB)
    if not len(shown):
        return none()
    part = air.select(rows[shown])
    # What is there all the time is now weaker, now stronger as a whole.
    constant = milliwatts(constant_dbm[:, None] + median[shown]) / 3
    linear = np.maximum(milliwatts(np.ascontiguousarray(part.dbm.T)) - constant, 1e-30)
    peaks = _search(part, linear, over_db.take(shown, axis=1), median[shown])
    return replace(peaks, row=rows[shown][peaks.row])


def _by_channel(air: Air, by_bin: Floats) -> dict[float, Floats]:
    """Returns the columns of the samples of each channel."""
    if len(air.channels) == 1:
        return dict.fromkeys(air.channels, by_bin)
    return {centre: by_bin.take(rows, axis=1) for centre, rows in air.channels.items()}


def _median(smooth_db: Floats) -> Floats:
    # Bins that are of three together tell hardly more than every other one of them.
    some = np.ascontiguousarray(smooth_db[::2].T)
    some.sort(axis=1)
    middle: Floats = some[:, some.shape[1] // 2]
    return middle


def _search(air: Air, linear: Floats, smooth_db: Floats, median: Floats) -> Peaks:
    """Returns the peaks of samples of which power and level are (bins, n)."""
    found: list[Peaks] = []
    bins = numbers(len(smooth_db))
    # Of the samples that may have another peak: which they are, their levels, and those of bins without one.
    rows, own_db, power, usual_db, left_db = np.arange(len(air)), smooth_db, linear, median, smooth_db
    for number in range(PEAKS_PER_SAMPLE):
        level = left_db.max(axis=0)
        go = level > usual_db + MIN_OVER_MEDIAN_DB
        if not go.all():
            on = np.flatnonzero(go)
            rows, level, usual_db = rows[on], level[on], usual_db[on]
            own_db, power, left_db = (each.take(on, axis=1) for each in (own_db, power, left_db))
        elif not number:
            left_db = own_db.copy()
        if not len(rows):
            break
        top = _first(left_db == level, bins)
        inside = _grow(own_db, top, level, bins)
        if found:
            # The strongest one cannot be the skirt of another within the view, nor hang together with one.
            alone = ~(inside & (own_db > level)).any(axis=0)
            on = np.flatnonzero(alone & _stands_out(own_db, top, level, air.spacing_mhz))
            mine = inside.take(on, axis=1)
            part = power.take(on, axis=1) * mine
            found.append(measure(air, rows[on], part, mine, level[on] - usual_db[on]))
        else:
            found.append(measure(air, rows, power * inside, inside, level - usual_db))
        left_db[inside | (bins + 2 >= top) & (bins <= top + 2)] = -np.inf
    if not found:
        return none()
    peaks = joined(found)
    peaks = peaks.select(np.argsort(peaks.row, kind="stable"))
    return peaks.select(~_images(air, peaks))


def numbers(count: int) -> Numbers:
    """Returns the numbers of bins, (bins, 1), in as few bytes as all sums and differences below need."""
    kind: npt.DTypeLike = np.uint8 if count < 250 else np.uint16
    found: Numbers = np.arange(count, dtype=kind)[:, None]
    return found


def _first(which: Bools, bins: Numbers) -> Numbers:
    """Returns the lowest bin of each sample that is one of some; `which` is (bins, n)."""
    count = bins.dtype.type(len(bins))
    lowest: Numbers = count - (which * (count - bins)).max(axis=0)
    return lowest


def _images(air: Air, peaks: Peaks) -> Bools:
    """Tells which peaks the radio makes itself, on the other side of the middle, of a much stronger one in
    the same sample."""
    off_mhz = peaks.frequency_mhz - air.centre_mhz[peaks.row]
    images = np.zeros(len(peaks), bool)
    # The peaks of a sample lie side by side.
    for distance in range(1, min(PEAKS_PER_SAMPLE, len(peaks))):
        now, then = slice(distance, None), slice(None, -distance)
        mirrored = peaks.row[now] == peaks.row[then]
        mirrored &= np.abs(off_mhz[now] + off_mhz[then]) < IMAGE_MHZ
        stronger_db = peaks.power_dbm[then] - peaks.power_dbm[now]
        images[now] |= mirrored & (stronger_db > IMAGE_DB)
        images[then] |= mirrored & (-stronger_db > IMAGE_DB)
    return images


def _grow(smooth_db: Floats, top: Numbers, level: Floats, bins: Numbers) -> Bools:
    """Returns which bins hang together with the peak and lie within 10 dB of it."""
    low = smooth_db < level - GROW_WITHIN_DB
    first = ((low & (bins < top)) * (bins + 1)).max(axis=0)
    end = _first(low & (bins > top), bins)
    inside: Bools = (bins >= first) & (bins < end)
    return inside


def _stands_out(smooth_db: Floats, top: Numbers, level: Floats, spacing: float) -> Bools:
    """Tells peaks from the skirts of stronger ones: both shoulders must be lower."""
    last, count = len(smooth_db) - 1, len(top)
    near, far = shoulder_bins(spacing)
    off = np.arange(near, far + 1)
    at = top.astype(np.intp) + np.concatenate((-off, off))[:, None]
    value = smooth_db.take(np.clip(at, 0, last) * count + np.arange(count))
    value[(at < 0) | (at > last)] = np.inf
    lowest = value.reshape(2, len(off), count).min(axis=1)
    # At the border of the band one shoulder must do.
    result: Bools = (np.isinf(lowest) | (lowest < level - MIN_OVER_SHOULDERS_DB)).all(axis=0)
    return result


def shoulder_bins(spacing_mhz: float) -> tuple[int, int]:
    """Returns how many bins from a peak its shoulders begin and end."""
    near, far = (max(2, round(each / spacing_mhz)) for each in SHOULDER_MHZ)
    return near, far


def measure(air: Air, rows: "npt.NDArray[np.intp]", part: Floats, inside: Bools, over_db: Floats) -> Peaks:
    """Returns one peak of each of some samples: `part`, (bins, n), is the power of its bins, which are
    `inside`, and 0 elsewhere."""
    bins = numbers(len(part))
    total = part.sum(axis=0)
    axis = bins.astype(np.float32)
    moment = part * axis
    mean = moment.sum(axis=0) / total
    moment *= axis
    variance = np.maximum(moment.sum(axis=0) / total - mean**2, 0)
    fine = _tone(part, _first(part == part.max(axis=0), bins).astype(np.intp))
    return Peaks(
        rows,
        air.first_bin_mhz[rows] + mean * air.spacing_mhz,
        air.first_bin_mhz[rows] + fine.astype(np.float32) * air.spacing_mhz,
        2 * np.sqrt(variance) * air.spacing_mhz,
        inside.sum(axis=0, dtype=np.uint16) * np.float32(air.spacing_mhz),
        10 * np.log10(total),
        over_db,
        np.minimum(mean, len(bins) - 1 - mean) * air.spacing_mhz,
        inside[0] | inside[-1],
    )


def _tone(part: Floats, strongest: "npt.NDArray[np.intp]") -> Floats:
    """Returns where a single tone would lie, in bins."""
    each, last = np.arange(len(strongest)), len(part) - 1
    top = part[strongest, each]
    below, above = part[np.maximum(strongest - 1, 0), each], part[np.minimum(strongest + 1, last), each]
    ratio = np.sqrt(np.maximum(below, above) / top)
    offset: Floats = np.where(above > below, 1, -1) * ratio / (1 + ratio)
    if len(part) == MADE_UP_OF:
        # The driver makes the middle bin up of its neighbours: a tone near it shows in these alone.
        mine = np.flatnonzero(np.abs(strongest - MIDDLE) == 1)
        side = strongest[mine] - MIDDLE
        outer, other = part[MIDDLE + 2 * side, mine], part[MIDDLE - side, mine]
        across, away = np.sqrt(other / top[mine]), np.sqrt(outer / top[mine])
        beyond, between = away / (1 + away), -2 * across / (1 + across)
        offset[mine] = side * np.where(outer > OUTSIDE * other, beyond, between)
    return strongest + offset


def none() -> Peaks:
    """Returns no peaks."""
    empty = np.zeros(0, np.float32)
    return Peaks(np.zeros(0, np.int64), empty, empty, empty, empty, empty, empty, empty, np.zeros(0, bool))

"""Finds what stands out of each sample.

Each sample is compared with its own median, so that a wrong noise floor or RSSI, which moves a sample as a
whole, does no harm, and a signal as wide as the view, such as Wi-Fi, yields no peak at all.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Air, Bools, Floats, Ints

PEAKS_PER_SAMPLE = 4
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


def joined(parts: list[Peaks]) -> Peaks:
    """Returns all peaks of some parts, one part after the other."""
    return Peaks(*(np.concatenate([getattr(each, name) for each in parts]) for name in NAMES))


NAMES = tuple(each.name for each in fields(Peaks))


@dataclass(frozen=True)
class Picture:
    """What peak finding learns of each sample beside the peaks; all arrays are (n,)."""

    median_dbm: Floats
    """Of the bins, three together."""
    smooth_dbm: Floats
    """(n, bins), three bins together."""


def find_peaks(air: Air) -> tuple[Peaks, Picture]:
    """Returns the peaks of all samples."""
    linear = milliwatts(air.dbm)
    smooth = linear.copy()
    smooth[:, 1:] += linear[:, :-1]
    smooth[:, :-1] += linear[:, 1:]
    np.maximum(smooth, 1e-30, out=smooth)
    smooth_db = 10 * np.log10(smooth)
    median = _median(smooth_db)
    return _search(air, linear, smooth_db, median), Picture(median, smooth_db)


def find_peaks_over(air: Air, rows: Ints, over_db: Floats, constant_dbm: Floats) -> Peaks:
    """Returns the peaks over what is there all the time: bursts beside a strong carrier show in no other way.

    `rows` are the samples of one channel; what is there all the time, `constant_dbm`, (bins,), is of three
    bins together, and by how much more there is as well, `over_db`, (rows, bins).
    """
    median = _median(over_db)
    shown = np.flatnonzero(over_db.max(axis=1) > median + MIN_OVER_MEDIAN_DB)
    if not len(shown):
        return none()
    part = air.select(rows[shown])
    # What is there all the time is now weaker, now stronger as a whole.
    constant = milliwatts(constant_dbm[None, :] + median[shown, None]) / 3
    linear = np.maximum(milliwatts(part.dbm) - constant, 1e-30)
    peaks = _search(part, linear, over_db[shown], median[shown])
    return replace(peaks, row=rows[shown][peaks.row])


def milliwatts(dbm: Floats) -> Floats:
    """Returns power on a linear scale."""
    linear: Floats = np.exp(dbm * np.float32(np.log(10) / 10))
    return linear


def _median(smooth_db: Floats) -> Floats:
    # Bins that are of three together tell hardly more than every other one of them.
    some = smooth_db[:, ::2]
    half = some.shape[1] // 2
    middle: Floats = np.partition(some, half, axis=1)[:, half]
    return middle


def _search(air: Air, linear: Floats, smooth_db: Floats, median: Floats) -> Peaks:
    found: list[Peaks] = []
    bins = np.arange(smooth_db.shape[1], dtype=np.int16)
    # Of the samples that may have another peak: which they are, their levels, and those of bins without one.
    rows, own_db, power, usual_db, left_db = np.arange(len(air)), smooth_db, linear, median, smooth_db
    for number in range(PEAKS_PER_SAMPLE):
        top = left_db.argmax(axis=1)
        level = left_db[np.arange(len(top)), top]
        go = level > usual_db + MIN_OVER_MEDIAN_DB
        if not go.all():
            rows, own_db, power, usual_db, left_db = (
                each[go] for each in (rows, own_db, power, usual_db, left_db)
            )
            top, level = top[go], level[go]
        if not len(rows):
            break
        if not number:
            left_db = own_db.copy()
        inside = _grow(own_db, top, level, bins)
        genuine = np.ones(len(rows), bool)
        if found:
            # The strongest one cannot be the skirt of another within the view, nor hang together with one.
            alone = ~(inside & (own_db > level[:, None])).any(axis=1)
            genuine = alone & _stands_out(own_db, top, level, air.spacing_mhz)
        found.append(measure(air, rows, power * inside, inside, level - usual_db, bins).select(genuine))
        left_db[inside | (np.abs(bins - top[:, None].astype(np.int16)) <= 2)] = -np.inf
    if not found:
        return none()
    peaks = joined(found)
    peaks = peaks.select(np.argsort(peaks.row, kind="stable"))
    return peaks.select(~_images(air, peaks))


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


def _grow(
    smooth_db: Floats, top: "npt.NDArray[np.intp]", level: Floats, bins: "npt.NDArray[np.int16]"
) -> Bools:
    """Returns which bins hang together with the peak and lie within 10 dB of it."""
    low = smooth_db < (level - GROW_WITHIN_DB)[:, None]
    at = top[:, None].astype(np.int16)
    lower = np.where(low & (bins < at), bins, np.int16(-1)).max(axis=1)
    upper = np.where(low & (bins > at), bins, np.int16(len(bins))).min(axis=1)
    inside: Bools = (bins > lower[:, None]) & (bins < upper[:, None])
    return inside


def _stands_out(smooth_db: Floats, top: "npt.NDArray[np.intp]", level: Floats, spacing: float) -> Bools:
    """Tells peaks from the skirts of stronger ones: both shoulders must be lower."""
    count = smooth_db.shape[1]
    near, far = shoulder_bins(spacing)
    result = np.ones(len(top), bool)
    for sign in (-1, 1):
        at = top[:, None] + sign * np.arange(near, far + 1)
        value = np.take_along_axis(smooth_db, np.clip(at, 0, count - 1), axis=1)
        lowest = np.where((at >= 0) & (at < count), value, np.float32(np.inf)).min(axis=1)
        # At the border of the band one shoulder must do.
        result &= ~np.isfinite(lowest) | (lowest < level - MIN_OVER_SHOULDERS_DB)
    return result


def shoulder_bins(spacing_mhz: float) -> tuple[int, int]:
    """Returns how many bins from a peak its shoulders begin and end."""
    near, far = (max(2, round(each / spacing_mhz)) for each in SHOULDER_MHZ)
    return near, far


def measure(
    air: Air,
    rows: "npt.NDArray[np.intp]",
    part: Floats,
    inside: Bools,
    over_db: Floats,
    bins: "npt.NDArray[np.int16]",
) -> Peaks:
    """Returns one peak of each of some samples: `part` is the power of its bins, which are `inside`, and 0
    elsewhere."""
    total = part.sum(axis=1)
    axis = bins.astype(np.float32)
    mean = part @ axis / total
    strongest = part.argmax(axis=1)
    fine = strongest + _offset(part, strongest)
    variance = np.maximum(part @ axis**2 / total - mean**2, 0)
    return Peaks(
        rows,
        air.first_bin_mhz[rows] + mean * air.spacing_mhz,
        air.first_bin_mhz[rows] + fine.astype(np.float32) * air.spacing_mhz,
        2 * np.sqrt(variance) * air.spacing_mhz,
        inside.sum(axis=1) * np.float32(air.spacing_mhz),
        10 * np.log10(total),
        over_db,
        np.minimum(mean, len(bins) - 1 - mean) * air.spacing_mhz,
        inside[:, 0] | inside[:, -1],
    )


def _offset(part: Floats, strongest: "npt.NDArray[np.intp]") -> Floats:
    """Returns where a single tone lies from the strongest bin, in bins."""
    each, last = np.arange(len(part)), part.shape[1] - 1
    top = part[each, strongest]
    below, above = part[each, np.maximum(strongest - 1, 0)], part[each, np.minimum(strongest + 1, last)]
    ratio = np.sqrt(np.maximum(below, above) / top)
    offset: Floats = np.where(above > below, 1, -1) * ratio / (1 + ratio)
    if part.shape[1] != MADE_UP_OF:
        return offset
    for side in (-1, 1):
        # The driver makes the middle bin up of its neighbours: a tone near it shows in these alone.
        rows = np.flatnonzero(strongest == MIDDLE + side)
        outer, other = part[rows, MIDDLE + 2 * side], part[rows, MIDDLE - side]
        across, away = np.sqrt(other / top[rows]), np.sqrt(outer / top[rows])
        beyond = side * away / (1 + away)
        offset[rows] = np.where(outer > OUTSIDE * other, beyond, -side * 2 * across / (1 + across))
    return offset


def none() -> Peaks:
    """Returns no peaks."""
    empty = np.zeros(0, np.float32)
    return Peaks(np.zeros(0, np.int64), empty, empty, empty, empty, empty, empty, empty, np.zeros(0, bool))

"""Finds pictures beneath stronger carriers: where a picture has moved its tone away from the carrier, samples
show it beside that, now here, now there, but equally strong and at all times."""

import numpy as np

from services.airshark.analysis.air import Air, Bools, Floats, Ints
from services.airshark.analysis.carrier import CAMERAS_MHZ, CarrierSeen
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.peaks import Peaks
from services.airshark.analysis.ranks import densest, percentiles

MIN_SAMPLES, MIN_SHOWN, MIN_SHARE = 200, 30, 0.04
"""Of the channel, and in how many samples, and in which share of them, it shows."""
MIN_PRESENCE = 0.8
"""Of the carrier."""
ON_CARRIER_MHZ, REACH_MHZ, FAR_MHZ, BORDER_MHZ = 0.8, 4.0, 5.5, 0.5
"""So near to a carrier it is hidden, and so far from it it may be; beyond the third of these it is not."""
STRONGER_DB, MAX_BELOW_DB = 3.0, 20.0
"""Little stronger than the carrier at most, and no weaker than its skirts may be."""
MIN_DENSER = 4.0
"""So many times as many peaks are near the carrier as far from it: what hops is everywhere."""
MAX_POWERS_DB, MIN_PLACES_MHZ, MOST_IN_PLACE, PLACE_MHZ = 6.0, 1.2, 0.5, 0.5
"""How far a quarter and three quarters of its powers are apart, a tenth and nine tenths of its places, and
which share of it is in one place: a product of the radio is always there."""
SLICE, MAX_UNEVEN = 40, 1.8
"""How much the number of times that it shows varies over slices of so many samples, by chance 1: bursts come
and go."""
NEAR_CAMERA_MHZ = 2.5
CERTAIN_SHARE, CONFIDENCE = 0.1, 0.8


def find_beneath(air: Air, peaks: Peaks, carriers: list[CarrierSeen]) -> list[Found]:
    """Returns at most one picture: that which shows most often."""
    found = []
    of_centre = air.centre_mhz[peaks.row]
    for centre, rows in air.channels.items():
        narrow = [
            each
            for each in carriers
            if each.centre_mhz == centre and not each.broad and each.presence > MIN_PRESENCE
        ]
        if not narrow or len(rows) < MIN_SAMPLES:
            continue
        here = peaks.select(of_centre == centre)
        free = np.ones(len(here), bool)
        for each in narrow:
            free &= np.abs(here.frequency_mhz - each.frequency_mhz) > ON_CARRIER_MHZ
        here = here.select(free)
        found += [one for each in narrow if (one := _beneath(air, rows, here, each)) is not None]
    return sorted(found, key=lambda each: -each.features["share"])[:1]


def _beneath(air: Air, rows: Ints, peaks: Peaks, carrier: CarrierSeen) -> Found | None:
    """Returns the picture beneath one carrier of a channel, of whose `peaks` no carrier is one."""
    off_mhz = peaks.frequency_mhz - carrier.frequency_mhz
    near = (np.abs(off_mhz) < REACH_MHZ) & (peaks.power_dbm < carrier.power_dbm + STRONGER_DB)
    shown = np.unique(peaks.row[near])
    share = len(shown) / len(rows)
    if len(shown) < MIN_SHOWN or share < MIN_SHARE or not _is_denser(air, carrier, off_mhz, near):
        return None
    low_dbm, usual_dbm, high_dbm = percentiles(peaks.power_dbm[near], 25, 50, 75)
    first_mhz, last_mhz = percentiles(peaks.frequency_mhz[near], 10, 90)
    if (
        high_dbm - low_dbm > MAX_POWERS_DB
        or usual_dbm < carrier.power_dbm - MAX_BELOW_DB
        or last_mhz - first_mhz < MIN_PLACES_MHZ
        or densest(np.sort(peaks.frequency_mhz[near]), PLACE_MHZ)[1] > MOST_IN_PLACE * near.sum()
        or _unevenness(np.searchsorted(rows, shown), len(rows)) > MAX_UNEVEN
    ):
        return None
    times = air.time_s[shown]
    return Found(
        device=Device.ANALOG_VIDEO,
        confidence=CONFIDENCE,
        certain=share > CERTAIN_SHARE,
        center_mhz=_middle_mhz(first_mhz, last_mhz),
        bandwidth_mhz=last_mhz - first_mhz,
        rssi_dbm=usual_dbm,
        duty_cycle=1.0,
        first_s=float(times[0]),
        last_s=float(times[-1]),
        tolerance_mhz=2.0,
        beneath=True,
        features={"share": share, "below_db": carrier.power_dbm - usual_dbm},
    )


def _middle_mhz(first_mhz: float, last_mhz: float) -> float:
    """Returns where the picture is of which some places show: around the carrier nothing of it is seen."""
    shown_mhz = (first_mhz + last_mhz) / 2
    camera_mhz = min(CAMERAS_MHZ, key=lambda each: abs(each - shown_mhz))
    return camera_mhz if abs(camera_mhz - shown_mhz) < NEAR_CAMERA_MHZ else shown_mhz


def _is_denser(air: Air, carrier: CarrierSeen, off_mhz: Floats, near: Bools) -> bool:
    """Tells whether there are far more of the peaks near the carrier than far from it, for each MHz."""
    bins_mhz = air.bins_mhz(carrier.centre_mhz) - carrier.frequency_mhz
    first_mhz, last_mhz = bins_mhz[0] + BORDER_MHZ, bins_mhz[-1] - BORDER_MHZ
    near_mhz = min(last_mhz, REACH_MHZ) - max(first_mhz, -REACH_MHZ) - 2 * ON_CARRIER_MHZ
    far_mhz = max(last_mhz - FAR_MHZ, 0.0) + max(-FAR_MHZ - first_mhz, 0.0)
    far = int((np.abs(off_mhz) > FAR_MHZ).sum()) + 1
    return bool(near.sum() / max(near_mhz, 1.0) > MIN_DENSER * far / max(far_mhz, 1.0))


def _unevenness(shown: Ints, count: int) -> float:
    """Returns the variance of how often something shows in each slice of some samples, over what it is by
    chance."""
    slices = count // SLICE
    often = np.bincount(np.minimum(shown // SLICE, slices - 1), minlength=slices)
    return float(often.var() / often.mean())

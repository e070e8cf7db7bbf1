"""Finds pictures in scans that give each channel a few samples: several channels show the same carrier."""

import numpy as np

from services.airshark.analysis.air import Air
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.peaks import Peaks
from services.airshark.analysis.ranks import densest

MAX_SAMPLES_PER_CHANNEL = 30
"""With more, a channel alone shows its carriers."""
MIN_CHANNELS = 3
MIN_VISIBLE = 20
REACH_MHZ = 0.8
MIN_PRESENCE = 0.5
MIN_PRESENCE_PER_CHANNEL = 0.45
PICTURE_MHZ = 0.13
DC_MHZ = 0.7
EDGE_MHZ = 1.0
CONFIDENCE = 0.8


def find_in_scans(air: Air, peaks: Peaks) -> list[Found]:
    """Returns at most one picture carrier that no channel showed alone."""
    counts = np.array([len(rows) for rows in air.channels.values()])
    if len(counts) < MIN_CHANNELS or np.median(counts) > MAX_SAMPLES_PER_CHANNEL:
        return []
    from_centre = np.abs(peaks.frequency_mhz - air.centre_mhz[peaks.row])
    # The middle bin is made up by the driver, and shows what the radio itself leaks.
    free = np.flatnonzero(from_centre > DC_MHZ)
    if len(free) < MIN_VISIBLE * MIN_PRESENCE:
        return []
    frequency = np.sort(peaks.frequency_mhz[free])
    at, most = densest(frequency, 2 * REACH_MHZ)
    centre = float(np.median(frequency[at : at + most]))
    last = air.first_bin_mhz + (air.dbm.shape[1] - 1) * air.spacing_mhz
    visible = (air.first_bin_mhz + EDGE_MHZ < centre) & (centre < last - EDGE_MHZ)
    visible &= np.abs(air.centre_mhz - centre) > DC_MHZ
    mine = free[np.abs(peaks.frequency_mhz[free] - centre) < REACH_MHZ]
    mine = mine[visible[peaks.row[mine]]]
    seen = np.zeros(len(air), bool)
    seen[peaks.row[mine]] = True
    if visible.sum() < MIN_VISIBLE or seen.sum() < MIN_PRESENCE * visible.sum():
        return []
    shares = [seen[rows[visible[rows]]] for rows in air.channels.values()]
    if sum(len(each) > 0 and each.mean() >= MIN_PRESENCE_PER_CHANNEL for each in shares) < MIN_CHANNELS:
        return []
    low, high = np.percentile(peaks.frequency_mhz[mine], (15, 85))
    wander = float(high - low) / 2.07
    if wander < PICTURE_MHZ:
        return []
    times = air.time_s[np.flatnonzero(seen)]
    return [
        Found(
            device=Device.ANALOG_VIDEO,
            confidence=CONFIDENCE,
            certain=True,
            center_mhz=centre,
            bandwidth_mhz=float(np.median(peaks.width_mhz[mine])),
            rssi_dbm=float(np.median(peaks.power_dbm[mine])),
            duty_cycle=1.0,
            first_s=float(times[0]),
            last_s=float(times[-1]),
            tolerance_mhz=2.0,
            features={
                "wander_mhz": wander,
                "presence": float(seen.sum() / visible.sum()),
                "over_db": float(np.median(peaks.over_db[mine])),
                "channels": float(len({float(each) for each in air.centre_mhz[seen]})),
            },
        )
    ]

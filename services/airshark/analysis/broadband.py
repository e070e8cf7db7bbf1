"""Finds noise over a broad part of the band that never ends."""

import numpy as np

from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.ranks import median, percentiles
from services.airshark.analysis.scene import Scene

THERMAL_DBM_PER_MHZ = -108.0
MIN_OVER_THERMAL_DB = 16.0
MAX_SWING_DB = 8.0
HIGHEST_NOISE_DBM = -80.0
"""A driver that reports a higher noise floor has measured a transmitter instead; its levels are not
believed."""
MIN_SAMPLES = 50
MAX_PEAK_DB = 11.0
"""Noise is flat in each sample; the skirts of strong carriers are not."""
GAP_MHZ, SKIRT_DB = 12.0, 6.0
MIN_TOTAL_STEPS = 3
"""An RSSI that takes fewer values is stuck, and with it the levels."""


def find_jammer(scene: Scene) -> list[Found]:
    """Returns a jammer if channels are filled with even noise all the time."""
    air = scene.air
    channels, powers, rows_of = [], [], []
    quiet_db = MIN_OVER_THERMAL_DB + THERMAL_DBM_PER_MHZ + 10 * np.log10(3 * air.spacing_mhz)
    for centre, rows in air.channels.items():
        if len(rows) < MIN_SAMPLES or air.noise_dbm[rows].max() > HIGHEST_NOISE_DBM:
            continue
        median_dbm = scene.picture.median_dbm[rows]
        low, high = percentiles(median_dbm, 2, 95)
        if low <= quiet_db or high - low >= MAX_SWING_DB:
            continue
        peak_db = median(scene.picture.smooth_dbm[centre].max(axis=0) - median_dbm)
        stuck = len(np.unique(air.total_dbm[rows])) < MIN_TOTAL_STEPS
        if peak_db < MAX_PEAK_DB and not stuck and not _near_carrier(scene, centre):
            channels.append(centre)
            powers.append(median(air.total_dbm[rows]))
            rows_of.append(rows)
    if not channels:
        return []
    view_mhz = air.dbm.shape[1] * air.spacing_mhz
    width = max(channels) - min(channels) + view_mhz
    rows = np.sort(np.concatenate(rows_of))
    over = max(powers) - quiet_db
    return [
        Found(
            device=Device.JAMMER,
            confidence=float(np.clip(0.7 + over / 100, 0.7, 0.97)),
            certain=len(rows) > 200,
            center_mhz=(max(channels) + min(channels)) / 2,
            bandwidth_mhz=width,
            rssi_dbm=max(powers),
            duty_cycle=1.0,
            first_s=float(air.time_s[rows[0]]),
            last_s=float(air.time_s[rows[-1]]),
            tolerance_mhz=100.0,
            features={"over_quiet_db": over},
        )
    ]


def _lifts(carrier: CarrierSeen, centre: float, power_dbm: float) -> bool:
    """Tells whether a channel's power may be the skirts of a carrier between this channel and the next."""
    near = abs(carrier.frequency_mhz - centre) < GAP_MHZ
    return near and not carrier.broad and carrier.power_dbm > power_dbm - SKIRT_DB


def _near_carrier(scene: Scene, centre: float) -> bool:
    """Tells whether a carrier may lift the whole channel by its skirts: on the channel, or beside it."""
    power_dbm = median(scene.air.total_dbm[scene.air.channels[centre]])
    return any(
        each.power_dbm > power_dbm
        or _lifts(each, centre, power_dbm)
        or (each.centre_mhz == centre and each.over_db > 14)
        for each in scene.carriers
    )

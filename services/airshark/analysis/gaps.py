"""Finds music on a carrier that lies just between what two neighbouring channels of the radio show.

Both see its skirt in their outermost bins. The skirt is steep there, so that a frequency that moves becomes a
level that moves; a carrier that stands still leaves nothing to tell its kind by.
"""

from itertools import pairwise

import numpy as np

from services.airshark.analysis.carriers import CarrierSeen
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.scene import Scene

EDGE_MHZ = 0.5
WIDEST_GAP_MHZ = 3.5
MIN_PRESENCE = 0.85
MIN_WANDER_MHZ = 0.08
OTHERS_MHZ = 2.5
SAME_DB = 25.0
CONFIDENCE = 0.65


def find_in_gaps(scene: Scene, believed: list[CarrierSeen]) -> list[Found]:
    """Returns the music between channels; `believed` are the carriers that lie within one."""
    channels = np.unique(scene.air.centre_mhz)
    found = []
    for lower, upper in pairwise(channels):
        below, above = _at_edge(scene, float(lower), 1), _at_edge(scene, float(upper), -1)
        if below is None or above is None:
            continue
        width = above.frequency_mhz - below.frequency_mhz
        middle = (above.frequency_mhz + below.frequency_mhz) / 2
        moves = max(below.wander_mhz, above.wander_mhz) > MIN_WANDER_MHZ
        alone = all(abs(each.frequency_mhz - middle) > OTHERS_MHZ for each in believed)
        same = abs(below.power_dbm - above.power_dbm) < SAME_DB
        if 0 < width < WIDEST_GAP_MHZ and moves and alone and same:
            found.append(_found(scene, below, above, middle))
    return found


def _at_edge(scene: Scene, centre_mhz: float, side: int) -> CarrierSeen | None:
    """Returns what is steady in the outermost bins of a channel, on one side."""
    return next(
        (
            each
            for each in scene.carriers
            if each.centre_mhz == centre_mhz
            and side * (each.frequency_mhz - centre_mhz) > 0
            and each.edge_mhz < EDGE_MHZ
            and each.presence > MIN_PRESENCE
            and each.steady
        ),
        None,
    )


def _found(scene: Scene, below: CarrierSeen, above: CarrierSeen, middle_mhz: float) -> Found:
    stronger = max(below, above, key=lambda each: each.power_dbm)
    times = scene.air.time_s[scene.air.centre_mhz == stronger.centre_mhz]
    return Found(
        device=Device.ANALOG_AUDIO,
        confidence=CONFIDENCE,
        certain=False,
        center_mhz=middle_mhz,
        bandwidth_mhz=scene.air.spacing_mhz,
        rssi_dbm=stronger.power_dbm,
        duty_cycle=1.0,
        first_s=float(times[0]),
        last_s=float(times[-1]),
        tolerance_mhz=1.5,
        features={
            "wander_mhz": stronger.wander_mhz,
            "swing_db": stronger.power_swing_db,
            "over_db": stronger.over_db,
            "gap_mhz": above.frequency_mhz - below.frequency_mhz,
        },
    )

"""Finds music on a carrier that lies just between what two neighbouring channels of the radio show.

Both see its skirt in their outermost bins. The skirt is steep there, so that a frequency that moves becomes a
level that moves; a carrier that stands still leaves nothing to tell its kind by.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.airshark.analysis.carriers import CarrierSeen
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.scene import Scene

EDGE_MHZ = 0.5
WIDEST_GAP_MHZ = 3.5
MIN_PRESENCE = 0.85
MIN_WANDER_MHZ, MIN_SWING_DB, STILL_SWING_DB = 0.08, 5.5, 4.0
CLEAR_DB = 15.0
UNCERTAIN_DB = (MIN_SWING_DB + STILL_SWING_DB) / 2
OTHERS_MHZ = 2.5
SAME_DB = 40.0
CONFIDENCE = 0.65


@dataclass(frozen=True)
class Between:
    """Something steady between two channels, as each of them sees it."""

    below: CarrierSeen
    above: CarrierSeen

    @property
    def middle_mhz(self) -> float:
        """Where it is."""
        return (self.above.frequency_mhz + self.below.frequency_mhz) / 2

    def shows_as(self, carrier: CarrierSeen) -> bool:
        """Whether a carrier at the border of a channel is only what can be seen of this."""
        return carrier.edge_mhz < EDGE_MHZ and abs(carrier.frequency_mhz - self.middle_mhz) < OTHERS_MHZ

    @property
    def moves(self) -> bool:
        """Whether its frequency moves as music moves it: in a skirt, its level."""
        return self._wander_mhz > MIN_WANDER_MHZ or self._swing_db > MIN_SWING_DB

    @property
    def stands_still(self) -> bool:
        """Whether nothing moves it."""
        return not self.moves and self._swing_db < STILL_SWING_DB

    @property
    def _wander_mhz(self) -> float:
        return max(self.below.wander_mhz, self.above.wander_mhz)

    @property
    def _swing_db(self) -> float:
        clear = [each.power_swing_db for each in (self.below, self.above) if each.over_db > CLEAR_DB]
        return max(clear, default=UNCERTAIN_DB)


def between_channels(scene: Scene, believed: list[CarrierSeen]) -> list[Between]:
    """Returns the carriers that lie between channels; `believed` are those that lie within one."""
    found = []
    for lower, upper in pairwise(np.unique(scene.air.centre_mhz)):
        below, above = _at_edge(scene, float(lower), 1), _at_edge(scene, float(upper), -1)
        if below is None or above is None:
            continue
        gap = Between(below, above)
        alone = all(
            abs(each.frequency_mhz - gap.middle_mhz) > OTHERS_MHZ or each.edge_mhz < EDGE_MHZ
            for each in believed
        )
        same = abs(below.power_dbm - above.power_dbm) < SAME_DB
        if 0 < above.frequency_mhz - below.frequency_mhz < WIDEST_GAP_MHZ and alone and same:
            found.append(gap)
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


def found_music(scene: Scene, gap: Between) -> Found:
    """Returns the audio sender that moves a carrier between channels; a bare one there may be anything."""
    stronger = max(gap.below, gap.above, key=lambda each: each.power_dbm)
    times = scene.air.time_s[scene.air.centre_mhz == stronger.centre_mhz]
    return Found(
        device=Device.ANALOG_AUDIO,
        confidence=CONFIDENCE,
        certain=False,
        center_mhz=gap.middle_mhz,
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
            "gap_mhz": gap.above.frequency_mhz - gap.below.frequency_mhz,
        },
    )

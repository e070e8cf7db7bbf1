"""Finds carriers that lie at the border of what a channel of the radio shows, or just beyond.

That channel and the next one see its skirt in their outermost bins. The skirt is steep there, so that a
frequency that moves becomes a level that moves. Of one that stands still no more can be said than that it is
there.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.scene import Scene

EDGE_MHZ = 0.5
WIDEST_GAP_MHZ = 3.5
MIN_PRESENCE, MAX_SWING_DB = 0.6, 14.0
"""Music that moves a skirt by so much takes it out of sight now and then."""
MIN_WANDER_MHZ, MIN_SWING_DB, MIN_SILENCE = 0.08, 5.5, 0.05
MIN_SKIRT_MHZ, STRONG_DB = 0.02, 25.0
"""Speech moves a phone by less, and noise what is strong; of what lies outside, the bins show a part."""
CLEAR_DB = 12.0
SKIRT_OVER_DB, SKIRT_SPREAD_MHZ, SKIRT_SWING_DB, SKIRT_SILENCE = 18.0, 1.0, 8.0, 0.1
SKIRT_BELOW_DB, SKIRT_EDGE_MHZ = 10.0, 1.2
OTHERS_MHZ = 2.5
SAME_DB = 40.0
CONFIDENCE = 0.65


@dataclass(frozen=True)
class Between:
    """Something steady at the border of a channel, or between two, as each of them sees it."""

    views: list[CarrierSeen]

    @property
    def middle_mhz(self) -> float:
        """Where it is."""
        return float(np.mean([each.frequency_mhz for each in self.views]))

    @property
    def power_dbm(self) -> float:
        """Of the channel that sees more of it."""
        return max(each.power_dbm for each in self.views)

    def shows_as(self, carrier: CarrierSeen) -> bool:
        """Whether a carrier near the border of a channel is only what can be seen of this."""
        weaker = carrier.power_dbm < self.power_dbm - SKIRT_BELOW_DB
        near = abs(carrier.frequency_mhz - self.middle_mhz) < OTHERS_MHZ
        return near and (carrier.edge_mhz < EDGE_MHZ or (weaker and carrier.edge_mhz < SKIRT_EDGE_MHZ))

    @property
    def moves(self) -> bool:
        """Whether its frequency moves as music moves it: in a skirt its level, or what the bins differ by."""
        in_bins = any(
            each.outermost and each.over_db > STRONG_DB and each.skirt_mhz > MIN_SKIRT_MHZ
            for each in self.views
        )
        return in_bins or any(
            each.wander_mhz > MIN_WANDER_MHZ
            or each.power_swing_db > MIN_SWING_DB
            or each.silence > MIN_SILENCE
            for each in self.views
            if each.over_db > CLEAR_DB
        )


def between_channels(scene: Scene, believed: list[CarrierSeen]) -> list[Between]:
    """Returns the carriers at the borders of channels, or between them; `believed` have more than a skirt."""
    found = []
    for lower, upper in pairwise([None, *scene.air.channels, None]):
        sides = (_at_edge(scene, lower, 1), _at_edge(scene, upper, -1))
        views = [each for each in sides if each is not None]
        if len(views) < 2 or not _show_one(*views):
            # One view is enough of what is strong at the very border, or a skirt that only music moves so.
            views = [
                each
                for each in views
                if each.outermost and (any(each is one for one in believed) or _clear_skirt(each))
            ]
        gap = Between(views[:2])
        if views and all(
            each.outermost
            or abs(each.frequency_mhz - gap.middle_mhz) > OTHERS_MHZ
            or (each.power_dbm < gap.power_dbm - SKIRT_BELOW_DB and gap.shows_as(each))
            for each in believed
        ):
            found.append(gap)
    return found


def _clear_skirt(view: CarrierSeen) -> bool:
    """Tells the skirt of music from that of speech, and from the part of a Wi-Fi channel that is in view."""
    swings = view.power_swing_db > SKIRT_SWING_DB or view.silence > SKIRT_SILENCE
    return swings and view.over_db > SKIRT_OVER_DB and view.spread_mhz < SKIRT_SPREAD_MHZ


def _show_one(below: CarrierSeen, above: CarrierSeen) -> bool:
    near = 0 < above.frequency_mhz - below.frequency_mhz < WIDEST_GAP_MHZ
    return near and abs(below.power_dbm - above.power_dbm) < SAME_DB


def _at_edge(scene: Scene, centre_mhz: float | None, side: int) -> CarrierSeen | None:
    """Returns what is steady in the outermost bins of a channel, on one side."""
    return next(
        (
            each
            for each in scene.carriers
            if centre_mhz is not None
            and each.centre_mhz == centre_mhz
            and side * (each.frequency_mhz - centre_mhz) > 0
            and (each.edge_mhz < EDGE_MHZ or each.outermost)
            and each.presence > MIN_PRESENCE
            and each.power_swing_db < MAX_SWING_DB
        ),
        None,
    )


def found_between(scene: Scene, gap: Between, device: Device) -> Found:
    """Returns the device whose carrier lies there."""
    stronger = max(gap.views, key=lambda each: each.power_dbm)
    times = scene.air.time_s[scene.air.channels[stronger.centre_mhz]]
    return Found(
        device=device,
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
            "gap_mhz": gap.views[-1].frequency_mhz - gap.views[0].frequency_mhz,
        },
    )

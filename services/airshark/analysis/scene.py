"""Everything that is measured in a stretch of air before anything is decided."""

from dataclasses import dataclass

import numpy as np

from services.airshark.analysis.air import Air, Bools
from services.airshark.analysis.carriers import CarrierSeen, find_carriers
from services.airshark.analysis.fixed import FixedGroup, find_fixed, narrow_pulses
from services.airshark.analysis.mains import describe_mains
from services.airshark.analysis.peaks import Picture, find_peaks
from services.airshark.analysis.pulses import Pulses, join_peaks

EDGE_MHZ = 0.5
PULSES_BELOW_S = 0.4e-3
"""Pulses are measured only where samples are closer together than this."""


@dataclass(frozen=True)
class Scene:
    """What is in a stretch of air."""

    air: Air
    picture: Picture
    carriers: list[CarrierSeen]
    pulses: Pulses
    """Narrow ones that no carrier explains."""
    fixed: list[FixedGroup]
    mains: dict[str, float]
    has_pulses: bool
    """Whether samples are close enough together to measure pulses."""


def describe(air: Air) -> Scene:
    """Measures a stretch of air."""
    peaks, picture = find_peaks(air)
    carriers, owned = find_carriers(air, peaks, picture)
    mains = describe_mains(air, peaks, picture, ~owned & ~_of_wifi(peaks.spread_mhz, peaks.at_edge))
    free = ~owned & (peaks.edge_mhz > EDGE_MHZ) & ~(peaks.at_edge & (peaks.width_mhz > 2.0))
    pulses, _ = join_peaks(air, peaks.select(free))
    pulses = pulses.select(narrow_pulses(pulses))
    has_pulses = 0 < air.interval_s < PULSES_BELOW_S
    fixed = find_fixed(air, pulses, np.ones(len(pulses), bool)) if has_pulses else []
    return Scene(air, picture, carriers, pulses, fixed, mains, has_pulses)


def _of_wifi(spread_mhz: "np.ndarray[tuple[int], np.dtype[np.float32]]", at_edge: Bools) -> Bools:
    """Tells peaks that are the part of a Wi-Fi frame that lies within the view."""
    return at_edge & (spread_mhz > 1.3)

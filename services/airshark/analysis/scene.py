"""Everything that is measured in a stretch of air before anything is decided."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Air, Bools, concatenate
from services.airshark.analysis.background import beside_carriers
from services.airshark.analysis.beneath import find_beneath
from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.carriers import Levels, find_carriers, levels, without_folded
from services.airshark.analysis.clutter import without_clutter
from services.airshark.analysis.fixed import FixedGroup, find_fixed, narrow_pulses
from services.airshark.analysis.found import Found
from services.airshark.analysis.mains import describe_mains
from services.airshark.analysis.peaks import Peaks, Picture, find_peaks, joined, joined_pictures
from services.airshark.analysis.pulses import Pulses, join_peaks
from services.airshark.analysis.ranks import median
from services.airshark.analysis.scans import find_in_scans
from services.airshark.analysis.spacing import measured_spacing, stretched

EDGE_MHZ = 0.45
CUT_MHZ = 2.3
PULSES_BELOW_S = 0.4e-3
"""Pulses are measured only where samples are closer together than this."""


@dataclass(frozen=True)
class Scene:
    """What is in a stretch of air."""

    air: Air
    picture: Picture
    carriers: list[CarrierSeen]
    hidden_pictures: list[Found]
    """Those that only several channels together show, or that show beside a stronger carrier now and then."""
    pulses: Pulses
    """Narrow ones that no carrier explains."""
    fixed: list[FixedGroup]
    mains: dict[str, float]
    level: dict[float, Levels]
    """How strong the bins of each channel are."""
    floors_dbm: "npt.NDArray[np.float64]"
    """How strong three bins together are usually, on each of the channels."""
    has_pulses: bool
    """Whether samples are close enough together to measure pulses."""


@dataclass(frozen=True)
class Observed:
    """Some samples with what stands out of each; peaks say their sample by its number among these."""

    air: Air
    peaks: Peaks
    picture: Picture


def observe(air: Air) -> Observed:
    """Finds what stands out of each sample."""
    return Observed(air, *find_peaks(air))


def together(parts: list[Observed]) -> Observed:
    """Joins what was observed at different times, in order."""
    starts = np.cumsum([0, *(len(part.air) for part in parts[:-1])])
    peaks = [
        replace(part.peaks, row=part.peaks.row + start) for part, start in zip(parts, starts, strict=True)
    ]
    return Observed(
        concatenate([part.air for part in parts]),
        joined(peaks),
        joined_pictures([part.picture for part in parts]),
    )


def describe(observed: Observed, spacing_mhz: float | None = None) -> Scene:
    """Measures a stretch of air.

    Its bins may turn out to lie further apart, or less far, than they were said to; `spacing_mhz` is what
    was found so far.
    """
    if spacing_mhz is not None:
        observed = _on_axis(observed, spacing_mhz)
    carriers, level, mains, pulses = _parts(observed)
    air = observed.air
    measured_mhz, known = measured_spacing(air, pulses, carriers, level)
    if measured_mhz != air.spacing_mhz:
        observed = _on_axis(observed, measured_mhz)
        carriers, level, mains, pulses = _parts(observed)
    air, picture = observed.air, observed.picture
    has_pulses = 0 < air.interval_s < PULSES_BELOW_S
    fixed = find_fixed(air, pulses, level, carriers, known) if has_pulses else []
    hidden = find_in_scans(air, observed.peaks) or find_beneath(air, observed.peaks, carriers)
    return Scene(
        air, picture, carriers, hidden, pulses, fixed, mains, level, _floors(air, picture), has_pulses
    )


def _parts(
    observed: Observed,
) -> tuple[list[CarrierSeen], dict[float, Levels], dict[str, float], Pulses]:
    """Returns the carriers, how strong each channel is, what follows the mains, and the pulses that neither
    carriers nor an oven explain."""
    air, peaks = observed.air, observed.peaks
    level = levels(air, observed.picture)
    carriers, owned = find_carriers(air, peaks, observed.picture, level)
    peaks = beside_carriers(air, peaks, owned, observed.picture, level, carriers)
    carriers = without_folded(carriers, air)
    free = ~_of_wifi(peaks.spread_mhz, peaks.at_edge)
    mains, of_oven = describe_mains(air, peaks, observed.picture, level, carriers, free)
    pulses = without_clutter(air, _narrow_within_view(air, peaks.select(~of_oven)))
    return carriers, level, mains, pulses


def _on_axis(observed: Observed, spacing_mhz: float) -> Observed:
    """Returns the same with bins that lie so far apart."""
    air, peaks = observed.air, observed.peaks
    if spacing_mhz == air.spacing_mhz:
        return observed
    ratio = float(np.float32(spacing_mhz / air.spacing_mhz))
    centre_mhz = air.centre_mhz[peaks.row]
    return Observed(
        replace(
            air,
            first_bin_mhz=stretched(air.first_bin_mhz, air.centre_mhz, ratio),
            spacing_mhz=spacing_mhz,
        ),
        replace(
            peaks,
            frequency_mhz=stretched(peaks.frequency_mhz, centre_mhz, ratio),
            fine_mhz=stretched(peaks.fine_mhz, centre_mhz, ratio),
            spread_mhz=peaks.spread_mhz * ratio,
            width_mhz=peaks.width_mhz * ratio,
            edge_mhz=peaks.edge_mhz * ratio,
        ),
        observed.picture,
    )


def _floors(air: Air, picture: Picture) -> "npt.NDArray[np.float64]":
    return np.array([median(picture.median_dbm[rows]) for rows in air.channels.values()], np.float64)


def _narrow_within_view(air: Air, peaks: Peaks) -> Pulses:
    """Returns the pulses that are not cut off by the border of the view, as the part of a Wi-Fi frame is."""
    pulses, of_peak = join_peaks(air, peaks)
    size = np.maximum(np.bincount(of_peak, minlength=len(pulses)), 1)
    edge_mhz = np.bincount(of_peak, peaks.edge_mhz, len(pulses)) / size
    cut = np.bincount(of_peak, peaks.at_edge & (peaks.width_mhz > CUT_MHZ), len(pulses)) / size
    return pulses.select(narrow_pulses(pulses) & (edge_mhz > EDGE_MHZ) & (cut < 0.5))


def _of_wifi(spread_mhz: "np.ndarray[tuple[int], np.dtype[np.float32]]", at_edge: Bools) -> Bools:
    """Tells peaks that are the part of a Wi-Fi frame that lies within the view."""
    return at_edge & (spread_mhz > 1.3)

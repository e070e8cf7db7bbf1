"""Describes pulses that hop over the band."""

import numpy as np

from services.airshark.analysis.air import Air, Bools
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.ranks import median, percentiles
from services.airshark.analysis.rhythm import grid_strength, stretches
from services.airshark.analysis.slots import BLUETOOTH_SLOT_S, FRAMES_S

DURATION_EDGES_MS = (0.0, 0.17, 0.29, 0.41, 0.52, 0.62, 0.82, 1.2, 1.8, 2.5, 3.2, 4.6, 1e3)
PHONE_STEP_MHZ = 0.864
MAX_PULSES = 1500
MIN_GROUP = 6
POWER_CELL_DB = 0.5
KERNEL_DB = np.arange(-12, 13) * POWER_CELL_DB
COARSE_DB, FINE_DB = 1.6, 1.0
COARSE_VALLEY, FINE_VALLEY = 0.45, 0.6
"""How much powers are smoothed, and how deep a valley must be to be a cut, as a share of the lower top."""
WIDE_DB = 6.0
"""Powers further apart than this are hardly those of one station."""
FULL_WEIGHT_SAMPLES = 4
BURST_SAMPLES = 2
"""What is shorter may be a part of anything."""
ANSWERED_S, SAME_MHZ, AHEAD = 1.1e-3, 0.6, 5
"""What comes so soon on the same frequency, among the next few pulses, is an answer within a frame."""
NEXT_FEW = np.arange(4)[:, None]
FAMILIES = {"one_slot": (0.17, 0.52), "phone": (0.52, 0.86), "multi_slot": (1.2, 3.3), "short": (0.0, 0.66)}
FAMILY_FEATURES = (
    "count", "grid_625", "on_625_per_s", "grid_1250", "grid_3750", "grid_5000", "on_5000_per_s",
    "grid_10000", "on_10000_per_s", "grid_833", "grid_312", "grid_7500", "duration_sd_ms", "length_ms",
    "spread_mhz", "span_mhz", "whole_mhz", "phone_mhz", "even_mhz", "places", "again_at_5ms",
    "again_at_10ms", "again_soon", "next_slot",
)  # fmt: skip


def by_power(pulses: Pulses) -> list[Pulses]:
    """Cuts pulses where few have a power: one hopper is equally strong on all its frequencies, more or less.

    Two hoppers of the same strength stay together. Groups of a few pulses are left out.
    """
    return _cut(pulses, COARSE_DB, COARSE_VALLEY)


def within(group: Pulses) -> list[Pulses]:
    """Cuts the bursts of a group of many powers more finely: flashes, above all those of an oven, fill the
    valleys between its stations."""
    low, high = percentiles(group.power_dbm, 5, 95)
    if high - low < WIDE_DB:
        return []
    return _cut(group.select(group.samples >= BURST_SAMPLES), FINE_DB, FINE_VALLEY)


def _cut(pulses: Pulses, smooth_db: float, valley_share: float) -> list[Pulses]:
    if len(pulses) < MIN_GROUP:
        return []
    low = float(pulses.power_dbm.min()) - 5
    cells = ((pulses.power_dbm - low) / POWER_CELL_DB).astype(np.int64)
    # A burst counts for more than a flash, which may be a part of anything.
    weight = np.minimum(pulses.samples, FULL_WEIGHT_SAMPLES)
    kernel = np.exp(-0.5 * (KERNEL_DB / smooth_db) ** 2)
    density = np.convolve(np.bincount(cells, weight, int(10 / POWER_CELL_DB)), kernel, "same")
    inner = density[1:-1]
    tops = np.flatnonzero((inner >= density[:-2]) & (inner > density[2:])) + 1
    cuts: list[int] = []
    last = -1
    for top in tops:
        if last >= 0:
            valley = last + int(density[last : top + 1].argmin())
            if density[valley] > valley_share * min(density[last], density[top]):
                last = int(top) if density[top] > density[last] else last
                continue
            cuts.append(valley)
        last = int(top)
    group = np.searchsorted(np.array(cuts), cells, side="right")
    groups = [pulses.select(group == number) for number in range(len(cuts) + 1)]
    return [each for each in groups if len(each) >= MIN_GROUP]


def describe_hops(air: Air, pulses: Pulses) -> dict[str, float]:
    """Returns the features of some pulses that hop; with no pulses all are 0."""
    watched_s = max(len(air) * air.interval_s, 1e-3)
    if len(pulses) > MAX_PULSES:
        pulses = pulses.select(np.linspace(0, len(pulses) - 1, MAX_PULSES).astype(np.intp))
    whole = pulses.select(pulses.whole)
    duration = whole.duration_s * 1e3
    features = {
        "per_s": len(pulses) / watched_s,
        "power_sd_db": float(pulses.power_dbm.std()) if len(pulses) else 0.0,
        "over_db": median(pulses.over_db) if len(pulses) else 0.0,
        "span_mhz": float(np.ptp(pulses.frequency_mhz)) if len(pulses) else 0.0,
        "places": float(len(np.unique(np.rint(pulses.frequency_mhz)))) / max(len(pulses), 1),
        "whole_share": len(whole) / max(len(pulses), 1),
        "interval_ms": air.interval_s * 1e3,
    }
    counts, _ = np.histogram(duration, DURATION_EDGES_MS)
    for edge, count in zip(DURATION_EDGES_MS[1:], counts, strict=True):
        features[f"per_s_to_{edge:g}_ms"] = count / watched_s
    for name, (low, high) in FAMILIES.items():
        family = whole.select((duration >= low) & (duration < high))
        features |= _family(name, family, watched_s)
        if name == "short":
            features |= _raster(name, family, watched_s)
            bursts = family.select(family.samples >= BURST_SAMPLES)
            features |= _raster("first", bursts.select(_first(bursts)), watched_s)
    return features


def _family(name: str, pulses: Pulses, watched_s: float) -> dict[str, float]:
    """Returns rhythm and place of the pulses of some length; all are 0 if there are none."""
    values = dict.fromkeys(FAMILY_FEATURES, 0.0)
    if len(pulses):
        values |= _rhythm(pulses, watched_s) | _places(pulses)
    return {f"{name}_{key}": float(value) for key, value in values.items()}


def _rhythm(pulses: Pulses, watched_s: float) -> dict[str, float]:
    stretch = stretches(pulses.start_s, pulses.visit)
    slot_s = BLUETOOTH_SLOT_S
    fixed = np.array([slot_s, 2 * slot_s, 3.75e-3, 5e-3, 10e-3, 10e-3 / 12, slot_s / 2, 7.5e-3])
    strength, amount = grid_strength(pulses.start_s, stretch, fixed)
    return {
        "count": float(len(pulses)),
        "grid_625": strength[0],
        "on_625_per_s": amount[0] / watched_s,
        "grid_1250": strength[1],
        "grid_3750": strength[2],
        "grid_5000": strength[3],
        "on_5000_per_s": amount[3] / watched_s,
        "grid_10000": strength[4],
        "on_10000_per_s": amount[4] / watched_s,
        "grid_833": strength[5],
        "grid_312": strength[6],
        "grid_7500": strength[7],
        "duration_sd_ms": float(pulses.duration_s.std() * 1e3),
        "length_ms": median(pulses.duration_s) * 1e3,
        "again_at_5ms": _again(pulses, 5e-3, 0.25e-3),
        "again_at_10ms": _again(pulses, 10e-3, 0.25e-3),
        "again_soon": _again(pulses, 0.75e-3, 0.6e-3),
        "next_slot": _follows(pulses, BLUETOOTH_SLOT_S),
    }


def _places(pulses: Pulses) -> dict[str, float]:
    frequency = pulses.frequency_mhz.astype(np.float64)
    return {
        "spread_mhz": median(pulses.spread_mhz),
        "span_mhz": float(np.ptp(frequency)),
        # Bluetooth and controllers send on whole MHz, phones that hop on a grid of their own.
        "whole_mhz": float(np.cos(2 * np.pi * frequency).mean()),
        "phone_mhz": float(abs(np.exp(2j * np.pi * frequency / PHONE_STEP_MHZ).mean())),
        "even_mhz": float(abs(np.exp(1j * np.pi * frequency).mean())),
        "places": float(len(np.unique(np.rint(frequency)))) / len(pulses),
    }


def _raster(name: str, pulses: Pulses, watched_s: float) -> dict[str, float]:
    """Returns how well the pulses keep to frames of some length."""
    strength, amount = grid_strength(pulses.start_s, stretches(pulses.start_s, pulses.visit), FRAMES_S)
    best, usual = int(strength.argmax()), median(strength)
    return {
        f"{name}_raster": float(strength[best]),
        f"{name}_on_raster_per_s": float(amount[best]) / watched_s,
        f"{name}_raster_ms": float(FRAMES_S[best] * 1e3) if len(pulses) > 3 else 0.0,
        f"{name}_raster_next": usual,
        f"{name}_raster_over": float(strength[best]) / (usual + 0.05),
    }


def _first(pulses: Pulses) -> Bools:
    """Returns which pulses begin a frame: those that answer one on their frequency come at any time in it."""
    first = np.ones(len(pulses), bool)
    for ahead in range(1, min(AHEAD, len(pulses) - 1) + 1):
        now, then = slice(ahead, None), slice(None, -ahead)
        first[now] &= (
            (pulses.start_s[now] - pulses.start_s[then] > ANSWERED_S)
            | (np.abs(pulses.frequency_mhz[now] - pulses.frequency_mhz[then]) > SAME_MHZ)
            | (pulses.visit[now] != pulses.visit[then])
        )
    return first


def _again(pulses: Pulses, lag_s: float, slack_s: float) -> float:
    """Returns the share of pulses after which another comes on the same frequency after a time."""
    if len(pulses) < 2:
        return 0.0
    low = np.searchsorted(pulses.start_s, pulses.start_s + lag_s - slack_s)
    high = np.searchsorted(pulses.start_s, pulses.start_s + lag_s + slack_s)
    at = low + NEXT_FEW
    other = np.minimum(at, len(pulses) - 1)
    near = np.abs(pulses.frequency_mhz[other] - pulses.frequency_mhz) < 0.5
    found = ((at < high) & near & (pulses.visit[other] == pulses.visit)).any(axis=0)
    return float(found.mean())


def _follows(pulses: Pulses, lag_s: float) -> float:
    """Returns the share of pulses after which one starts anywhere after a time."""
    if len(pulses) < 2:
        return 0.0
    low = np.searchsorted(pulses.start_s, pulses.start_s + lag_s - 0.15e-3)
    high = np.searchsorted(pulses.start_s, pulses.start_s + lag_s + 0.15e-3)
    return float((high > low).mean())

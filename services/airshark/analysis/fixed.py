"""Finds transmitters that send bursts on a frequency of their own, among those that hop over the band."""

from dataclasses import dataclass

import numpy as np

from services.airshark.analysis.air import Air, Bools, Floats
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.rhythm import grid_strength, stretches

CELL_MHZ = 0.25
REACH_MHZ = 0.75
NEIGHBOURS_MHZ = (1.5, 5.0)
MIN_PULSES = 3
ZIGBEE_FIRST_MHZ, ZIGBEE_STEP_MHZ, ZIGBEE_LAST_MHZ = 2405.0, 5.0, 2480.0
BLE_ADVERTISING_MHZ = (2402.0, 2426.0, 2480.0)
GAP_S = 192e-6
ALIKE_DB = 3.0
MAX_GROUPS = 5
MIN_SURPRISE = 1.9


@dataclass(frozen=True)
class FixedGroup:
    """Pulses around one frequency, more than hopping would leave there."""

    frequency_mhz: float
    members: Bools
    """Which of the pulses."""
    features: dict[str, float]


def narrow_pulses(pulses: Pulses) -> Bools:
    """Tells which pulses may come from a narrow-band device: not an edge of Wi-Fi, nor a whole frame of
    it."""
    return (pulses.spread_mhz < 1.35) & (pulses.width_mhz < 3.6)


def find_fixed(air: Air, pulses: Pulses, free: Bools) -> list[FixedGroup]:
    """Returns up to five groups, the largest first."""
    groups: list[FixedGroup] = []
    free = free & narrow_pulses(pulses)
    for _ in range(MAX_GROUPS):
        centre = _densest(pulses, free)
        if centre is None:
            break
        members = free & (np.abs(pulses.frequency_mhz - centre) < REACH_MHZ)
        if not members.any():
            break  # The median of two places is neither.
        # What hops has other powers there than what stays.
        power = pulses.power_dbm[members]
        middle = _mode(power)
        members &= np.abs(pulses.power_dbm - middle) < 6
        if members.sum() < MIN_PULSES:
            break
        groups.append(FixedGroup(centre, members, _describe(air, pulses, members, free, centre)))
        free &= ~members
    return groups


def _mode(values: Floats) -> float:
    order = np.sort(values)
    inside = np.searchsorted(order, order + 4.0, side="right") - np.arange(len(order))
    at = int(inside.argmax())
    return float(np.median(order[at : at + int(inside[at])]))


def _densest(pulses: Pulses, free: Bools) -> float | None:
    frequency = pulses.frequency_mhz[free]
    if len(frequency) < MIN_PULSES:
        return None
    low = float(frequency.min()) - 6
    cells = np.bincount(((frequency - low) / CELL_MHZ).astype(np.int64), minlength=1)
    cells = np.pad(cells, 24)
    low -= 24 * CELL_MHZ
    reach = int(REACH_MHZ / CELL_MHZ)
    near = np.convolve(cells, np.ones(2 * reach + 1), "same")
    wide, inner = (int(each / CELL_MHZ) for each in reversed(NEIGHBOURS_MHZ))
    around = np.convolve(cells, np.ones(2 * wide + 1), "same") - np.convolve(
        cells, np.ones(2 * inner + 1), "same"
    )
    expected = around * (2 * reach + 1) / (2 * (wide - inner))
    surprise = (near - expected - 1) / np.sqrt(expected + 1)
    surprise[near < MIN_PULSES] = -np.inf
    at = int(surprise.argmax())
    if surprise[at] < MIN_SURPRISE:
        return None
    centre = low + (at + 0.5) * CELL_MHZ
    close = frequency[np.abs(frequency - centre) < REACH_MHZ + CELL_MHZ]
    return float(np.median(close))


def _describe(air: Air, pulses: Pulses, members: Bools, free: Bools, centre: float) -> dict[str, float]:
    mine = pulses.select(members)
    whole = mine.select(mine.whole) if mine.whole.any() else mine
    duration = whole.duration_s * 1e3
    seconds = _visible_s(air, centre)
    near = np.abs(pulses.frequency_mhz - centre)
    around = free & (near > NEIGHBOURS_MHZ[0]) & (near < NEIGHBOURS_MHZ[1])
    gaps = mine.start_s[1:] - mine.end_s[:-1]
    followed = (np.abs(gaps - GAP_S) < 2.2 * air.interval_s) & (np.diff(mine.visit) == 0)
    middle = float(np.median(mine.power_dbm))
    alike = free & (np.abs(pulses.power_dbm - middle) < ALIKE_DB) & (near > NEIGHBOURS_MHZ[0])
    stretch = stretches(mine.start_s, mine.visit)
    strength, _ = grid_strength(mine.start_s, stretch, np.array([625e-6, 5e-3]))
    channel = np.clip(np.rint((centre - ZIGBEE_FIRST_MHZ) / ZIGBEE_STEP_MHZ), 0, 15)
    shares = np.percentile(duration, (10, 50, 90))
    return {
        "count": float(len(mine)),
        "per_s": len(mine) / seconds,
        "duty": float(mine.duration_s.sum() / seconds),
        "over_neighbours": len(mine) / (float(around.sum()) / 4.7 + 1),
        "duration_p10_ms": float(shares[0]),
        "duration_p50_ms": float(shares[1]),
        "duration_p90_ms": float(shares[2]),
        "longest_ms": float(duration.max()),
        "long_share": float((duration > 0.55).mean()),
        "oversize_share": float((duration > 4.7).mean()),
        "ack_share": float(((duration > 0.2) & (duration < 0.5)).mean()),
        "tiny_share": float((duration < 0.2).mean()),
        "followed_share": float(followed.mean()) if len(gaps) else 0.0,
        "spread_mhz": float(np.average(mine.spread_mhz, weights=mine.samples)),
        "width_mhz": float(np.average(mine.width_mhz, weights=mine.samples)),
        "wander_mhz": float(np.average(mine.wander_mhz, weights=mine.samples)),
        "scatter_mhz": float(mine.frequency_mhz.std()),
        "power_scatter_db": float(mine.power_dbm.std()),
        "zigbee_off_mhz": float(abs(centre - ZIGBEE_FIRST_MHZ - ZIGBEE_STEP_MHZ * channel)),
        "ble_off_mhz": float(min(abs(centre - each) for each in BLE_ADVERTISING_MHZ)),
        "over_db": float(np.median(mine.over_db)),
        "whole_share": float(mine.whole.mean()),
        "interval_ms": air.interval_s * 1e3,
        # What hops is as strong elsewhere, and keeps to its slots here too.
        "alike_elsewhere": float(alike.sum()) / len(mine),
        "alike_duration_ms": float(np.median(pulses.duration_s[alike]) * 1e3) if alike.any() else 0.0,
        "grid_625": float(strength[0]),
        "grid_5000": float(strength[1]),
        "duration_sd_ms": float(duration.std()),
    }


def _visible_s(air: Air, frequency_mhz: float) -> float:
    """Returns for how long a frequency was in view."""
    last = air.first_bin_mhz + (air.dbm.shape[1] - 1) * air.spacing_mhz
    inside = (air.first_bin_mhz <= frequency_mhz) & (frequency_mhz <= last)
    return max(float(inside.sum()) * air.interval_s, 1e-3)

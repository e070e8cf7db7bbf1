"""Finds transmitters that send bursts on a frequency of their own, among those that hop over the band."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Air, Bools, Times
from services.airshark.analysis.carrier import CarrierSeen, below_strongest_db
from services.airshark.analysis.carriers import Levels
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.ranks import median, percentiles
from services.airshark.analysis.rhythm import LINES_HZ, grid_strength, stretches
from services.airshark.analysis.spacing import other_spacing, stretched
from services.airshark.analysis.zigbee import nearest_channel_mhz

CELL_MHZ = 0.25
REACH_MHZ = 0.75
NEIGHBOURS_MHZ = (1.5, 5.0)
MIN_PULSES = 3
BLE_ADVERTISING_MHZ = (2402.0, 2426.0, 2480.0)
GAP_S = 192e-6
ALIKE_DB = 3.0
REACH_DB, CELL_DB = 6.0, 1.0
MAX_GROUPS, MAX_OF_CHANNELS = 5, 5
NEAR_CHANNEL_MHZ, BESIDE_MHZ = 0.5, (1.2, 3.5)
MIN_SURPRISE = 1.9
FULL_WEIGHT_SAMPLES, USUAL_SAMPLES, MIN_WEIGHT = 12, 6, 1.5
LONG_S = 0.9e-3
"""What is longer comes from no phone that hops and from no controller."""
BROAD_MHZ, BROAD_SAMPLES = 0.62, 3
"""As broad, for so many samples, as ZigBee is and what hops hardly ever is."""


@dataclass(frozen=True)
class FixedGroup:
    """Pulses around one frequency, more than hopping would leave there."""

    frequency_mhz: float
    members: Bools
    """Which of the pulses."""
    features: dict[str, float]


@dataclass(frozen=True)
class _View:
    """What a channel shows: from the first to the last bin, and for how long."""

    first_mhz: float
    last_mhz: float
    watched_s: float


def narrow_pulses(pulses: Pulses) -> Bools:
    """Tells which pulses may come from a narrow-band device: not an edge of Wi-Fi, nor a whole frame of
    it."""
    return (pulses.spread_mhz < 1.35) & (pulses.width_mhz < 3.6)


def find_fixed(
    air: Air, pulses: Pulses, level: dict[float, Levels], carriers: list[CarrierSeen], axis_known: float
) -> list[FixedGroup]:
    """Returns up to five groups on channels of ZigBee and up to five others, of both the largest first;
    `axis_known` says how sure their frequencies are."""
    groups: list[FixedGroup] = []
    free = narrow_pulses(pulses)
    views = _views(air)
    long_enough, broad = _broad(pulses)
    # What hops hides a network least among what is as broad as that.
    for of_channels, most in ((True, MAX_OF_CHANNELS), (False, MAX_GROUPS)):
        for _ in range(most):
            densest = _densest(pulses, free & broad if of_channels else free, of_channels)
            if densest is None:
                break
            centre, middle = densest
            # What hops has other powers there than what stays.
            members = free & (np.abs(pulses.frequency_mhz - centre) < REACH_MHZ)
            members &= np.abs(pulses.power_dbm - middle) < REACH_DB
            if of_channels:
                members &= broad | ~long_enough
            if members.sum() < MIN_PULSES:
                break
            features = _describe(air, views, pulses, members, free, centre, (long_enough, broad))
            view_mhz = median(pulses.centre_mhz[members])
            shown = [each for each in carriers if each.centre_mhz == view_mhz]
            features |= {
                "axis_known": axis_known,
                "quiet_over_db": _quiet_over_db(air, level, centre),
                "below_carrier_db": below_strongest_db(shown, median(pulses.power_dbm[members])),
            }
            groups.append(FixedGroup(centre, members, features))
            free &= ~members
    return groups


def _broad(pulses: Pulses) -> tuple[Bools, Bools]:
    """Tells which pulses are long enough to tell how broad they are, and which are as broad as ZigBee."""
    long_enough = pulses.samples >= BROAD_SAMPLES
    return long_enough, long_enough & (pulses.spread_mhz > BROAD_MHZ)


def _densest(pulses: Pulses, free: Bools, of_channels: bool) -> tuple[float, float] | None:
    """Returns the frequency, and the power, at which most pulses are more than are beside it with that power.

    Other networks, and the skirts of what is strong, have pulses there as well, but of other powers. On
    channels of ZigBee long pulses count for more: what hops has many there, but few and short ones.
    """
    frequency, power = pulses.frequency_mhz[free], pulses.power_dbm[free]
    if len(frequency) < MIN_PULSES:
        return None
    wide, inner, reach = (int(each / CELL_MHZ) for each in (*reversed(NEIGHBOURS_MHZ), REACH_MHZ))
    alike = int(ALIKE_DB / CELL_DB)
    low_mhz = float(frequency.min()) - (wide + 1) * CELL_MHZ
    low_dbm = float(power.min()) - (alike + 1) * CELL_DB
    column = ((frequency - low_mhz) / CELL_MHZ).astype(np.int64)
    row = ((power - low_dbm) / CELL_DB).astype(np.int64)
    # With empty cells all around, so that every sum below is one of whole slices; rounding may have put the
    # lowest one cell lower.
    rows = max(int(row.max()), alike + 1) + alike + 1
    columns = max(int(column.max()), wide + 1) + wide + 1
    weight = np.minimum(pulses.samples[free], FULL_WEIGHT_SAMPLES) / USUAL_SAMPLES if of_channels else None
    cells = np.bincount(row * columns + column, weight, rows * columns).reshape(rows, columns)
    sums = cells.cumsum(axis=0)
    sums = (sums[2 * alike + 1 :] - sums[: -2 * alike - 1]).cumsum(axis=1)
    first, end = wide + 1, columns - wide

    def within(reach: int) -> Times:
        found: Times = sums[:, first + reach : end + reach] - sums[:, first - reach - 1 : end - reach - 1]
        return found

    near = within(reach)
    expected = (within(wide) - within(inner)) * ((2 * reach + 1) / (2 * (wide - inner)))
    surprise = (near - expected - 1) / np.sqrt(expected + 1)
    surprise[near < (MIN_WEIGHT if of_channels else MIN_PULSES)] = -np.inf
    low_mhz, low_dbm = low_mhz + (first + 0.5) * CELL_MHZ, low_dbm + (alike + 1.5) * CELL_DB
    if of_channels:
        surprise[:, ~_near_channels(low_mhz + np.arange(surprise.shape[1]) * CELL_MHZ)] = -np.inf
    best = int(surprise.argmax())
    if surprise.flat[best] < MIN_SURPRISE:
        return None
    at_row, at_column = divmod(best, surprise.shape[1])
    centre, middle = low_mhz + at_column * CELL_MHZ, low_dbm + at_row * CELL_DB
    same_place = np.abs(frequency - centre) < REACH_MHZ + CELL_MHZ
    close = np.logical_and(same_place, np.abs(power - middle) < ALIKE_DB + CELL_DB)
    return median(frequency[close]), median(power[close])


def _near_channels(frequency_mhz: "npt.NDArray[np.floating]") -> Bools:
    """Tells what is near the middle of a channel of ZigBee."""
    near: Bools = np.abs(frequency_mhz - nearest_channel_mhz(frequency_mhz)) < NEAR_CHANNEL_MHZ
    return near


def _describe(
    air: Air,
    views: list[_View],
    pulses: Pulses,
    members: Bools,
    free: Bools,
    centre: float,
    breadth: tuple[Bools, Bools],
) -> dict[str, float]:
    """`breadth` tells which pulses are long enough to tell how broad they are, and which are broad."""
    mine = pulses.select(members)
    whole = mine.select(mine.whole) if mine.whole.any() else mine
    duration = whole.duration_s * 1e3
    seconds = max(sum(each.watched_s for each in views if each.first_mhz <= centre <= each.last_mhz), 1e-3)
    near = np.abs(pulses.frequency_mhz - centre)
    around = free & (near > NEIGHBOURS_MHZ[0]) & (near < NEIGHBOURS_MHZ[1])
    gaps = mine.start_s[1:] - mine.end_s[:-1]
    followed = (np.abs(gaps - GAP_S) < 2.2 * air.interval_s) & (np.diff(mine.visit) == 0)
    middle = median(mine.power_dbm)
    alike = free & (np.abs(pulses.power_dbm - middle) < ALIKE_DB) & (near > NEIGHBOURS_MHZ[0])
    stretch = stretches(mine.start_s, mine.visit)
    strength, _ = grid_strength(mine.start_s, stretch, np.concatenate(([625e-6, 5e-3], 1 / LINES_HZ)))
    view = median(mine.centre_mhz)
    half_mhz = air.dbm.shape[1] * air.spacing_mhz / 2
    other_mhz = stretched(centre, view, other_spacing(air.spacing_mhz) / air.spacing_mhz)
    shares = percentiles(duration, 10, 50, 90)
    long_enough, broad = breadth
    weight = mine.samples / mine.samples.sum()
    # What a hopper of this power would leave here, by what it has elsewhere.
    part = 2 * REACH_MHZ / _band_mhz(air, views)
    long_elsewhere = float((pulses.duration_s[alike] > LONG_S).sum()) * part
    airtime_elsewhere_s = float(pulses.duration_s[alike].sum()) * part
    broad_elsewhere = float((alike & broad).sum()) * part
    return {
        "count": float(len(mine)),
        "per_s": len(mine) / seconds,
        "duty": float(mine.duration_s.sum() / seconds),
        "over_neighbours": len(mine) / (float(around.sum()) / 4.7 + 1),
        "duration_p10_ms": shares[0],
        "duration_p50_ms": shares[1],
        "duration_p90_ms": shares[2],
        "longest_ms": float(duration.max()),
        "long_share": float((duration > 0.55).mean()),
        "oversize_share": float((duration > 4.7).mean()),
        "ack_share": float(((duration > 0.2) & (duration < 0.5)).mean()),
        "tiny_share": float((duration < 0.2).mean()),
        "followed_share": float(followed.mean()) if len(gaps) else 0.0,
        "spread_mhz": float((mine.spread_mhz * weight).sum()),
        "width_mhz": float((mine.width_mhz * weight).sum()),
        "wander_mhz": float((mine.wander_mhz * weight).sum()),
        "scatter_mhz": float(mine.frequency_mhz.std()),
        "power_scatter_db": float(mine.power_dbm.std()),
        "zigbee_off_mhz": float(abs(centre - nearest_channel_mhz(centre))),
        # Where it lies if the bins are not as far apart as it seems.
        "other_off_mhz": float(abs(other_mhz - nearest_channel_mhz(other_mhz))),
        "ble_off_mhz": float(min(abs(centre - each) for each in BLE_ADVERTISING_MHZ)),
        "over_db": median(mine.over_db),
        "whole_share": float(mine.whole.mean()),
        "interval_ms": air.interval_s * 1e3,
        # What hops is as strong elsewhere, and keeps to its slots here too.
        "alike_elsewhere": float(alike.sum()) / len(mine),
        "long_over_alike": float((mine.duration_s > LONG_S).sum()) / (long_elsewhere + 1),
        "broad_share": float((members & broad).sum()) / max(int((members & long_enough).sum()), 1),
        "broad_over_alike": float((members & broad).sum()) / (broad_elsewhere + 1),
        "airtime_over_alike": float(mine.duration_s.sum()) / (airtime_elsewhere_s + LONG_S),
        "alike_duration_ms": median(pulses.duration_s[alike]) * 1e3 if alike.any() else 0.0,
        "grid_625": float(strength[0]),
        "grid_5000": float(strength[1]),
        # At the borders of its views an oven passes by with each cycle of the mains.
        "grid_mains": float(strength[2:].max()),
        "edge_mhz": half_mhz - median(np.abs(mine.frequency_mhz - mine.centre_mhz)),
        "duration_sd_ms": float(duration.std()),
    }


def _quiet_over_db(air: Air, level: dict[float, Levels], frequency_mhz: float) -> float:
    """Returns by how much a frequency is stronger than those beside it in the quietest samples too, where
    only what never ends is."""
    over_db = [0.0]
    for centre in air.channels:
        away_mhz = np.abs(air.bins_mhz(centre) - frequency_mhz)
        near = away_mhz < NEAR_CHANNEL_MHZ
        beside = (away_mhz > BESIDE_MHZ[0]) & (away_mhz < BESIDE_MHZ[1])
        if near.any() and beside.any():
            quiet_dbm = level[centre].quiet_dbm
            over_db.append(float(quiet_dbm[near].max()) - median(quiet_dbm[beside]))
    return max(over_db)


def _views(air: Air) -> list[_View]:
    """Returns what each channel shows."""
    width_mhz = (air.dbm.shape[1] - 1) * air.spacing_mhz
    found = []
    for rows in air.channels.values():
        first_mhz = float(air.first_bin_mhz[rows[0]])
        found.append(_View(first_mhz, first_mhz + width_mhz, len(rows) * air.interval_s))
    return found


def _band_mhz(air: Air, views: list[_View]) -> float:
    """Returns how much of the band all channels together show."""
    view_mhz = air.dbm.shape[1] * air.spacing_mhz
    first = [each.first_mhz for each in views]
    return float(min(max(first) - min(first) + view_mhz, len(first) * view_mhz))

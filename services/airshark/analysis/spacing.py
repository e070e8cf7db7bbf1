"""Finds out how far the bins of a radio lie apart.

The kernel does not say it. All cards that were measured have 343.75 kHz, while the sub-carriers of Wi-Fi, of
which ath9k says that its bins are, have 312.5 kHz. Bluetooth, ZigBee and controllers send on whole MHz: on
the right axis their bursts lie there, on the wrong one anywhere. A network of ZigBee is in the middle of a
channel, a carrier that two channels show lies in one place, and so does all that is usual where their views
overlap.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import TypeVar

import numpy as np

from services.airshark.analysis.air import Air, Floats, Times
from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.carriers import Levels
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.ranks import median
from services.airshark.analysis.zigbee import nearest_channel_mhz
from services.airshark.domain.formats import ATH9K_BIN_SPACING_MHZ, HT20_BINS, HT40_BINS

Axis = TypeVar("Axis", float, Floats, Times)

SPACINGS_MHZ = (ATH9K_BIN_SPACING_MHZ, 20 / 64)
BIN_COUNTS = (HT20_BINS, HT40_BINS)
"""Of the records whose bins are not said to span a width."""
FAR_MHZ = 2.0
"""Nearer to the middle of a channel both axes hardly differ."""
MAX_SPREAD_MHZ, MIN_SAMPLES = 1.2, 2
PLACE_MHZ, MOST_OF_PLACE, ENOUGH = 0.5, 2.0, 20.0
PER_PLACE_MHZ = 1e5
"""So far apart channels do not lie: one number says the channel and the place in it."""
MIN_FIT, MIN_BETTER = 0.3, 0.4
MOST_KNOWN = 2.0
SAME_DB, SAME_MHZ, APART_MHZ, CLEAR_EDGE_MHZ = 4.0, 0.12, 0.4, 0.8
BROAD_MHZ, BROAD_SAMPLES = 0.5, 3
OFF_MIDDLE_MHZ, OFF_BORDER_MHZ = 1.5, 1.1
"""Nearer to the middle of a view both spacings are alike; at its border all is where the border is."""
STAYS_MHZ, SAME_NETWORK_MHZ, BESIDE_MHZ, MIN_STAYS = 0.25, 1.0, (0.4, 2.5), 4
ON_CHANNEL_MHZ, OFF_CHANNEL_MHZ = 0.13, 0.15
PULSES_PER_VOTE, MOST_BY_CHANNELS = 15.0, 1.5
BORDER_MHZ, STEP_MHZ, MIN_OVERLAP_MHZ = 0.3, 0.1, 1.0
MIN_RISES_DB, USUAL_DB, MIN_BY_OVERLAPS, MOST_BY_OVERLAPS = 2.0, 0.7, 1.25, 2.0
"""What rises less over the part that both show does not tell; so much two views of the same differ. The skirt
of a carrier beyond one view is nearly as well another one, a little nearer."""


def stretched(frequency_mhz: Axis, centre_mhz: Axis | float, ratio: float) -> Axis:
    """Returns where frequencies lie if the bins of their channel are so many times as far apart."""
    return centre_mhz + (frequency_mhz - centre_mhz) * ratio


def other_spacing(spacing_mhz: float) -> float:
    """Returns what else the spacing of the bins may be; the same if it is known."""
    return dict(zip(SPACINGS_MHZ, reversed(SPACINGS_MHZ), strict=True)).get(spacing_mhz, spacing_mhz)


def measured_spacing(
    air: Air, pulses: Pulses, carriers: list[CarrierSeen], level: dict[float, Levels]
) -> tuple[float, float]:
    """Returns the spacing of the bins, in MHz, and how well it is known, 0 to 2.

    It is that of `air`, with which all was measured, unless another one fits much better. `level` says how
    strong the bins of each channel are.
    """
    spacing_mhz = air.spacing_mhz
    if air.dbm.shape[1] not in BIN_COUNTS or spacing_mhz not in SPACINGS_MHZ:
        return spacing_mhz, 0.0
    better = (
        _on_raster(pulses, spacing_mhz)
        + _in_both_views(carriers, spacing_mhz)
        + _on_channels(air, pulses)
        + _alike_in_overlaps(air, level)
    )
    if abs(better) < MIN_BETTER:
        return spacing_mhz, 0.0
    return SPACINGS_MHZ[0] if better > 0 else SPACINGS_MHZ[1], min(abs(better), MOST_KNOWN)


def _on_raster(pulses: Pulses, spacing_mhz: float) -> float:
    """Returns how much better bursts lie on whole MHz with the first spacing than the second, -2 to 2."""
    off_mhz = (pulses.frequency_mhz - pulses.centre_mhz).astype(np.float64)
    usable = (np.abs(off_mhz) > FAR_MHZ) & (pulses.spread_mhz < MAX_SPREAD_MHZ)
    usable &= pulses.samples >= MIN_SAMPLES
    off_mhz = off_mhz[usable]
    # What stays on one frequency may be on a whole MHz by chance.
    place = pulses.centre_mhz[usable] + PER_PLACE_MHZ * np.floor(off_mhz / PLACE_MHZ)
    _, of_pulse, count = np.unique(place, return_inverse=True, return_counts=True)
    weight = (np.minimum(count, MOST_OF_PLACE) / count)[of_pulse]
    if weight.sum() < ENOUGH:
        return 0.0
    phase = {
        each: complex(np.average(np.exp(2j * np.pi * off_mhz * (each / spacing_mhz)), weights=weight))
        for each in SPACINGS_MHZ
    }
    best, other = sorted(SPACINGS_MHZ, key=lambda each: -phase[each].real)
    if abs(phase[other]) > phase[best].real:
        # Phones may keep to a step of 1 MHz between the whole ones.
        return 0.0
    better = phase[SPACINGS_MHZ[0]].real - phase[SPACINGS_MHZ[1]].real
    return better if phase[best].real > MIN_FIT and abs(better) > MIN_BETTER else 0.0


def _on_channels(air: Air, pulses: Pulses) -> float:
    """Returns how much rather bursts that are as broad as those of ZigBee, and stay, are in the middle of its
    channels with the first spacing, -1.5 to 1.5."""
    off_mhz = (pulses.frequency_mhz - pulses.centre_mhz).astype(np.float64)
    half_mhz = air.dbm.shape[1] * air.spacing_mhz / 2
    usable = (pulses.samples >= BROAD_SAMPLES) & (pulses.spread_mhz > BROAD_MHZ)
    usable &= (np.abs(off_mhz) > OFF_MIDDLE_MHZ) & (np.abs(off_mhz) < half_mhz - OFF_BORDER_MHZ)
    votes = 0.0
    for centre in air.channels:
        for place_mhz, count in _stays(np.sort(off_mhz[usable & (pulses.centre_mhz == centre)])):
            places_mhz = centre + place_mhz * (np.array(SPACINGS_MHZ) / air.spacing_mhz)
            first_mhz, second_mhz = np.abs(places_mhz - nearest_channel_mhz(places_mhz))
            if min(first_mhz, second_mhz) < ON_CHANNEL_MHZ and abs(first_mhz - second_mhz) > OFF_CHANNEL_MHZ:
                votes += count if first_mhz < second_mhz else -count
    return float(np.clip(votes / PULSES_PER_VOTE, -MOST_BY_CHANNELS, MOST_BY_CHANNELS))


def _stays(off_mhz: Times) -> Iterator[tuple[float, int]]:
    """Yields where most of the bursts of a channel are, in order of their frequency, and by how many they are
    more than those beside."""
    while len(off_mhz):
        near = np.searchsorted(off_mhz, off_mhz + STAYS_MHZ) - np.searchsorted(off_mhz, off_mhz - STAYS_MHZ)
        count = int(near.max())
        if count < MIN_STAYS:
            return
        from_best_mhz = np.abs(off_mhz - off_mhz[near.argmax()])
        place_mhz = median(off_mhz[from_best_mhz < STAYS_MHZ])
        away_mhz = np.abs(off_mhz - place_mhz)
        more = count - int(((away_mhz > BESIDE_MHZ[0]) & (away_mhz < BESIDE_MHZ[1])).sum())
        if more > 0:
            yield place_mhz, more
        off_mhz = off_mhz[from_best_mhz > SAME_NETWORK_MHZ]


def _alike_in_overlaps(air: Air, level: dict[float, Levels]) -> float:
    """Returns how much better what two channels usually show where their views overlap agrees with the first
    spacing than with the second, -2 to 2."""
    better = 0.0
    for one, other in pairwise(level):
        overlaps = [_overlap_dbm(air, level, one, other, each / air.spacing_mhz) for each in SPACINGS_MHZ]
        if all(
            len(lower) * STEP_MHZ >= MIN_OVERLAP_MHZ and lower.std() > MIN_RISES_DB for lower, _ in overlaps
        ):
            first_db, second_db = (np.sqrt(((lower - upper) ** 2).mean()) for lower, upper in overlaps)
            better += float(np.log((second_db + USUAL_DB) / (first_db + USUAL_DB)))
    if abs(better) <= MIN_BY_OVERLAPS:
        return 0.0
    return float(np.clip(better, -MOST_BY_OVERLAPS, MOST_BY_OVERLAPS))


def _overlap_dbm(
    air: Air, level: dict[float, Levels], one: float, other: float, ratio: float
) -> tuple[Times, Times]:
    """Returns how strong two channels usually are where both their views show the band, the lower one first,
    if the bins are so many times as far apart."""
    lower_mhz, upper_mhz = (stretched(air.bins_mhz(each), each, ratio) for each in (one, other))
    shown_mhz = np.arange(upper_mhz[0] + BORDER_MHZ, lower_mhz[-1] - BORDER_MHZ, STEP_MHZ)
    return (
        np.interp(shown_mhz, lower_mhz, level[one].usual_dbm),
        np.interp(shown_mhz, upper_mhz, level[other].usual_dbm),
    )


def _in_both_views(carriers: list[CarrierSeen], spacing_mhz: float) -> float:
    """Returns whether carriers that two channels show lie in the same place with the first spacing, 1, or
    with the second, -1."""
    seen = [each for each in carriers if not each.broad and each.edge_mhz > CLEAR_EDGE_MHZ]
    fits = dict.fromkeys(SPACINGS_MHZ, 0.0)
    for one, other in combinations(seen, 2):
        if not _may_be_one(one, other, SAME_DB):
            continue
        apart = {each: _apart_mhz(one, other, each / spacing_mhz) for each in SPACINGS_MHZ}
        same, elsewhere = sorted(SPACINGS_MHZ, key=lambda each: apart[each])
        if apart[same] < SAME_MHZ and apart[elsewhere] > APART_MHZ:
            fits[same] = 1.0
    return fits[SPACINGS_MHZ[0]] - fits[SPACINGS_MHZ[1]]


def are_one(
    one: CarrierSeen,
    other: CarrierSeen,
    ratio: float,
    within_db: float = SAME_DB,
    within_mhz: float = SAME_MHZ,
) -> bool:
    """Tells whether two channels show one carrier, if their bins lie so many times as far apart."""
    return _may_be_one(one, other, within_db) and _apart_mhz(one, other, ratio) < within_mhz


def _may_be_one(one: CarrierSeen, other: CarrierSeen, within_db: float) -> bool:
    return one.centre_mhz != other.centre_mhz and abs(one.power_dbm - other.power_dbm) < within_db


def _apart_mhz(one: CarrierSeen, other: CarrierSeen, ratio: float) -> float:
    def placed(carrier: CarrierSeen) -> float:
        return stretched(carrier.frequency_mhz, carrier.centre_mhz, ratio)

    return abs(placed(one) - placed(other))

"""Finds out how far the bins of a radio lie apart.

The kernel does not say it. All cards that were measured have 343.75 kHz, while the sub-carriers of Wi-Fi, of
which ath9k says that its bins are, have 312.5 kHz. Bluetooth, ZigBee and controllers send on whole MHz: on
the right axis their bursts lie there, on the wrong one anywhere. And a carrier that two channels show lies in
one place.
"""

from itertools import combinations
from typing import TypeVar

import numpy as np

from services.airshark.analysis.air import Floats
from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.pulses import Pulses
from services.airshark.domain.formats import ATH9K_BIN_SPACING_MHZ, HT20_BINS, HT40_BINS

Axis = TypeVar("Axis", float, Floats)

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
SAME_DB, SAME_MHZ, APART_MHZ, CLEAR_EDGE_MHZ = 4.0, 0.12, 0.4, 0.8


def stretched(frequency_mhz: Axis, centre_mhz: Axis, ratio: float) -> Axis:
    """Returns where frequencies lie if the bins of their channel are so many times as far apart."""
    return centre_mhz + (frequency_mhz - centre_mhz) * ratio


def other_spacing(spacing_mhz: float) -> float:
    """Returns what else the spacing of the bins may be; the same if it is known."""
    return dict(zip(SPACINGS_MHZ, reversed(SPACINGS_MHZ), strict=True)).get(spacing_mhz, spacing_mhz)


def measured_spacing(
    pulses: Pulses, carriers: list[CarrierSeen], bin_count: int, spacing_mhz: float
) -> tuple[float, float]:
    """Returns the spacing of the bins, in MHz, and how well it is known, 0 to 2.

    It is `spacing_mhz`, with which all was measured, unless another one fits much better.
    """
    if bin_count not in BIN_COUNTS or spacing_mhz not in SPACINGS_MHZ:
        return spacing_mhz, 0.0
    for fits in (_on_raster(pulses, spacing_mhz), _in_both_views(carriers, spacing_mhz)):
        best, other = sorted(SPACINGS_MHZ, key=lambda each: -fits[each])
        better = fits[best] - fits[other]
        if fits[best] > MIN_FIT and better > MIN_BETTER:
            return best, better
    return spacing_mhz, 0.0


def _on_raster(pulses: Pulses, spacing_mhz: float) -> dict[float, float]:
    """Returns how well bursts lie on whole MHz with each spacing, up to 1."""
    none = dict.fromkeys(SPACINGS_MHZ, 0.0)
    off_mhz = (pulses.frequency_mhz - pulses.centre_mhz).astype(np.float64)
    usable = (np.abs(off_mhz) > FAR_MHZ) & (pulses.spread_mhz < MAX_SPREAD_MHZ)
    usable &= pulses.samples >= MIN_SAMPLES
    off_mhz = off_mhz[usable]
    # What stays on one frequency may be on a whole MHz by chance.
    place = pulses.centre_mhz[usable] + PER_PLACE_MHZ * np.floor(off_mhz / PLACE_MHZ)
    _, of_pulse, count = np.unique(place, return_inverse=True, return_counts=True)
    weight = (np.minimum(count, MOST_OF_PLACE) / count)[of_pulse]
    if weight.sum() < ENOUGH:
        return none
    phase = {
        each: complex(np.average(np.exp(2j * np.pi * off_mhz * (each / spacing_mhz)), weights=weight))
        for each in SPACINGS_MHZ
    }
    best, other = sorted(SPACINGS_MHZ, key=lambda each: -phase[each].real)
    if abs(phase[other]) > phase[best].real:
        # Phones may keep to a step of 1 MHz between the whole ones.
        return none
    return {each: phase[each].real for each in SPACINGS_MHZ}


def _in_both_views(carriers: list[CarrierSeen], spacing_mhz: float) -> dict[float, float]:
    """Returns whether carriers that two channels show lie in the same place with each spacing: 1 if so."""
    seen = [each for each in carriers if not each.broad and each.edge_mhz > CLEAR_EDGE_MHZ]
    fits = dict.fromkeys(SPACINGS_MHZ, 0.0)
    for one, other in combinations(seen, 2):
        if not _may_be_one(one, other, SAME_DB):
            continue
        apart = {each: _apart_mhz(one, other, each / spacing_mhz) for each in SPACINGS_MHZ}
        same, elsewhere = sorted(SPACINGS_MHZ, key=lambda each: apart[each])
        if apart[same] < SAME_MHZ and apart[elsewhere] > APART_MHZ:
            fits[same] = 1.0
    return fits


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

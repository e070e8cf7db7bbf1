"""Finds what follows the mains by how strong parts of each view are: what comes and goes with each cycle
shows there even where something stronger hides its peaks."""

import numpy as np

from services.airshark.analysis.air import Air, Floats, Ints
from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.carriers import ENOUGH_SAMPLES
from services.airshark.analysis.peaks import BINS_IN_PART, Picture
from services.airshark.analysis.ranks import percentiles_of_rows, runs
from services.airshark.analysis.rhythm import LINES_HZ, Lines

BELOW_DB, ABOVE_DB = 4.0, 6.0
"""By so much a part counts as weaker and stronger than usual; what is stronger now and then is something
else, which would hide the rhythm of the rest."""
MIN_VISIT_S = 0.04
"""A shorter one tells nothing of the mains."""
OVEN_MHZ = (2427.0, 2483.0)
"""The middle of what an oven fills is between these."""
LEAST_CONTROL = 0.003
FAR_MHZ, FAR_OFF_MHZ = 9.0, 20.0
"""A picture begins anew nearly as often as the mains do: so far from it hardly anything is of it."""
MEASURES = ("over_control", "share", "control", "middle_mhz", "picture_mhz", "twice")
NAMES = tuple(f"{where}_{each}" for where in ("band", "far") for each in MEASURES)


def describe_bands(
    air: Air, picture: Picture, rows: Ints, lines: Lines, stretch: Ints, carriers: list[CarrierSeen]
) -> dict[str, float]:
    """Returns how well that part of a view keeps to the mains that does so best, and the best of those far
    from any picture. `lines` and `stretch` are of the samples `rows`."""
    channel = air.centre_mhz[rows]
    first, lengths = runs(stretch)
    long = lengths * air.interval_s >= MIN_VISIT_S
    of_stretch = channel[first]
    power, energy = lines.powers(_levels(air, picture.parts_dbm[rows], rows))
    pictures_mhz = [each.frequency_mhz for each in carriers if _may_follow(each)]
    best = dict.fromkeys(NAMES, 0.0) | {"band_picture_mhz": FAR_OFF_MHZ, "far_picture_mhz": FAR_OFF_MHZ}
    for centre in air.channels:
        mine = long & (of_stretch == centre)
        if not mine.any():
            continue
        share = power[mine].sum(axis=0) / np.maximum(energy[mine].sum(axis=0), 1e-9)
        line, control = share[: len(LINES_HZ)], share[len(LINES_HZ) :].max(axis=0)
        over = line.max(axis=0) / (control + LEAST_CONTROL)
        middle_mhz = air.bins_mhz(centre)[: len(over) * BINS_IN_PART].reshape(-1, BINS_IN_PART).mean(axis=1)
        off_mhz = np.full(len(middle_mhz), FAR_OFF_MHZ)
        for each in pictures_mhz:
            off_mhz = np.minimum(off_mhz, np.abs(middle_mhz - each))
        of_oven = (middle_mhz > OVEN_MHZ[0]) & (middle_mhz < OVEN_MHZ[1])
        for where, which in (("band", of_oven), ("far", of_oven & (off_mhz > FAR_MHZ))):
            at = int(np.where(which, over, 0.0).argmax())
            if which[at] and over[at] > best[f"{where}_over_control"]:
                best |= {
                    f"{where}_over_control": float(over[at]),
                    f"{where}_share": float(line[:, at].max()),
                    f"{where}_control": float(control[at]),
                    f"{where}_middle_mhz": float(middle_mhz[at]),
                    f"{where}_picture_mhz": float(off_mhz[at]),
                    f"{where}_twice": float(LINES_HZ[line[:, at].argmax()] >= 100.0),
                }
    return best


def _levels(air: Air, parts_dbm: Floats, rows: Ints) -> Floats:
    """Returns by how much the parts of each view are stronger than usual, (rows, parts)."""
    channel = air.centre_mhz[rows]
    levels = np.empty_like(parts_dbm)
    for centre in air.channels:
        mine = np.flatnonzero(channel == centre)
        if len(mine):
            some = parts_dbm[mine[:: len(mine) // ENOUGH_SAMPLES + 1]].T.copy()
            usual_dbm = percentiles_of_rows(some, 50)[0]
            levels[mine] = np.clip(parts_dbm[mine] - usual_dbm, -BELOW_DB, ABOVE_DB)
    return levels


def _may_follow(carrier: CarrierSeen) -> bool:
    """Tells whether a carrier may be a picture, or is as lively as one."""
    lively = carrier.broad and not carrier.pauses and not carrier.of_oven
    return carrier.may_be_picture or lively

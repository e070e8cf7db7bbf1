"""Describes energy that follows the mains, as that of an oven does."""

import numpy as np

from services.airshark.analysis.air import Air, Bools, Ints, Times
from services.airshark.analysis.bands import FAR_OFF_MHZ, MIN_VISIT_S, describe_bands
from services.airshark.analysis.bands import NAMES as BAND_NAMES
from services.airshark.analysis.carrier import CarrierSeen, below_strongest_db
from services.airshark.analysis.carriers import Levels
from services.airshark.analysis.peaks import Peaks, Picture, strongest
from services.airshark.analysis.ranks import median, percentiles
from services.airshark.analysis.rhythm import CONTROLS_HZ, LINES_HZ, Lines, stretches

OVEN_MHZ = (2425.0, 2485.0)
MIN_SAMPLES = 40
MIN_PEAKS = 15
CLOSED_GAP_S = 0.5e-3
REACH_MHZ = 7.0
USUAL_PERCENT = 75
CLEAR_LINE, CLEAR_OVER_CONTROL, CLEAR_BURST_MS, CLEAR_SWEEP_MHZ = 0.75, 2.2, 4.6, 0.5
"""Bursts that keep so close to the mains, are longer than any frame of ZigBee, and sweep are an oven's."""
CLEAR_LIT, CLEAR_LIT_OVER_CONTROL = 0.3, 2.4
CLOSE_ON, CLOSE_ON_OVER_CONTROL = 0.7, 2.4
CLOSE_LONG, CLOSE_LONG_OVER_CONTROL = 0.85, 3.0
LEAST_CONTROL = 0.02
LIT_DB = 3.0
FAR_BELOW_DB = 20.0
OF_SKIRT_DB, OF_SKIRT_MHZ = 8.0, 7.5
"""So much weaker and so near to a picture is its skirt."""
VIEW_MHZ = 10.0
PICTURE_MHZ = 18.0
"""So far from the middle of a view a picture changes its bins."""


def describe_mains(
    air: Air,
    peaks: Peaks,
    picture: Picture,
    level: dict[float, Levels],
    carriers: list[CarrierSeen],
    free: Bools,
) -> tuple[dict[str, float], Bools]:
    """Returns the features of everything in the oven's part of the band that is no carrier, and which peaks
    are those of an oven beyond doubt."""
    none = np.zeros(len(peaks), bool)
    inside = free & (peaks.frequency_mhz > OVEN_MHZ[0]) & (peaks.frequency_mhz < OVEN_MHZ[1])
    looks_there = (air.centre_mhz > OVEN_MHZ[0] - 5) & (air.centre_mhz < OVEN_MHZ[1] + 5)
    rows = np.flatnonzero(looks_there)
    features = dict.fromkeys(NAMES, 0.0)
    features["interval_ms"] = air.interval_s * 1e3
    features |= dict.fromkeys(("picture_off_mhz", "band_picture_mhz", "far_picture_mhz"), FAR_OFF_MHZ)
    if len(rows) < MIN_SAMPLES:
        return features, none
    stretch = stretches(air.time_s[rows], air.visit[rows])
    length_s = np.bincount(stretch) * air.interval_s
    features["longest_look_s"] = float(length_s.max())
    if length_s.max() < MIN_VISIT_S:
        return features, none
    lines = Lines(air.time_s[rows], stretch, np.concatenate((LINES_HZ, CONTROLS_HZ)), air.interval_s)
    looked_at = {each: here for each, here in air.channels.items() if looks_there[here[0]]}
    features |= _lit(air, picture, level, carriers, looked_at, rows, lines)
    features |= describe_bands(air, picture, rows, lines, stretch, carriers)
    if inside.sum() < MIN_PEAKS:
        return features, none
    # An oven keeps to the mains where it is seen, and in another view something else may be there more often.
    channel = air.centre_mhz[peaks.row]
    places = [_densest(air, peaks, inside), *(inside & (channel == each) for each in looked_at)]
    places = [each for each in places if each.sum() >= MIN_PEAKS] or [inside]
    inside, field, usual_dbm = max(
        ((each, *_field(air, peaks, each)) for each in places),
        key=lambda each: _keeping(lines, each[1][rows]),
    )
    on = field > 0
    long_on = _long_runs(air, on)
    # The strongest look tells most: an oven fills one channel more than others.
    share = np.bincount(stretch, long_on[rows]) / np.maximum(np.bincount(stretch), 1)
    features["on_share"] = max(float(on[here].mean()) for here in looked_at.values())
    features["long_share"] = float(share.max())
    for name, activity in (
        ("on", on[rows].astype(np.float64)),
        ("long", long_on[rows].astype(np.float64)),
        ("field", field[rows]),
    ):
        features |= _lines(name, lines.strength(activity))
    features["middle_mhz"] = median(peaks.frequency_mhz[inside])
    features["power_dbm"] = usual_dbm
    features |= _sweep(air, peaks, inside, long_on)
    features |= _beside_picture(carriers, features["middle_mhz"], features["power_dbm"])
    shown = [
        each
        for each in carriers
        if abs(each.centre_mhz - features["middle_mhz"]) < VIEW_MHZ and not each.of_oven
    ]
    features["below_carrier_db"] = below_strongest_db(shown, features["power_dbm"])
    return features, inside & long_on[peaks.row] if is_oven(features) else none


def _field(air: Air, peaks: Peaks, which: Bools) -> tuple[Times, float]:
    """Returns the amplitude of the strongest of the peaks in each sample, as a share of the usual one, and
    how strong that one is.

    What is stronger now and then is something else, which would hide the rhythm of the rest.
    """
    power_dbm = np.full(len(air), -np.inf)
    np.maximum.at(power_dbm, peaks.row[which], peaks.power_dbm[which])
    on = np.flatnonzero(power_dbm > -np.inf)
    usual_dbm = percentiles(power_dbm[on], USUAL_PERCENT)[0]
    field = np.zeros(len(air))
    field[on] = 10 ** ((np.minimum(power_dbm[on], usual_dbm) - usual_dbm) / 20)
    return field, usual_dbm


def _line_and_control(strength: Times) -> tuple[float, float]:
    """Returns how well something keeps to the mains, and to the best of other frequencies."""
    return float(strength[: len(LINES_HZ)].max()), float(strength[len(LINES_HZ) :].max())


def _keeping(lines: Lines, field: Times) -> float:
    """Returns in how many samples more something keeps to the mains than to other frequencies, by when it is
    there or by how strong it is: what is always there has a ripple alone."""
    on = (field > 0).astype(np.float64)
    both = (_line_and_control(lines.strength(each)) for each in (on, field))
    return float(max(line - control for line, control in both) * on.sum())


def _over_control(strength: Times) -> float:
    """Returns how much better something keeps to the mains than to other frequencies."""
    line, control = _line_and_control(strength)
    return line / (control + LEAST_CONTROL)


def _lines(name: str, strength: Times) -> dict[str, float]:
    lines = {f"{name}_{hz:.0f}_hz": float(value) for hz, value in zip(LINES_HZ, strength, strict=False)}
    _, control = _line_and_control(strength)
    return lines | {f"{name}_control": control, f"{name}_over_control": _over_control(strength)}


def _lit(
    air: Air,
    picture: Picture,
    level: dict[float, Levels],
    carriers: list[CarrierSeen],
    looked_at: dict[float, Ints],
    rows: Ints,
    lines: Lines,
) -> dict[str, float]:
    """Returns how well the bins of one channel keep to the mains that are stronger than they usually are.

    A strong carrier in view hides the peaks of an oven, but not that many bins are stronger while it is on.
    A picture follows the mains too.
    """
    strengths = [np.zeros(len(LINES_HZ) + len(CONTROLS_HZ))]
    lively = [each for each in carriers if each.broad and not each.pauses]
    for centre, here in looked_at.items():
        if any(abs(each.frequency_mhz - centre) < PICTURE_MHZ for each in lively):
            continue
        share = np.zeros(len(air))
        lit = picture.smooth_dbm[centre] > (level[centre].usual_dbm + LIT_DB)[:, None]
        share[here] = lit.sum(axis=0, dtype=np.uint16) / len(lit)
        strengths.append(lines.strength(share[rows]))
    return _lines("lit", max(strengths, key=_over_control))


def is_oven(mains: dict[str, float]) -> bool:
    """Tells whether long bursts come with each cycle of the mains, beyond doubt."""
    line = field_line(mains)
    clear = line > max(CLEAR_LINE, CLEAR_OVER_CONTROL * mains["field_control"])
    return clear and mains["burst_ms"] > CLEAR_BURST_MS and mains["sweep_mhz"] > CLEAR_SWEEP_MHZ


def lights_up(mains: dict[str, float]) -> bool:
    """Tells whether many bins are stronger with each cycle of the mains: an oven beside a strong carrier, of
    which some peaks say where it is."""
    line = max(mains["lit_50_hz"], mains["lit_60_hz"])
    clear = line > max(CLEAR_LIT, CLEAR_LIT_OVER_CONTROL * mains["lit_control"])
    return clear and mains["middle_mhz"] > 0


def keeps_closer_than_picture(mains: dict[str, float]) -> bool:
    """Tells whether long bursts keep to the mains so well as none of a picture do, which only begins anew
    nearly as often; what is seen where no picture is, is none."""
    on, long = (max(mains[f"{name}_{hz}_hz"] for hz in (50, 60)) for name in ("on", "long"))
    closely = on > max(CLOSE_ON, CLOSE_ON_OVER_CONTROL * mains["on_control"]) and mains["burst_ms"] > 0
    closely |= long > max(CLOSE_LONG, CLOSE_LONG_OVER_CONTROL * mains["long_control"])
    return closely or lights_up(mains)


def field_line(mains: dict[str, float]) -> float:
    """Returns how well the strength of bursts follows the mains, or twice that, 0 to 1."""
    return max(mains[f"field_{hz:.0f}_hz"] for hz in LINES_HZ)


def _densest(air: Air, peaks: Peaks, inside: Bools) -> Bools:
    """Returns the peaks around the frequency at which bursts of 3 ms and more are most of the time."""
    busy = np.zeros(len(air), bool)
    busy[peaks.row[inside]] = True
    candidates = inside & _long_runs(air, busy)[peaks.row]
    if candidates.sum() < 15:
        return inside
    cells = np.bincount((peaks.frequency_mhz[candidates] - OVEN_MHZ[0]).astype(np.intp), minlength=70)
    near = np.convolve(cells, np.ones(2 * int(REACH_MHZ) + 1), "same")
    centre = OVEN_MHZ[0] + 0.5 + float(near.argmax())
    close = np.abs(peaks.frequency_mhz - centre) < REACH_MHZ + 1
    # Twice: the middle of what is close is a better middle.
    centre = median(peaks.frequency_mhz[candidates & close])
    result: Bools = inside & (np.abs(peaks.frequency_mhz - centre) < REACH_MHZ + 1)
    return result


def _long_runs(air: Air, on: Bools) -> Bools:
    """Returns the samples within bursts of 3 ms and more; short gaps in them do not count."""
    index = np.flatnonzero(on)
    result = np.zeros(len(air), bool)
    if not len(index):
        return result
    gap = np.diff(air.time_s[index])
    closed = max(CLOSED_GAP_S, 1.6 * air.interval_s)
    cut = (gap > closed) | (np.diff(air.visit[index]) != 0)
    run = np.concatenate(([0], np.cumsum(cut)))
    first = index[np.searchsorted(run, np.arange(run[-1] + 1))]
    last = index[np.searchsorted(run, np.arange(run[-1] + 1), side="right") - 1]
    length = air.time_s[last] - air.time_s[first] + air.interval_s
    for begin, end in zip(first[length > 3e-3], last[length > 3e-3], strict=True):
        result[begin : end + 1] = True
    return result


def _sweep(air: Air, peaks: Peaks, inside: Bools, long_on: Bools) -> dict[str, float]:
    """Returns how the strongest peak of each sample moves within long bursts."""
    mine = np.flatnonzero(inside & long_on[peaks.row])
    if len(mine) < 15:
        return {}
    mine = strongest(peaks, mine)
    frequency = peaks.frequency_mhz[mine].astype(np.float64)
    low, middle, high = percentiles(frequency, 10, 50, 90)
    follows = np.diff(peaks.row[mine]) == 1
    steps = np.abs(np.diff(frequency)[follows])
    swing = percentiles(peaks.power_dbm[mine], 10, 90)
    return {
        "sweep_mhz": high - low,
        "middle_mhz": middle,
        "step_mhz": median(steps) if len(steps) else 0.0,
        "smooth_share": float((steps < 1.0).mean()) if len(steps) else 0.0,
        "swing_db": swing[1] - swing[0],
        "power_dbm": percentiles(peaks.power_dbm[mine], 75)[0],
        "spread_mhz": median(peaks.spread_mhz[mine]),
        "burst_ms": _burst_ms(air, long_on),
    }


def _beside_picture(carriers: list[CarrierSeen], middle_mhz: float, power_dbm: float) -> dict[str, float]:
    """Returns how far off the nearest picture is, which begins anew nearly as often as the mains do, and by
    how much it is stronger."""
    strongest_dbm = max((each.power_dbm for each in carriers if each.is_picture), default=-np.inf)
    # A network that hardly pauses is none, but what of a picture comes and goes far from its middle is.
    pictures = [
        each
        for each in carriers
        if each.may_be_picture and (not each.pauses or each.power_dbm < strongest_dbm - FAR_BELOW_DB)
    ]
    # The skirt of one, in another view, is none.
    pictures = [
        each
        for each in pictures
        if all(
            other.power_dbm < each.power_dbm + OF_SKIRT_DB
            or abs(other.frequency_mhz - each.frequency_mhz) > OF_SKIRT_MHZ
            for other in pictures
        )
    ]
    if not pictures:
        return {}
    nearest = min(pictures, key=lambda each: abs(each.frequency_mhz - middle_mhz))
    return {
        "picture_off_mhz": min(abs(nearest.frequency_mhz - middle_mhz), FAR_OFF_MHZ),
        "picture_over_db": nearest.power_dbm - power_dbm,
    }


def _burst_ms(air: Air, long_on: Bools) -> float:
    """Returns how long a typical one of the long bursts is; those that a visit cuts short count less."""
    step = np.diff(long_on.astype(np.int8), prepend=0, append=0)
    begin, end = np.flatnonzero(step == 1), np.flatnonzero(step == -1) - 1
    length = air.time_s[end] - air.time_s[begin] + air.interval_s
    return percentiles(length, 60)[0] * 1e3 if len(length) else 0.0


def _names() -> list[str]:
    names = ["longest_look_s", "on_share", "long_share", "interval_ms"]
    for name in ("on", "long", "field", "lit"):
        names += [f"{name}_{hz:.0f}_hz" for hz in LINES_HZ]
        names += [f"{name}_control", f"{name}_over_control"]
    return [
        *names,
        "sweep_mhz",
        "middle_mhz",
        "step_mhz",
        "smooth_share",
        "swing_db",
        "power_dbm",
        "spread_mhz",
        "burst_ms",
        "picture_off_mhz",
        "picture_over_db",
        "below_carrier_db",
        *BAND_NAMES,
    ]


NAMES: list[str] = _names()

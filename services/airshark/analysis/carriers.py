"""Finds carriers that never end: they are there even in the quietest samples of a channel."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from services.airshark.analysis.air import Air, Bools, Floats, Ints, Times
from services.airshark.analysis.carrier import (
    NEAR_MHZ,
    PICTURE_MHZ,
    WIDE_MHZ,
    CarrierSeen,
    is_own,
    keeps_peaks,
    of_picture,
)
from services.airshark.analysis.found import SAME_CARRIER_MHZ
from services.airshark.analysis.movement import (
    MIN_SAMPLES,
    PICTURE_LINES_HZ,
    PILOT_HZ,
    around,
    bass_share,
    farthest,
    movement,
    near_middle,
    tips,
    tone_shares,
    within_visits,
)
from services.airshark.analysis.peaks import (
    IMAGE_MHZ,
    MIN_OVER_SHOULDERS_DB,
    Peaks,
    Picture,
    shoulder_bins,
    strongest,
)
from services.airshark.analysis.ranks import median, percentiles, percentiles_of_rows
from services.airshark.analysis.rhythm import CONTROLS_HZ, LINES_HZ, Lines, stretches
from services.airshark.analysis.skirts import ALIKE_DB, close_humps, humps, prominence, read_out, tops
from services.airshark.domain.power import milliwatts

QUIET_PERCENT = 15
ENOUGH_SAMPLES = 600
"""So many, spread over the time, tell how quiet a bin is."""
MIN_OVER_DB = 4.5
LIVELY_MHZ = 2.4
"""How far from its place most peaks of a lively picture are."""
MIN_PRESENCE = 0.6
STEADY_SHARE = 0.6
BORDER_MHZ = 0.5
OUTERMOST_BINS = 0.4
ON_TOP_MHZ, ON_TOP_DB = 0.45, 0.7
IMAGE_DB = 25.0
"""How much weaker an image is at least."""
SOUND_AT_MHZ, SOUND_WEAKER_DB, MOST_SOUND_DB = (5.7, 7.3), (8.0, 40.0), 15.0
"""Where the sound of a picture is, whatever the spacing of the bins, and how much weaker."""
SAME_MHZ, CLEAR_PRESENCE = 1.0, 0.8
"""So near to its place a carrier is the same one; what is there so often needs no second look."""
CLOSE_MHZ, CLOSE_SAMPLES, MIDDLE_BINS = 2.4, 250, 2.5
OVER_LOBE_DB = 4.0
"""By so much a carrier close to another one is stronger than what is as far on its other side."""
SILENCE_BELOW_DB = 10.0
FOLDED_DB, FOLDED_MHZ, FOLDED_BEYOND_MHZ = 12.0, 0.4, 1.5
"""How much weaker a carrier is that is folded into a view, at least, and how near to where it should be."""
FOLDED_FROM_MHZ = 4.0
"""Of what is further outside the transform's range nothing is left."""
HIDES_DB, UNDISTURBED_DB, UNDISTURBED_SAMPLES = 20.0, 12.0, 200
"""What is so much stronger mostly hides a carrier; it is measured where nothing is stronger by more than the
second of these, if that leaves so many samples."""
RIPPLE_OVER = 2.2
"""By how much more than anything else an oven with an inverter follows twice the mains."""


@dataclass(frozen=True)
class Levels:
    """How strong each bin of a channel is, with its neighbours."""

    quiet_dbm: Floats
    usual_dbm: Floats


def levels(air: Air, picture: Picture) -> dict[float, Levels]:
    """Returns them for each channel, by its middle."""
    found = {}
    for centre, rows in air.channels.items():
        some = picture.smooth_dbm[centre][:, :: len(rows) // ENOUGH_SAMPLES + 1].copy()
        found[centre] = Levels(*percentiles_of_rows(some, QUIET_PERCENT, 50))
    return found


@dataclass(frozen=True)
class _Channel:
    """The samples of one channel."""

    air: Air
    picture: Picture
    rows: Ints
    level: Levels

    @property
    def centre_mhz(self) -> float:
        """Of the channel."""
        return float(self.air.centre_mhz[self.rows[0]])

    @property
    def first_mhz(self) -> float:
        """Of the lowest bin."""
        return float(self.air.first_bin_mhz[self.rows[0]])

    @property
    def smooth_dbm(self) -> Floats:
        """(bins, samples), three bins together."""
        return self.picture.smooth_dbm[self.centre_mhz]

    @cached_property
    def strongest_dbm(self) -> Floats:
        """Of the bins of each sample."""
        strongest: Floats = self.smooth_dbm.max(axis=0)
        return strongest


def find_carriers(
    air: Air, peaks: Peaks, picture: Picture, level: dict[float, Levels]
) -> tuple[list[CarrierSeen], Bools]:
    """Returns the carriers of all channels, with ovens and networks that look like one, and which peaks
    belong to those that are neither."""
    found: list[tuple[CarrierSeen, Bools]] = []
    of_centre = air.centre_mhz[peaks.row]
    for centre, rows in air.channels.items():
        if len(rows) < MIN_SAMPLES:
            continue
        channel = _Channel(air, picture, rows, level[centre])
        here = of_centre == centre
        seen = _by_peaks(channel, peaks, here)
        hidden = _in_skirts(channel, [each for each, _ in seen])
        seen = [each for each in seen if not any(_is_near(each[0], one.frequency_mhz) for one in hidden)]
        close = _close_by(channel, [*(each for each, _ in seen), *hidden])
        found += [*seen, *((each, here & is_own(each, peaks, ALIKE_DB)) for each in (*hidden, *close))]
    carriers = [each for each, _ in found]
    owned = np.zeros(len(peaks), bool)
    for each, members in found:
        if keeps_peaks(each, carriers):
            owned |= members
    return carriers, owned


def _by_peaks(channel: _Channel, peaks: Peaks, here: Bools) -> list[tuple[CarrierSeen, Bools]]:
    """Returns the carriers of which most samples show a peak, each with the peaks that are its own."""
    seen: list[tuple[CarrierSeen, Bools]] = []
    free = here.copy()
    # What lies in the skirts of a stronger one is no hump, but its peaks may be there in nearly each sample.
    for place in [*_humps(channel.level.quiet_dbm, len(channel.rows)), None, None]:
        at = _steady(channel, peaks, free) if place is None else place
        found = _measure(channel, peaks, free, at) if at is not None else None
        if found is not None:
            carrier, members = found
            members |= here & of_picture(carrier, peaks)
            seen.append((carrier, members))
            free &= ~members
    return seen


def _in_skirts(channel: _Channel, seen: list[CarrierSeen]) -> list[CarrierSeen]:
    """Returns the carriers that show in the skirts of stronger ones alone, or there better."""
    found: list[CarrierSeen] = []
    for profile_dbm in (channel.level.quiet_dbm, channel.level.usual_dbm):
        for top, hump in humps(profile_dbm, channel.air.spacing_mhz).items():
            frequency_mhz = channel.first_mhz + top * channel.air.spacing_mhz
            known = [each for each in seen if each.presence > CLEAR_PRESENCE] + found
            if any(_is_near(each, frequency_mhz) for each in known):
                continue
            peaks, presence = read_out(channel.air, channel.smooth_dbm, channel.rows, hump)
            if presence > CLEAR_PRESENCE:
                found.append(_of_hump(channel, peaks, top, presence))
    return [each for each in found if not any(_is_image(each, other) for other in (*seen, *found))]


def _close_by(channel: _Channel, known: list[CarrierSeen]) -> list[CarrierSeen]:
    """Returns the carriers so close to a stronger narrow one that three bins together do not show them."""
    narrow = [each for each in known if not each.broad]
    if not narrow:
        return []
    air, rows = channel.air, channel.rows
    found: list[CarrierSeen] = []
    usual_dbm = np.median(air.dbm[rows[:: len(rows) // CLOSE_SAMPLES + 1]], axis=0)
    for top, hump in close_humps(usual_dbm, air.spacing_mhz).items():
        frequency_mhz = channel.first_mhz + top * air.spacing_mhz
        beside = [each for each in narrow if abs(each.frequency_mhz - frequency_mhz) < CLOSE_MHZ]
        near = beside and not any(_is_lobe(channel, usual_dbm, top, each) for each in beside)
        # The driver makes the middle bin up.
        middle = abs(frequency_mhz - channel.centre_mhz) < MIDDLE_BINS * air.spacing_mhz
        if not near or middle or any(_is_same(each, frequency_mhz) for each in (*known, *found)):
            continue
        peaks, presence = read_out(air, air.dbm[rows].T, rows, hump)
        if presence > CLEAR_PRESENCE:
            found.append(_of_hump(channel, peaks, top, presence))
    return found


def _is_lobe(channel: _Channel, usual_dbm: Floats, top: int, carrier: CarrierSeen) -> bool:
    """Tells whether a hump is what the radio's transform makes beside a carrier: on the other side is another
    one as strong."""
    place = 2 * (carrier.frequency_mhz - channel.first_mhz) / channel.air.spacing_mhz - top
    first = int(np.floor(place))
    mirrored = usual_dbm[max(first - 1, 0) : max(first + 3, 0)]
    return bool(usual_dbm[top] < mirrored.max(initial=-np.inf) + OVER_LOBE_DB)


def _of_hump(channel: _Channel, peaks: Peaks, top: int, presence: float) -> CarrierSeen:
    """Describes a carrier that shows as a hump around a bin, by its place in each sample."""
    power_dbm = median(peaks.power_dbm)
    mine = np.flatnonzero(np.abs(peaks.power_dbm - power_dbm) < ALIKE_DB)
    every = np.ones(len(peaks), bool)
    return _described(channel, peaks, mine, every, top, power_dbm, presence, in_skirt=True)


def _is_same(carrier: CarrierSeen, frequency_mhz: float) -> bool:
    return abs(carrier.frequency_mhz - frequency_mhz) < SAME_CARRIER_MHZ


def _is_image(carrier: CarrierSeen, other: CarrierSeen) -> bool:
    """Tells whether a carrier is what the radio mirrors of a far stronger one in the same view."""
    off_mhz = carrier.frequency_mhz + other.frequency_mhz - 2 * carrier.centre_mhz
    return abs(off_mhz) < IMAGE_MHZ and other.power_dbm > carrier.power_dbm + IMAGE_DB


def _is_near(carrier: CarrierSeen, frequency_mhz: float) -> bool:
    return abs(carrier.frequency_mhz - frequency_mhz) < SAME_MHZ + carrier.wander_mhz


def without_folded(carriers: list[CarrierSeen], air: Air) -> list[CarrierSeen]:
    """Leaves out what the transform of the radio folds into a view of a stronger carrier beside it."""

    def is_folded(one: CarrierSeen) -> bool:
        # Of what is folded just beyond the border of the view, its outermost bins show the skirt.
        reach_mhz = FOLDED_MHZ if one.edge_mhz > BORDER_MHZ else FOLDED_BEYOND_MHZ
        return any(
            other.centre_mhz != one.centre_mhz
            and other.power_dbm > one.power_dbm + FOLDED_DB
            and folds(air, other.frequency_mhz, one.centre_mhz, one.frequency_mhz, reach_mhz)
            for other in carriers
        )

    return [each for each in carriers if not is_folded(each)]


def folds(
    air: Air,
    from_mhz: float,
    centre_mhz: float,
    to_mhz: float,
    within_mhz: float,
    beyond_mhz: float = FOLDED_FROM_MHZ,
) -> bool:
    """Tells whether what is little beyond the transform of a view is folded to about some place in it."""
    whole_mhz = transform_mhz(air)
    near = abs(abs(from_mhz - to_mhz) - whole_mhz) < within_mhz
    return near and abs(from_mhz - centre_mhz) < whole_mhz / 2 + beyond_mhz


def transform_mhz(air: Air) -> float:
    """Returns how wide the radio's transform is; the outermost ones of its bins are not in the records."""
    return air.spacing_mhz * float(2.0 ** np.ceil(np.log2(air.dbm.shape[1])))


def _steady(channel: _Channel, peaks: Peaks, free: Bools) -> int | None:
    """Returns the bin around which most samples have a peak that is not explained yet."""
    count, spacing_mhz = len(channel.rows), channel.air.spacing_mhz
    mine = np.flatnonzero(free)
    if len(mine) < STEADY_SHARE * count:
        return None
    place = (peaks.frequency_mhz[mine] - channel.first_mhz) / spacing_mhz
    bins = channel.air.dbm.shape[1]
    cells = np.bincount(np.clip(np.rint(place), 0, bins - 1).astype(np.intp), minlength=bins)
    for reach_mhz in (NEAR_MHZ, LIVELY_MHZ):
        reach = max(1, round(reach_mhz / spacing_mhz))
        near = np.convolve(cells, np.ones(2 * reach + 1), "same")
        at = int(near.argmax())
        close = np.abs(place - at) <= reach
        if len(np.unique(peaks.row[mine[close]])) >= STEADY_SHARE * count:
            return int(np.clip(np.rint(median(place[close])), 0, bins - 1))
    return None


def _humps(quiet: Floats, count: int) -> list[int]:
    over = quiet - median(quiet)
    least = MIN_OVER_DB + 12 / np.sqrt(count)
    high = tops(over)
    high = high[over[high] >= least]
    order = high[np.argsort(-over[high])]
    kept: list[int] = []
    for top in order:
        # A skirt is no carrier: between two there is a valley.
        valleys = [over[min(top, other) : max(top, other) + 1].min() for other in kept]
        if all(valley < over[top] - 4 for valley in valleys):
            kept.append(int(top))
    return kept[:4]


def _measure(channel: _Channel, peaks: Peaks, free: Bools, at: int) -> tuple[CarrierSeen, Bools] | None:
    """Returns the carrier around a bin, if there is one, and which of the free peaks are its own."""
    air, rows, usual = channel.air, channel.rows, channel.level.usual_dbm
    within = usual > usual[at] - 10
    lower = at - int(np.argmin(within[: at + 1][::-1])) if not within[: at + 1].all() else 0
    upper = at + int(np.argmin(within[at:])) if not within[at:].all() else len(usual) - 1
    reach = max(NEAR_MHZ, (upper - lower) / 2 * air.spacing_mhz + 0.7)
    middle = channel.first_mhz + (lower + upper) / 2 * air.spacing_mhz
    members = free & (np.abs(peaks.frequency_mhz - middle) < reach)
    if not members.any():
        return None
    mine = strongest(peaks, np.flatnonzero(members))
    power = median(peaks.power_dbm[mine])
    mine = mine[np.abs(peaks.power_dbm[mine] - power) < ALIKE_DB]
    if len(mine) < MIN_SAMPLES:
        return None
    smooth_dbm = channel.smooth_dbm
    covered = _covered(smooth_dbm, at, power, air.spacing_mhz)
    clear = (channel.picture.median_dbm[rows] < power - 6) & ~covered
    at_border = min(at, len(smooth_dbm) - 1 - at) * air.spacing_mhz < BORDER_MHZ
    mine, presence = _undisturbed(
        mine, np.searchsorted(rows, peaks.row[mine]), clear, channel.strongest_dbm - power, at_border
    )
    if presence < MIN_PRESENCE or len(mine) < MIN_SAMPLES:
        return None
    carrier = _described(channel, peaks, mine, free, at, power, presence, in_skirt=False)
    # Everything near it that is not stronger is its own: other parts of the same signal.
    owned = free & (np.abs(peaks.frequency_mhz - carrier.frequency_mhz) < max(reach, 3 * carrier.wander_mhz))
    owned &= peaks.power_dbm < power + ALIKE_DB
    if _is_narrow(carrier.wander_mhz, carrier.spread_mhz):
        # A burst on top of it makes it wider, and stronger.
        owned &= ~(
            (peaks.spread_mhz > carrier.spread_mhz + ON_TOP_MHZ) & (peaks.power_dbm > power + ON_TOP_DB)
        )
    return carrier, owned


def _is_narrow(wander_mhz: float, spread_mhz: float) -> bool:
    return wander_mhz <= PICTURE_MHZ and spread_mhz <= WIDE_MHZ


def _described(
    channel: _Channel,
    peaks: Peaks,
    mine: Ints,
    free: Bools,
    at: int,
    power: float,
    presence: float,
    *,
    in_skirt: bool,
) -> CarrierSeen:
    """Describes the carrier around a bin, of which one peak for each sample is `mine`."""
    air, rows = channel.air, channel.rows
    seen = peaks.fine_mhz[mine].astype(np.float64)
    tail_low, low, mid, high, tail_high = percentiles(seen, 3, 15, 50, 85, 97)
    wander = (high - low) / 2.07
    inner = np.clip(seen, low - 2 * wander, high + 2 * wander)
    follows = np.diff(peaks.row[mine]) == 1
    variance = float(inner.var())
    jumps = np.diff(inner)[follows]
    jumpiness = float((jumps**2).mean() / (2 * variance)) if variance > 0 and follows.sum() > 4 else 1.0
    times, visit = air.time_s[peaks.row[mine]], air.visit[peaks.row[mine]]
    pilot, *lines = tone_shares(times, inner, visit, PILOT_HZ, *PICTURE_LINES_HZ)
    third = max(len(seen) // 3, 1)
    some = mine[:: len(mine) // ENOUGH_SAMPLES + 1]
    looked_at = peaks.row[some]
    bins_dbm, flicker_db = around(air, looked_at, mid)
    centre = channel.centre_mhz
    near_dc = bool(abs(mid - centre) < 1.6 * air.spacing_mhz)
    if near_dc:
        still = near_middle(seen, centre, air.spacing_mhz)
    else:
        still = farthest(bins_dbm, peaks.fine_mhz[some], air.visit[looked_at], air.spacing_mhz)
    average = 10 * np.log10(milliwatts(channel.smooth_dbm[:, np.searchsorted(rows, looked_at)]).mean(axis=1))
    inside = average > average.max() - 10
    near = inside[max(at - 30, 0) : at + 31]
    swing = percentiles(within_visits(peaks.power_dbm[mine], visit), 10, 90)
    spread = median(peaks.spread_mhz[mine])
    narrow = _is_narrow(wander, spread)
    other_tip, tip = sorted(tips(peaks, np.flatnonzero(free), mid, power))
    return CarrierSeen(
        centre_mhz=centre,
        frequency_mhz=mid,
        wander_mhz=wander,
        jumpiness=jumpiness,
        spread_mhz=spread,
        width_mhz=float(near.sum() * air.spacing_mhz),
        power_dbm=power,
        power_swing_db=swing[1] - swing[0],
        over_db=median(peaks.over_db[mine]),
        presence=float(presence),
        samples=len(mine),
        drift_mhz=median(seen[-third:]) - median(seen[:third]),
        near_dc=near_dc,
        in_skirt=in_skirt,
        outermost=_is_outermost(channel, mid),
        edge_mhz=median(peaks.edge_mhz[mine]),
        cut_share=float(peaks.at_edge[mine].mean()),
        silence=float((channel.strongest_dbm < power - SILENCE_BELOW_DB).mean()),
        tails_mhz=tail_high - tail_low,
        still_mhz=still,
        skirt_mhz=movement(bins_dbm, air.spacing_mhz),
        smooth_mhz=min(float(np.sqrt(variance * max(1 - jumpiness, 0))), still),
        flicker_db=flicker_db,
        tip_share=tip / len(rows),
        other_tip_share=other_tip / len(rows),
        pilot_share=pilot,
        line_share=max(lines),
        bass_share=bass_share(times, inner, visit),
        sound_db=_sound_db(channel, mid, power),
        ripple=0.0 if narrow else _ripple(times, visit, peaks.power_dbm[mine], air.interval_s),
    )


def _sound_db(channel: _Channel, frequency_mhz: float, power_dbm: float) -> float:
    """Returns by how much something stands out where the sound of a picture would be, if it is as weak."""
    usual_dbm, spacing_mhz = channel.level.usual_dbm, channel.air.spacing_mhz
    off_mhz = np.abs(channel.first_mhz + np.arange(len(usual_dbm)) * spacing_mhz - frequency_mhz)
    below_db = power_dbm - usual_dbm
    beside = (off_mhz > SOUND_AT_MHZ[0]) & (off_mhz < SOUND_AT_MHZ[1])
    beside &= (below_db > SOUND_WEAKER_DB[0]) & (below_db < SOUND_WEAKER_DB[1])
    stands_db = prominence(usual_dbm, spacing_mhz)[beside]
    return float(np.clip(stands_db.max(initial=0.0), 0.0, MOST_SOUND_DB))


def _undisturbed(
    mine: Ints, sample: Ints, clear: Bools, stronger_db: Floats, at_border: bool
) -> tuple[Ints, float]:
    """Returns which of the peaks of a carrier to measure, and its presence.

    `sample` says in which sample each of them is, `clear` in which samples nothing covers it, and
    `stronger_db` by how much the strongest of each sample is stronger than it.
    """
    readable = clear & (stronger_db < HIDES_DB)
    if readable.sum() < len(mine) and not at_border:
        # Something far stronger never ends: where that does not cover it, this one can be seen.
        readable = clear
    undisturbed = stronger_db < UNDISTURBED_DB
    if (readable & undisturbed).sum() >= UNDISTURBED_SAMPLES:
        readable = readable & undisturbed
        mine = mine[undisturbed[sample]]
    return mine, len(mine) / max(int(readable.sum()), len(mine), 1)


def _ripple(times: Times, visit: Ints, power_dbm: Floats, interval_s: float) -> float:
    """Returns how much the amplitude of a carrier follows twice the mains, and nothing else."""
    amplitude = 10 ** ((np.asarray(power_dbm, np.float64) - median(power_dbm)) / 20)
    rates_hz = np.concatenate((LINES_HZ, CONTROLS_HZ))
    strength = Lines(times, stretches(times, visit), rates_hz, interval_s).strength(amplitude)
    twice = np.isin(rates_hz, 2 * LINES_HZ)
    best, others = float(strength[twice].max()), float(strength[~twice].max())
    return best if best > RIPPLE_OVER * others else 0.0


def _covered(smooth_dbm: Floats, at: int, power_dbm: float, spacing_mhz: float) -> Bools:
    """Tells in which samples something else is so strong around a bin that a carrier there is no peak."""
    near, far = shoulder_bins(spacing_mhz)
    sides = (smooth_dbm[max(at - far, 0) : max(at - near + 1, 0)], smooth_dbm[at + near : at + far + 1])
    covered = np.zeros(smooth_dbm.shape[1], bool)
    for side in sides:
        if len(side):
            covered |= side.min(axis=0) > power_dbm - MIN_OVER_SHOULDERS_DB
    return covered


def _is_outermost(channel: _Channel, frequency_mhz: float) -> bool:
    place = (frequency_mhz - channel.first_mhz) / channel.air.spacing_mhz
    return not OUTERMOST_BINS < place < channel.air.dbm.shape[1] - 1 - OUTERMOST_BINS

"""Finds carriers that never end: they are there even in the quietest samples of a channel."""

from dataclasses import dataclass

import numpy as np

from services.airshark.analysis.air import Air, Bools, Floats, Ints, Times
from services.airshark.analysis.movement import (
    MIN_SAMPLES,
    PICTURE_LINES_HZ,
    PILOT_HZ,
    around,
    farthest,
    movement,
    near_middle,
    tips,
    tone_shares,
    within_visits,
)
from services.airshark.analysis.peaks import MIN_OVER_SHOULDERS_DB, Peaks, Picture, shoulder_bins
from services.airshark.analysis.ranks import median, percentiles
from services.airshark.analysis.rhythm import CONTROLS_HZ, LINES_HZ, Lines, stretches

QUIET_PERCENT = 15
ENOUGH_SAMPLES = 600
"""So many, spread over the time, tell how quiet a bin is."""
MIN_OVER_DB = 4.5
NEAR_MHZ, LIVELY_MHZ = 1.2, 2.4
"""How far from its place most of its peaks are; those of a lively picture further."""
MIN_PRESENCE = 0.6
STEADY_SHARE = 0.6
PICTURE_MHZ = 0.17
"""A carrier that moves by more carries a picture."""
WIDE_MHZ = 1.3
BORDER_MHZ = 0.5
OUTERMOST_BINS = 0.4
PICTURE_REACH_MHZ, PICTURE_BELOW_DB, PICTURE_PRESENCE = 5.0, 5.0, 0.85
SKIRT_REACH_MHZ = 15.0
"""So far from a picture its skirts look like carriers."""
LEAST_LINES = 0.25
"""How much of a carrier's movement comes again with each line, of a picture that hardly moves it."""
MAX_SWING_DB = 7.5
MAX_FADING_DB, FADING_JUMPINESS, FADING_PRESENCE, FADING_SAMPLES = 14.0, 0.55, 0.75, 100
"""A carrier that fades from sample to sample may swing by more, if it is nearly always there."""
ON_TOP_MHZ, ON_TOP_DB = 0.7, 1.0
SILENCE_BELOW_DB, MAX_SILENCE = 10.0, 0.12
NETWORK_MHZ, TONE_MHZ, LEAVES_WITHIN_MHZ, MAX_AWAY = 0.8, 0.7, 3.0, 0.35
FOLDED_DB, FOLDED_MHZ, FOLDED_BEYOND_MHZ = 12.0, 0.4, 1.5
"""How much weaker a carrier is that is folded into a view, at least, and how near to where it should be."""
FOLDED_FROM_MHZ = 4.0
"""Of what is further outside the transform's range nothing is left."""
HIDES_DB, UNDISTURBED_DB, UNDISTURBED_SAMPLES = 20.0, 12.0, 200
"""What is so much stronger mostly hides a carrier; it is measured where nothing is stronger by more than the
second of these, if that leaves so many samples."""
SLOW = 0.35
"""Jumpiness below which a broad carrier sweeps instead of showing a picture."""
LEAST_RIPPLE, RIPPLE_OVER = 0.05, 2.2
"""How much the amplitude of an oven with an inverter follows twice the mains, and by how much more than
anything else."""


@dataclass(frozen=True)
class CarrierSeen:
    """A carrier on one channel of the radio."""

    centre_mhz: float
    """Of the channel."""
    frequency_mhz: float
    wander_mhz: float
    """How far its frequency moves, 15 % to 85 % of the samples, as a standard deviation."""
    jumpiness: float
    """1 if its frequency in one sample tells nothing of the next, near 0 if it moves slowly."""
    spread_mhz: float
    """Within one sample."""
    width_mhz: float
    """Of the average spectrum, within 10 dB."""
    power_dbm: float
    power_swing_db: float
    """Between 10 % and 90 % of the samples, less what changes from visit to visit: slow fading."""
    over_db: float
    presence: float
    """Share of the samples in which it could be seen and was."""
    samples: int
    drift_mhz: float
    """From the first to the last third of the time."""
    near_dc: bool
    edge_mhz: float
    cut_share: float
    """Share of its samples in which the border of the view cuts it off."""
    silence: float
    """Share of the samples in which nothing in view is nearly as strong: what never ends leaves none."""
    tails_mhz: float
    """How far its frequency gets, 3 % to 97 % of the samples: in a still picture, by its synchronisation."""
    still_mhz: float
    """How far its frequency moves where it does most, by that measure which the shape of the radio's bins
    disturbs least."""
    skirt_mhz: float
    """The same by the levels of its bins alone, which is all that the border of the view leaves."""
    smooth_mhz: float
    """How much of that one sample and the next have in common."""
    flicker_db: float
    """Standard deviation of its strongest bin."""
    tip_share: float
    """Share of the samples in which it is on that side of its place on which it is more often: the
    synchronisation of a picture lies there."""
    other_tip_share: float
    """The same of the other side, where nothing of a still picture is."""
    pilot_share: float
    """How much of its movement is the pilot tone of stereo sound."""
    line_share: float
    """How much of it comes again with each line of a picture."""
    ripple: float
    """Share of its amplitude that follows twice the mains, if that is far more than what follows the mains or
    other rates; looked for in broad ones alone."""
    outermost: bool
    """Whether the outermost bin is the strongest, mostly: it may lie beyond the view, and its movement cannot
    be seen."""

    @property
    def broad(self) -> bool:
        """Whether more than speech or music moves it."""
        return self.wander_mhz > PICTURE_MHZ or self.spread_mhz > WIDE_MHZ

    @property
    def sweeps(self) -> bool:
        """Whether it moves slowly and far, as an oven does, instead of showing a picture."""
        return self.broad and self.jumpiness < SLOW

    @property
    def of_oven(self) -> bool:
        """Whether it sweeps, or follows twice the mains."""
        return self.sweeps or self.ripple > LEAST_RIPPLE

    @property
    def pauses(self) -> bool:
        """Whether it is a network that sends nearly all the time: that still pauses between its frames.

        A picture near the border of a view is beyond it now and then, but is a tone in each sample, and moves
        further than a network is broad.
        """
        moves = self.wander_mhz > NETWORK_MHZ and self.spread_mhz < TONE_MHZ
        leaves = moves and self.edge_mhz < LEAVES_WITHIN_MHZ
        return self.broad and self.silence > (MAX_AWAY if leaves else MAX_SILENCE)

    @property
    def is_picture(self) -> bool:
        """Whether it is always there, and moves as only a picture moves it."""
        always = self.presence > PICTURE_PRESENCE and not self.pauses
        return self.broad and not self.of_oven and self.steady and always

    @property
    def may_be_picture(self) -> bool:
        """Whether it moves as only a picture moves it, or with the lines of one, however little."""
        moves = self.line_share > LEAST_LINES or (self.broad and not self.of_oven)
        return moves and self.steady

    @property
    def steady(self) -> bool:
        """Whether it is as strong all the time as a carrier is."""
        fades = self.jumpiness > FADING_JUMPINESS and self.presence > FADING_PRESENCE
        limit_db = MAX_FADING_DB if fades and self.samples >= FADING_SAMPLES else MAX_SWING_DB
        return self.power_swing_db <= limit_db


@dataclass(frozen=True)
class Levels:
    """How strong each bin of a channel is, with its neighbours."""

    quiet_dbm: Floats
    usual_dbm: Floats


def levels(air: Air, picture: Picture) -> dict[float, Levels]:
    """Returns them for each channel, by its middle."""
    found = {}
    for centre, rows in air.channels.items():
        # Bin after bin in memory: what is sorted lies side by side.
        by_bin = np.ascontiguousarray(picture.smooth_dbm[rows[:: len(rows) // ENOUGH_SAMPLES + 1]].T)
        found[centre] = Levels(
            *np.percentile(by_bin, (QUIET_PERCENT, 50), axis=1, overwrite_input=True).astype(np.float32)
        )
    return found


def find_carriers(
    air: Air, peaks: Peaks, picture: Picture, level: dict[float, Levels]
) -> tuple[list[CarrierSeen], Bools]:
    """Returns the carriers of all channels, and which peaks belong to those that are neither ovens nor
    networks."""
    carriers: list[CarrierSeen] = []
    owned = np.zeros(len(peaks), bool)
    left: list[tuple[CarrierSeen, Bools]] = []
    channel = air.centre_mhz[peaks.row]
    for centre, rows in air.channels.items():
        if len(rows) < MIN_SAMPLES:
            continue
        here = channel == centre
        usual = level[centre].usual_dbm
        places = _humps(level[centre].quiet_dbm, len(rows))
        for place in [*places, None, None]:
            # What lies in the skirts of a stronger one is no hump, but its peaks are there in nearly each
            # sample.
            at = _steady(air, peaks, rows, here & ~owned) if place is None else place
            found = _measure(air, peaks, picture, rows, here & ~owned, at, usual) if at is not None else None
            if found is not None:
                carrier, members = found
                carriers.append(carrier)
                owned |= members
                if carrier.of_oven or carrier.pauses:
                    left.append((carrier, members))
                if carrier.is_picture and not carrier.outermost:
                    # Detail and sound of the picture, on both sides of its carrier.
                    beside = np.abs(peaks.frequency_mhz - carrier.frequency_mhz) < PICTURE_REACH_MHZ
                    owned |= here & beside & (peaks.power_dbm < carrier.power_dbm - PICTURE_BELOW_DB)
    for carrier, members in left:
        if carrier.sweeps or not _may_be_skirt(carrier, carriers):
            owned &= ~members
    return carriers, owned


def _may_be_skirt(carrier: CarrierSeen, others: list[CarrierSeen]) -> bool:
    """Tells whether a carrier may be the skirt of a picture, which comes and goes with its detail, or that
    picture in another view."""
    return any(
        each.is_picture
        and each.power_dbm > carrier.power_dbm - PICTURE_BELOW_DB
        and abs(each.frequency_mhz - carrier.frequency_mhz) < SKIRT_REACH_MHZ
        for each in others
    )


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


def _steady(air: Air, peaks: Peaks, rows: Ints, free: Bools) -> int | None:
    """Returns the bin around which most samples have a peak that is not explained yet."""
    mine = np.flatnonzero(free)
    if len(mine) < STEADY_SHARE * len(rows):
        return None
    place = (peaks.frequency_mhz[mine] - air.first_bin_mhz[rows[0]]) / air.spacing_mhz
    bins = air.dbm.shape[1]
    cells = np.bincount(np.clip(np.rint(place), 0, bins - 1).astype(np.intp), minlength=bins)
    for reach_mhz in (NEAR_MHZ, LIVELY_MHZ):
        reach = max(1, round(reach_mhz / air.spacing_mhz))
        near = np.convolve(cells, np.ones(2 * reach + 1), "same")
        at = int(near.argmax())
        close = np.abs(place - at) <= reach
        if len(np.unique(peaks.row[mine[close]])) >= STEADY_SHARE * len(rows):
            return int(np.clip(np.rint(median(place[close])), 0, bins - 1))
    return None


def _humps(quiet: Floats, count: int) -> list[int]:
    over = quiet - median(quiet)
    least = MIN_OVER_DB + 12 / np.sqrt(count)
    padded = np.pad(over, 3, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 7)
    tops = np.flatnonzero((over >= least) & (over == windows.max(axis=1)))
    order = tops[np.argsort(-over[tops])]
    kept: list[int] = []
    for top in order:
        # A skirt is no carrier: between two there is a valley.
        valleys = [over[min(top, other) : max(top, other) + 1].min() for other in kept]
        if all(valley < over[top] - 4 for valley in valleys):
            kept.append(int(top))
    return kept[:4]


def _measure(
    air: Air, peaks: Peaks, picture: Picture, rows: Ints, free: Bools, at: int, usual: Floats
) -> tuple[CarrierSeen, Bools] | None:
    within = usual > usual[at] - 10
    lower = at - int(np.argmin(within[: at + 1][::-1])) if not within[: at + 1].all() else 0
    upper = at + int(np.argmin(within[at:])) if not within[at:].all() else len(usual) - 1
    reach = max(NEAR_MHZ, (upper - lower) / 2 * air.spacing_mhz + 0.7)
    middle = float(air.first_bin_mhz[rows[0]]) + (lower + upper) / 2 * air.spacing_mhz
    members = free & (np.abs(peaks.frequency_mhz - middle) < reach)
    if not members.any():
        return None
    mine = np.flatnonzero(members)
    # One peak for each sample: the strongest.
    order = np.lexsort((-peaks.power_dbm[mine], peaks.row[mine]))
    mine = mine[order]
    mine = mine[np.concatenate(([True], np.diff(peaks.row[mine]) != 0))]
    power = median(peaks.power_dbm[mine])
    mine = mine[np.abs(peaks.power_dbm[mine] - power) < 8]
    if len(mine) < MIN_SAMPLES:
        return None
    smooth_dbm = picture.smooth_dbm[rows]
    strongest = smooth_dbm.max(axis=1)
    covered = _covered(smooth_dbm, at, power, air.spacing_mhz)
    clear = (picture.median_dbm[rows] < power - 6) & ~covered
    at_border = min(at, smooth_dbm.shape[1] - 1 - at) * air.spacing_mhz < BORDER_MHZ
    mine, presence = _undisturbed(
        mine, np.searchsorted(rows, peaks.row[mine]), clear, strongest - power, at_border
    )
    if presence < MIN_PRESENCE or len(mine) < MIN_SAMPLES:
        return None
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
    centre = float(air.centre_mhz[rows[0]])
    near_dc = bool(abs(mid - centre) < 1.6 * air.spacing_mhz)
    if near_dc:
        still = near_middle(seen, centre, air.spacing_mhz)
    else:
        still = farthest(bins_dbm, peaks.fine_mhz[some], air.visit[looked_at], air.spacing_mhz)
    average = np.log10(np.mean(10 ** (picture.smooth_dbm[looked_at] / 10), axis=0)) * 10
    inside = average > average.max() - 10
    near = inside[max(at - 30, 0) : at + 31]
    swing = percentiles(within_visits(peaks.power_dbm[mine], visit), 10, 90)
    # Everything near it that is not stronger is its own: other parts of the same signal.
    owned = free & (np.abs(peaks.frequency_mhz - mid) < max(reach, 3 * wander))
    owned &= peaks.power_dbm < power + 8
    spread = median(peaks.spread_mhz[mine])
    narrow = wander <= PICTURE_MHZ and spread <= WIDE_MHZ
    if narrow:
        # A burst on top of it makes it wider, and stronger.
        owned &= ~((peaks.spread_mhz > spread + ON_TOP_MHZ) & (peaks.power_dbm > power + ON_TOP_DB))
    other_tip, tip = sorted(tips(peaks, np.flatnonzero(free), mid, power))
    carrier = CarrierSeen(
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
        outermost=_is_outermost(air, rows, mid),
        edge_mhz=median(peaks.edge_mhz[mine]),
        cut_share=float(peaks.at_edge[mine].mean()),
        silence=float((strongest < power - SILENCE_BELOW_DB).mean()),
        tails_mhz=tail_high - tail_low,
        still_mhz=still,
        skirt_mhz=movement(bins_dbm, air.spacing_mhz),
        smooth_mhz=min(float(np.sqrt(variance * max(1 - jumpiness, 0))), still),
        flicker_db=flicker_db,
        tip_share=tip / len(rows),
        other_tip_share=other_tip / len(rows),
        pilot_share=pilot,
        line_share=max(lines),
        ripple=0.0 if narrow else _ripple(times, visit, peaks.power_dbm[mine], air.interval_s),
    )
    return carrier, owned


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
    sides = (smooth_dbm[:, max(at - far, 0) : max(at - near + 1, 0)], smooth_dbm[:, at + near : at + far + 1])
    covered = np.zeros(len(smooth_dbm), bool)
    for side in sides:
        if side.shape[1]:
            covered |= side.min(axis=1) > power_dbm - MIN_OVER_SHOULDERS_DB
    return covered


def _is_outermost(air: Air, rows: Ints, frequency_mhz: float) -> bool:
    place = (frequency_mhz - float(air.first_bin_mhz[rows[0]])) / air.spacing_mhz
    return not OUTERMOST_BINS < place < air.dbm.shape[1] - 1 - OUTERMOST_BINS

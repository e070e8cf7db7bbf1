"""A carrier on one channel of the radio: what was measured of it, and what that makes of it."""

from dataclasses import dataclass

import numpy as np

from services.airshark.analysis.air import Bools
from services.airshark.analysis.peaks import Peaks

NEAR_MHZ = 1.2
"""How far from its place most of its peaks are."""
PICTURE_MHZ = 0.17
"""A carrier that moves by more carries a picture."""
CAMERAS_MHZ = (2414.0, 2432.0, 2450.0, 2468.0)
"""Where pictures are sent."""
WIDE_MHZ = 1.3
PICTURE_REACH_MHZ, PICTURE_BELOW_DB, PICTURE_PRESENCE = 5.0, 5.0, 0.85
SKIRT_REACH_MHZ, SKIRT_FROM_MHZ, SKIRT_BELOW_DB = 15.0, 3.0, 10.0
"""So far from a picture its skirts look like carriers, and so much weaker they are off its place."""
LEAST_LINES = 0.25
"""How much of a carrier's movement comes again with each line, of a picture that hardly moves it."""
MAX_SWING_DB = 7.5
MAX_FADING_DB, FADING_JUMPINESS, FADING_PRESENCE, FADING_SAMPLES = 14.0, 0.55, 0.75, 100
"""A carrier that fades from sample to sample may swing by more, if it is nearly always there."""
MAX_SILENCE = 0.12
NETWORK_MHZ, TONE_MHZ, LEAVES_WITHIN_MHZ, MAX_AWAY = 0.8, 0.7, 3.0, 0.35
SLOW = 0.35
"""Jumpiness below which a broad carrier sweeps instead of showing a picture."""
LEAST_RIPPLE = 0.05
"""How much the amplitude of an oven with an inverter follows twice the mains."""


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
    bass_share: float
    """How much of its movement is slower than speech on a telephone."""
    sound_db: float
    """By how much something weaker stands out where the sound of a picture would be, on the better side."""
    ripple: float
    """Share of its amplitude that follows twice the mains, if that is far more than what follows the mains or
    other rates; looked for in broad ones alone."""
    in_skirt: bool
    """Whether most samples show no peak of it: it is a hump in the skirt of a stronger one."""
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


def keeps_peaks(carrier: CarrierSeen, carriers: list[CarrierSeen]) -> bool:
    """Tells whether a carrier is neither an oven nor a network, whose peaks are bursts."""
    if carrier.of_oven or carrier.pauses:
        return not carrier.sweeps and _may_be_skirt(carrier, carriers)
    return True


def is_own(carrier: CarrierSeen, peaks: Peaks, over_db: float) -> Bools:
    """Tells which peaks on its channel are of a carrier: what is stronger by so much is something else."""
    off_mhz = np.abs(peaks.frequency_mhz - carrier.frequency_mhz)
    near: Bools = off_mhz < max(NEAR_MHZ, 3 * carrier.wander_mhz)
    return (near & (peaks.power_dbm < carrier.power_dbm + over_db)) | of_picture(carrier, peaks)


def of_picture(carrier: CarrierSeen, peaks: Peaks) -> Bools:
    """Tells which peaks are detail and sound of a picture, on both sides of its carrier."""
    if not carrier.is_picture or carrier.outermost:
        return np.zeros(len(peaks), bool)
    beside: Bools = np.abs(peaks.frequency_mhz - carrier.frequency_mhz) < PICTURE_REACH_MHZ
    return beside & (peaks.power_dbm < carrier.power_dbm - PICTURE_BELOW_DB)


def _may_be_skirt(carrier: CarrierSeen, others: list[CarrierSeen]) -> bool:
    """Tells whether a carrier may be the skirt of a picture, which comes and goes with its detail, or that
    picture in another view."""

    def is_of(picture: CarrierSeen) -> bool:
        off_mhz = abs(picture.frequency_mhz - carrier.frequency_mhz)
        least_db = -PICTURE_BELOW_DB if off_mhz < SKIRT_FROM_MHZ else SKIRT_BELOW_DB
        return off_mhz < SKIRT_REACH_MHZ and picture.power_dbm > carrier.power_dbm + least_db

    return any(each.is_picture and is_of(each) for each in others)


def below_strongest_db(carriers: list[CarrierSeen], power_dbm: float) -> float:
    """Returns by how much the strongest of some carriers is stronger than something: what is far below it may
    be of its skirts."""
    return max(max((each.power_dbm for each in carriers), default=-np.inf) - power_dbm, 0.0)

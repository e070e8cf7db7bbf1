"""Networks that keep to slots or frames: which pulses are their own, what is left without them, and two of a
kind."""

from collections.abc import Collection

import numpy as np

from services.airshark.analysis.air import Bools, Times
from services.airshark.analysis.found import Device
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.rhythm import stretches

BLUETOOTH_SLOT_S = 625e-6
SLOTS_S = {Device.BLUETOOTH: BLUETOOTH_SLOT_S, Device.FHSS_PHONE: 5e-3}
"""What the starts of one network keep to, master and slave, base and handset alike."""
EXPLAINED = (*SLOTS_S, Device.XBOX)
"""Whose own pulses can be told from those of others that are as strong."""
ON_GRID_S = {Device.BLUETOOTH: 88e-6, Device.FHSS_PHONE: 0.3e-3}
"""How far from its grid a start is its own."""
DURATION_MS = {
    Device.BLUETOOTH: (0.05, 3.3),
    Device.BLE: (0.05, 0.55),
    Device.FHSS_PHONE: (0.45, 0.95),
    Device.XBOX: (0.1, 0.75),
}
FRAMES_S = 1 / np.arange(98.0, 510.0, 3.0)
FINER = np.linspace(0.985, 1.015, 31)
"""Lengths of frames of consoles, and how much finer they are measured then."""
IN_FRAME_S, LEAST_TOGETHER = 0.09e-3, 2
MIN_IN_STRETCH, MIN_COMPARED = 3, 12
MIN_IN_STEP = 0.35
OTHER_SLOT_ANGLE = 0.4
"""In radians: a sixteenth of a slot."""


def own_pulses(pulses: Pulses, device: Device) -> Bools:
    """Returns which pulses may be those of a hopper: by their length and, where it has any, its slots
    or frames."""
    low, high = DURATION_MS[device]
    duration = pulses.duration_s * 1e3
    fits: Bools = (duration >= low) & (duration <= high)
    if device not in EXPLAINED or not fits.any():
        return fits
    own = fits.copy()
    own[fits] = _in_frames(pulses.select(fits)) if device is Device.XBOX else _in_slots(pulses, fits, device)
    return own if own.any() else fits


def _in_slots(pulses: Pulses, fits: Bools, device: Device) -> Bools:
    """Returns which of the pulses that fit by their length begin where most of them do within a slot."""
    slot_s = SLOTS_S[device]
    stretch = stretches(pulses.start_s, pulses.visit)
    phase = np.exp(2j * np.pi * pulses.start_s / slot_s)
    sums = np.zeros(int(stretch.max()) + 1, np.complex128)
    np.add.at(sums, stretch[fits], phase[fits])
    off_s = np.abs(np.angle(phase * np.conj(sums[stretch]))) / (2 * np.pi) * slot_s
    in_slots: Bools = off_s[fits] < ON_GRID_S[device]
    return in_slots


def _in_frames(pulses: Pulses) -> Bools:
    """Returns which pulses come at a time within a frame at which others come too, of those near in time: a
    console and its pads send at the same times in each frame, whose length is measured."""
    if len(pulses) < MIN_COMPARED:
        return np.ones(len(pulses), bool)
    time_s, stretch = pulses.start_s, stretches(pulses.start_s, pulses.visit)
    one, other = np.nonzero(np.triu(stretch[:, None] == stretch, 1))
    apart_s = time_s[other] - time_s[one]
    frame_s = _frame_s(apart_s, FRAMES_S)
    frame_s = _frame_s(apart_s, frame_s * FINER)
    together = _off_frame_s(apart_s, frame_s) < IN_FRAME_S
    count = np.bincount(one[together], minlength=len(pulses))
    count += np.bincount(other[together], minlength=len(pulses))
    in_frames: Bools = count >= LEAST_TOGETHER
    return in_frames


def _frame_s(apart_s: Times, lengths_s: Times) -> float:
    """Returns that length of a frame at multiples of which most pairs are apart, less those by chance."""
    fits = np.array([np.count_nonzero(_off_frame_s(apart_s, each) < IN_FRAME_S) for each in lengths_s])
    return float(lengths_s[int((fits - len(apart_s) * 2 * IN_FRAME_S / lengths_s).argmax())])


def _off_frame_s(apart_s: Times, frame_s: float) -> Times:
    """Returns how far times are from a whole number of frames."""
    off_s: Times = np.abs(apart_s - np.rint(apart_s / frame_s) * frame_s)
    return off_s


def without(pulses: Pulses, devices: Collection[Device]) -> Pulses:
    """Returns the pulses that none of these networks explains."""
    left = np.ones(len(pulses), bool)
    for device in devices:
        left &= ~own_pulses(pulses, device)
    return pulses.select(left)


def keep_other_slots(one: Pulses, other: Pulses, slot_s: float) -> bool:
    """Tells whether two groups begin at different times within their slots: two clocks drive them."""
    time_s = np.concatenate((one.start_s, other.start_s))
    order = np.argsort(time_s, kind="stable")
    time_s = time_s[order]
    stretch = stretches(time_s, np.concatenate((one.visit, other.visit))[order])
    wave = np.exp(2j * np.pi * time_s / slot_s)
    of_one = order < len(one)
    count = int(stretch.max()) + 1
    sums, sizes = np.zeros((2, count), np.complex128), np.zeros((2, count))
    for side, mine in enumerate((of_one, ~of_one)):
        np.add.at(sums[side], stretch[mine], wave[mine])
        np.add.at(sizes[side], stretch[mine], 1)
    enough = (sizes >= MIN_IN_STRETCH).all(axis=0)
    if sizes[:, enough].min(axis=0).sum() < MIN_COMPARED:
        return False
    # The mean direction of each group within a stretch; what keeps to no slots has none.
    mean = sums[:, enough] / sizes[:, enough]
    between = np.average(mean[0] * np.conj(mean[1]), weights=sizes[:, enough].min(axis=0))
    return bool(abs(between) > MIN_IN_STEP and abs(np.angle(between)) > OTHER_SLOT_ANGLE)

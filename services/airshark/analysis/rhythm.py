"""Slot grids and mains: how far starts or activity follow a period, without trust in clocks between
visits."""

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Ints, Times

MAX_COHERENT_S = 0.25
"""Clocks of devices and of the radio drift apart; longer stretches are cut."""


def stretches(time_s: Times, visit: Ints) -> Ints:
    """Returns numbers of stretches in which phases can be compared."""
    piece = np.floor(time_s / MAX_COHERENT_S).astype(np.int64)
    _, number = np.unique(np.stack((visit, piece), axis=1), axis=0, return_inverse=True)
    return number.reshape(-1)


def grid_strength(time_s: Times, stretch: Ints, periods_s: Times) -> "tuple[Times, Times]":
    """Returns for each period how well the times lie on a grid, 0 to 1, and how many lie on it.

    The phase of the grid is free in each stretch. By chance it is 0 on average.
    """
    if len(time_s) < 2:
        return np.zeros(len(periods_s)), np.zeros(len(periods_s))
    phase = np.exp(2j * np.pi * time_s[:, None] / periods_s[None, :])
    count = int(stretch.max()) + 1
    size = np.bincount(stretch, minlength=count).astype(np.float64)
    sums = np.zeros((count, len(periods_s)), np.complex128)
    np.add.at(sums, stretch, phase)
    pairs = (size * (size - 1)).sum()
    if pairs <= 0:
        return np.zeros(len(periods_s)), np.zeros(len(periods_s))
    coherent = ((np.abs(sums) ** 2).sum(axis=0) - size.sum()) / pairs
    strength = np.sqrt(np.maximum(coherent, 0))
    return strength, strength * size.sum()


class Lines:
    """How strongly activity follows some frequencies; waves are worked out once for several activities."""

    def __init__(self, time_s: Times, stretch: Ints, frequencies_hz: Times) -> None:
        # Stretches are numbered in the order of time, so each is one piece.
        self._starts = np.flatnonzero(np.diff(stretch, prepend=-1))
        self._sizes = np.diff(self._starts, append=len(stretch))
        cycles = (frequencies_hz[:, None] * time_s[None, :]) % 1.0
        self._waves = np.exp(2j * np.pi * cycles.astype(np.float32))

    def strength(self, activity: "npt.NDArray[np.floating]") -> Times:
        """Returns it for each frequency, relative to the mean of the activity; all stretches together."""
        total = np.add.reduceat(activity, self._starts)
        centred = (activity - np.repeat(total / self._sizes, self._sizes)).astype(np.float32)
        sums = np.add.reduceat(self._waves * centred, self._starts, axis=1)
        power = (np.abs(sums) ** 2).sum(axis=1)
        strength: Times = np.sqrt(power / max(float((total**2).sum()), 1e-12))
        return strength

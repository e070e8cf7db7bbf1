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


def line_strength(
    activity: "npt.NDArray[np.floating]", time_s: Times, stretch: Ints, frequencies_hz: Times
) -> Times:
    """Returns for each frequency how strongly activity follows it, relative to its mean; all stretches
    together."""
    count = int(stretch.max()) + 1 if len(stretch) else 0
    if not count or not activity.any():
        return np.zeros(len(frequencies_hz))
    total = np.bincount(stretch, activity, count)
    size = np.bincount(stretch, minlength=count)
    mean = total / np.maximum(size, 1)
    centred = activity - mean[stretch]
    wave = np.exp(2j * np.pi * time_s[:, None] * frequencies_hz[None, :]) * centred[:, None]
    power = np.zeros(len(frequencies_hz))
    for index in range(len(frequencies_hz)):
        real = np.bincount(stretch, wave[:, index].real, count)
        imag = np.bincount(stretch, wave[:, index].imag, count)
        power[index] = (real**2 + imag**2).sum()
    strength: Times = np.sqrt(power / max(float((total**2).sum()), 1e-12))
    return strength

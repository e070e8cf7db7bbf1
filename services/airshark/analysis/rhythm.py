"""Slot grids and mains: how far starts or activity follow a period, without trust in clocks between
visits."""

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Ints, Times
from services.airshark.analysis.ranks import runs

MAX_COHERENT_S = 0.25
"""Clocks of devices and of the radio drift apart; longer stretches are cut."""
TOGETHER_S = 0.5e-3
LINES_HZ = np.array([50.0, 60.0, 100.0, 120.0])
CONTROLS_HZ = np.array([35.0, 41.0, 70.0, 77.0, 85.0, 140.0, 160.0])
"""Mains and twice their frequency, and what nothing should follow."""


def stretches(time_s: Times, visit: Ints) -> Ints:
    """Returns numbers, from 0 on, of stretches in which phases can be compared; times are in order."""
    if not len(time_s):
        return np.zeros(0, np.int64)
    new = np.ones(len(time_s), bool)
    np.not_equal(visit[1:], visit[:-1], out=new[1:])
    came_s = time_s[new][np.cumsum(new) - 1]
    piece = np.floor((time_s - came_s) / MAX_COHERENT_S)
    new[1:] |= piece[1:] != piece[:-1]
    return np.cumsum(new) - 1


def grid_strength(time_s: Times, stretch: Ints, periods_s: Times) -> "tuple[Times, Times]":
    """Returns for each period how well the times lie on a grid, 0 to 1, and how many lie on it.

    The phase of the grid is free in each stretch; stretches are numbered in order. By chance it is 0.
    """
    if len(time_s) < 2:
        return np.zeros(len(periods_s)), np.zeros(len(periods_s))
    cycles = time_s[:, None] * (1 / periods_s)
    cycles -= np.floor(cycles)
    angle = cycles.astype(np.float32) * np.float32(2 * np.pi)
    starts, lengths = runs(stretch)
    size = lengths.astype(np.float64)
    pairs = (size * (size - 1)).sum()
    if pairs <= 0:
        return np.zeros(len(periods_s)), np.zeros(len(periods_s))
    real, imaginary = (np.add.reduceat(wave(angle), starts, dtype=np.float64) for wave in (np.cos, np.sin))
    power = real**2 + imaginary**2
    coherent = (power.sum(axis=0) - size.sum()) / pairs
    strength = np.sqrt(np.clip(coherent, 0, 1))
    return strength, strength * size.sum()


class Lines:
    """How strongly activity follows some frequencies; waves are worked out once for several activities."""

    def __init__(self, time_s: Times, stretch: Ints, frequencies_hz: Times, interval_s: float) -> None:
        # The frequencies are low: samples are taken together, within stretches, which saves most of the work.
        # Stretches are numbered in the order of time, so each is one piece.
        together = max(1, int(TOGETHER_S / max(interval_s, 1e-6)))
        bounds, self._sizes = runs(stretch)
        inside = np.arange(len(stretch)) - np.repeat(bounds, self._sizes)
        self._blocks, self._block_sizes = runs(stretch * len(stretch) + inside // together)
        self._starts, self._repeats = runs(stretch[self._blocks])
        middle = np.add.reduceat(time_s, self._blocks) / self._block_sizes
        angle = ((frequencies_hz[:, None] * middle) % 1.0).astype(np.float32) * np.float32(2 * np.pi)
        self._waves = np.cos(angle), np.sin(angle)

    def strength(self, activity: "npt.NDArray[np.floating]") -> Times:
        """Returns it for each frequency, relative to the mean of the activity; all stretches together."""
        block = np.add.reduceat(activity.astype(np.float64), self._blocks)
        total = np.add.reduceat(block, self._starts)
        mean = np.repeat(total / self._sizes, self._repeats)
        centred = (block - mean * self._block_sizes).astype(np.float32)
        power = sum(
            (np.add.reduceat(wave * centred, self._starts, axis=1) ** 2).sum(axis=1) for wave in self._waves
        )
        strength: Times = np.sqrt(power / max(float((total**2).sum()), 1e-12)).astype(np.float64)
        return strength

    def powers(self, levels: "npt.NDArray[np.floating]") -> "tuple[Times, Times]":
        """Returns for each stretch how much of each of k levels follows each frequency, (stretches,
        frequencies, k), and how much that would be if all of it did, (stretches, k); `levels` is (n, k)."""
        blocks = np.add.reduceat(levels, self._blocks) / self._block_sizes[:, None].astype(np.float32)
        mean = np.add.reduceat(blocks, self._starts) / self._repeats[:, None].astype(np.float32)
        blocks -= np.repeat(mean, self._repeats, axis=0)
        power = sum(
            np.add.reduceat(wave[:, :, None] * blocks, self._starts, axis=1) ** 2 for wave in self._waves
        )
        energy = np.add.reduceat(blocks**2, self._starts) * (self._repeats[:, None] / 2)
        return np.swapaxes(power, 0, 1).astype(np.float64), energy.astype(np.float64)

"""Baseband signals seen through the radio's FFT window.

Every transmitter here has a constant envelope, so a signal is its instantaneous frequency. It is integrated
over one window at twice the radio's rate, which keeps what lies outside the band from folding into it, and
only the bins in the middle of the transform are kept, as the radio does.
"""

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[np.float32]"
Spectra: TypeAlias = "npt.NDArray[np.complex64]"

FFT_BINS = 64
BINS = 56
OVERSAMPLING = 2
POINTS = FFT_BINS * OVERSAMPLING


class Modulation(Enum):
    """How a transmitter moves its frequency within one window of 3 microseconds."""

    TONE = "tone"
    GFSK_BASIC = "gfsk_basic"
    GFSK_LE = "gfsk_le"
    GFSK_PHONE = "gfsk_phone"
    OQPSK = "oqpsk"
    MULTIPLEX = "multiplex"
    VIDEO = "video"
    DETAIL = "detail"
    MAGNETRON = "magnetron"


def windows(
    modulation: Modulation, offset_mhz: Array, spacing_mhz: float, rng: np.random.Generator
) -> Spectra:
    """Returns the bins (n, 56) of n windows of a signal of power 1, that lies `offset_mhz` from the tuned
    centre.

    Bin 28 is the centre. The powers of the bins add up to 1 if the whole signal is inside them.
    """
    count = len(offset_mhz)
    step_us = 1 / (POINTS * spacing_mhz)
    frequency = offset_mhz[:, None] + _deviation(modulation, count, step_us, rng)
    phase = np.cumsum(frequency, axis=1, dtype=np.float32)
    phase *= np.float32(2 * np.pi * step_us)
    phase += rng.uniform(0, 2 * np.pi, (count, 1)).astype(np.float32)
    signal = np.empty(phase.shape, np.complex64)
    np.cos(phase, out=signal.real)
    np.sin(phase, out=signal.imag)
    transform = np.fft.fft(signal, axis=1) / POINTS
    half = BINS // 2
    return np.concatenate((transform[:, -half:], transform[:, :half]), axis=1).astype(np.complex64)


def _deviation(modulation: Modulation, count: int, step_us: float, rng: np.random.Generator) -> Array:
    return _DEVIATIONS[modulation](count, step_us, rng)


def _tone(count: int, step_us: float, rng: np.random.Generator) -> Array:
    return np.zeros((count, 1), np.float32) + np.zeros(POINTS, np.float32)


def _symbols(count: int, step_us: float, rate_mhz: float, smooth: float, rng: np.random.Generator) -> Array:
    """Returns random symbols of +-1 at `rate_mhz`, smoothed over a share of a symbol, each window at a
    phase of its own."""
    length = int(np.ceil(POINTS * step_us * rate_mhz)) + 2
    symbols = rng.choice(np.array([-1.0, 1.0], np.float32), (count, length))
    at = rng.uniform(0, 1, (count, 1)) + np.arange(POINTS) * step_us * rate_mhz
    values = np.take_along_axis(symbols, at.astype(np.intp), axis=1)
    taps = int(smooth / (rate_mhz * step_us))
    if taps > 1:
        sums = np.cumsum(np.pad(values, ((0, 0), (taps, 0)), mode="edge"), axis=1)
        values = (sums[:, taps:] - sums[:, :-taps]) / taps
    return values.astype(np.float32)


def _fsk(
    rate_mhz: float, deviation_mhz: float, smooth: float
) -> Callable[[int, float, np.random.Generator], Array]:
    def deviation(count: int, step_us: float, rng: np.random.Generator) -> Array:
        return _symbols(count, step_us, rate_mhz, smooth, rng) * np.float32(deviation_mhz)

    return deviation


def _video(count: int, step_us: float, rng: np.random.Generator) -> Array:
    """A picture on a wide FM carrier, with its sound carrier at 6.5 MHz.

    Most windows see a flat part of the picture, so their energy lies in a bin or two, at a place that the
    brightness moves; some see edges, and one in fourteen a line sync pulse.
    """
    detail = rng.exponential(0.25, (count, 1)).astype(np.float32)
    edges = rng.normal(0, 1, (count, 10)).astype(np.float32) * detail
    picture = np.repeat(edges, int(np.ceil(POINTS / 10)), axis=1)[:, :POINTS]
    sync = rng.uniform(size=(count, 1)) < 1 / 14
    level = np.where(sync, -1.8, picture)
    time_us = np.arange(POINTS, dtype=np.float32) * np.float32(step_us)
    sound = np.sin(2 * np.pi * 6.5 * time_us + rng.uniform(0, 6.3, (count, 1))).astype(np.float32)
    deviation: Array = (level + 0.5 * sound).astype(np.float32)
    return deviation


def _multiplex(count: int, step_us: float, rng: np.random.Generator) -> Array:
    """Something on a narrow FM carrier that changes within a window."""
    steps = np.repeat(rng.normal(0, 1, (count, 8)), POINTS // 8, axis=1)
    return (steps * rng.uniform(0.12, 0.3)).astype(np.float32)


def _detail(count: int, step_us: float, rng: np.random.Generator) -> Array:
    """The finest detail of a picture: noise over some MHz."""
    steps = np.repeat(rng.normal(0, 1, (count, 32)), POINTS // 32, axis=1)
    return (steps * rng.uniform(1.5, 5.0)).astype(np.float32)


def _magnetron(count: int, step_us: float, rng: np.random.Generator) -> Array:
    """A carrier that its supply pushes by some hundreds of kilohertz within microseconds."""
    steps = np.repeat(rng.normal(0, 1, (count, 8)), POINTS // 8, axis=1)
    width_mhz = rng.uniform(0.1, 0.6, (count, 1))
    return (steps * width_mhz + rng.normal(0, 0.3, (count, 1))).astype(np.float32)


_DEVIATIONS: dict[Modulation, Callable[[int, float, np.random.Generator], Array]] = {
    Modulation.TONE: _tone,
    Modulation.GFSK_BASIC: _fsk(1.0, 0.16, 0.8),
    Modulation.GFSK_LE: _fsk(1.0, 0.25, 0.8),
    Modulation.GFSK_PHONE: _fsk(1.152, 0.288, 0.8),
    Modulation.OQPSK: _fsk(2.0, 0.5, 0.0),
    Modulation.MULTIPLEX: _multiplex,
    Modulation.VIDEO: _video,
    Modulation.DETAIL: _detail,
    Modulation.MAGNETRON: _magnetron,
}

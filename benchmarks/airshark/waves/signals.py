"""Waveforms: what a transmitter sends within the short windows in which the radio looks."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = "npt.NDArray[np.float64]"
Bools: TypeAlias = "npt.NDArray[np.bool_]"
Rows: TypeAlias = "npt.NDArray[np.intp]"
Waves: TypeAlias = "npt.NDArray[np.complex64]"
Wave: TypeAlias = Callable[[Numbers, Numbers, Numbers, np.random.Generator], Waves]
"""Of window starts (s), offsets of the transmitter from the middle of the view (MHz), sampling times within a
window (us) and chance: one waveform of power 1 for each window."""


def _shifted(offset_mhz: Numbers, at_us: Numbers, deviation_mhz: Numbers, rng: np.random.Generator) -> Waves:
    """Returns carriers with a frequency that changes within the window; deviations are (windows, times)."""
    step_us = at_us[1] - at_us[0]
    turns = offset_mhz[:, None] * at_us + np.cumsum(deviation_mhz, axis=1) * step_us
    turns += rng.uniform(size=(len(offset_mhz), 1))
    angle = ((turns % 1.0) * (2 * np.pi)).astype(np.float32)
    result: Waves = np.cos(angle) + np.complex64(1j) * np.sin(angle)
    return result


def _moved(body: "npt.NDArray[np.generic]", offset_mhz: Numbers, at_us: Numbers) -> Waves:
    """Returns waveforms around the middle of the view moved to where they are sent."""
    result: Waves = (body * np.exp(2j * np.pi * offset_mhz[:, None] * at_us)).astype(np.complex64)
    return result


def gfsk(rate_mbaud: float, deviation_mhz: float, bandwidth_time: float) -> Wave:
    """Returns frequency shift keying with random bits through a Gaussian filter."""
    sigma_us = 0.1325 / bandwidth_time / rate_mbaud

    def wave(start_s: Numbers, offset_mhz: Numbers, at_us: Numbers, rng: np.random.Generator) -> Waves:
        symbol_us = 1 / rate_mbaud
        count = int(at_us[-1] / symbol_us) + 9
        bits = rng.choice([-1.0, 1.0], (len(start_s), count))
        begin = rng.uniform(3, 4) * symbol_us
        # Each symbol's share of the frequency at each time, by the filter's step response.
        edge = (at_us + begin)[None, :] - symbol_us * np.arange(count + 1)[:, None]
        step = 0.5 * (1 + np.tanh(edge / sigma_us * 0.85))
        return _shifted(offset_mhz, at_us, deviation_mhz * (bits @ (step[:-1] - step[1:])), rng)

    return wave


def half_sine(start_s: Numbers, offset_mhz: Numbers, at_us: Numbers, rng: np.random.Generator) -> Waves:
    """Offset QPSK with half sines, 2 Mchip/s: the frequency is a quarter of the chip rate up or down."""
    count = int(at_us[-1] * 2) + 3
    bits = rng.choice([-0.5, 0.5], (len(start_s), count))
    which = (at_us * 2 + rng.uniform()).astype(int)
    return _shifted(offset_mhz, at_us, bits[:, which], rng)


def modulated(course: Callable[[Numbers], Numbers]) -> Wave:
    """Returns a carrier whose frequency follows a function of the time in s, in MHz around its middle."""

    def wave(start_s: Numbers, offset_mhz: Numbers, at_us: Numbers, rng: np.random.Generator) -> Waves:
        return _shifted(offset_mhz, at_us, course(start_s[:, None] + at_us[None, :] * 1e-6), rng)

    return wave


def noise(width_mhz: float) -> Wave:
    """Returns even noise of a width."""

    def wave(start_s: Numbers, offset_mhz: Numbers, at_us: Numbers, rng: np.random.Generator) -> Waves:
        count = max(int(width_mhz / 0.17), 1)
        tones = (np.arange(count) + 0.5) / count * width_mhz - width_mhz / 2
        basis = np.exp(2j * np.pi * tones[:, None] * at_us).astype(np.complex64)
        weight = rng.normal(size=(len(start_s), count)) + 1j * rng.normal(size=(len(start_s), count))
        body = (weight / np.sqrt(2 * count)).astype(np.complex64) @ basis
        turned = np.exp(2j * np.pi * offset_mhz[:, None] * at_us).astype(np.complex64)
        result: Waves = body * turned
        return result

    return wave


def ofdm(carriers: int) -> Wave:
    """Returns carriers 312.5 kHz apart with random symbols of 4 us, one of which may end in the window."""
    numbers = np.concatenate((np.arange(-(carriers // 2), 0), np.arange(1, carriers // 2 + 1)))

    def wave(start_s: Numbers, offset_mhz: Numbers, at_us: Numbers, rng: np.random.Generator) -> Waves:
        basis = np.exp(2j * np.pi * 0.3125 * numbers[:, None] * at_us).astype(np.complex64)
        shape = (len(start_s), len(numbers))
        one, other = (
            (rng.choice([-1, 1], shape) + 1j * rng.choice([-1, 1], shape)).astype(np.complex64) @ basis
            for _ in range(2)
        )
        ends_us = rng.uniform(0, 4, (len(start_s), 1))
        body = np.where(at_us < ends_us, one, other) / np.sqrt(2 * len(numbers))
        return _moved(body, offset_mhz, at_us)

    return wave


def dsss(start_s: Numbers, offset_mhz: Numbers, at_us: Numbers, rng: np.random.Generator) -> Waves:
    """Chips of either sign, 11 of them in a microsecond."""
    which = (at_us * 11 + rng.uniform()).astype(int)
    chips = rng.choice([-1.0, 1.0], (len(start_s), which[-1] + 1))
    # Two paths, as any transmitter's filter makes corners round.
    body = 0.5 * (chips[:, which] + chips[:, np.maximum(which - (rng.uniform() < 0.5), 0)])
    return _moved(body, offset_mhz, at_us)

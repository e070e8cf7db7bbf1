"""Signals that look like shaped noise in one window: Wi-Fi frames and broadband jammers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.airshark.simulator.emissions import Floats
from services.airshark.simulator.waveforms import BINS

EXCHANGE_GAP_S = 16e-6


@dataclass(frozen=True)
class Jammer:
    """Flat noise over a part of the band, always on."""

    centre_mhz: float
    width_mhz: float
    level_dbm: float

    def power_mw(self, offset_mhz: Floats) -> Floats:
        """Returns the power of each bin at these distances from the centre, given bins of 1 MHz."""
        inside = np.abs(offset_mhz) < self.width_mhz / 2
        return (10 ** (self.level_dbm / 10) / self.width_mhz * inside).astype(np.float64)


@dataclass(frozen=True)
class Frames:
    """Frames of one Wi-Fi network."""

    start_s: Floats
    end_s: Floats
    centre_mhz: float
    width_mhz: float
    dsss: "npt.NDArray[np.bool_]"
    level_dbm: Floats

    def at(self, time_s: Floats) -> "npt.NDArray[np.intp]":
        """Returns the number of the frame at each time, or -1."""
        which = np.searchsorted(self.start_s, time_s, side="right") - 1
        return np.where((which >= 0) & (time_s < self.end_s[np.maximum(which, 0)]), which, -1)


def shape(offset_mhz: Floats, width_mhz: float, dsss: bool) -> Floats:
    """Returns the power density of a frame of power 1, per MHz, at these distances from its centre."""
    distance = np.abs(offset_mhz)
    if dsss:
        density: Floats = np.sinc(offset_mhz / 11.0) ** 2 / 11.0
        return np.where(distance < 11, density, np.maximum(density * 0.05, 1e-6))
    half = width_mhz * 0.8875 / 2
    beyond = np.maximum(distance - half, 0)
    # The skirt falls 5 dB at once, some 12 dB within a MHz, and then slowly.
    loss_db = np.where(beyond > 0, np.minimum(5 + 8 * beyond, 18 + 0.9 * beyond), 0)
    return 10 ** (-loss_db / 10) / (2 * half)


def network(
    seconds: float,
    load: float,
    centre_mhz: float,
    level_dbm: float,
    width_mhz: float,
    rng: np.random.Generator,
) -> Frames:
    """Returns beacons and data exchanges that fill a share `load` of the time."""
    begin, starts, ends, dsss, levels = 0.0, [], [], [], []
    beacon = rng.uniform(0, 0.1024)
    mean_frame = float(rng.choice([rng.uniform(0.15e-3, 0.4e-3), rng.uniform(0.3e-3, 1.8e-3), 3e-3]))
    even = rng.uniform() < 0.3
    slow_share = float(rng.choice([0, 0, 0, 0.3, 0.8]))
    pause = mean_frame * (1 - load) / max(load, 1e-3)
    while begin < seconds:
        if beacon <= begin:
            slow = bool(rng.uniform() < 0.6)
            length, is_dsss = (rng.uniform(1e-3, 2.4e-3), True) if slow else (rng.uniform(3e-4, 5e-4), False)
            beacon += 0.1024
            own_level = level_dbm
        else:
            length = mean_frame if even else float(np.clip(rng.exponential(mean_frame), 30e-6, 5.4e-3))
            is_dsss = bool(rng.uniform() < slow_share)
            own_level = level_dbm + float(rng.choice([0.0, -8.0, -15.0]))
        starts += [begin, begin + length + EXCHANGE_GAP_S]
        ends += [begin + length, begin + length + EXCHANGE_GAP_S + 40e-6]
        dsss += [is_dsss, is_dsss]
        levels += [own_level, level_dbm - 5]
        free = ends[-1] + 50e-6
        begin = min(free + float(rng.exponential(pause)), max(beacon, free))
    return Frames(np.array(starts), np.array(ends), centre_mhz, width_mhz, np.array(dsss), np.array(levels))


def gaussian(density_mw: Floats, rng: np.random.Generator) -> "npt.NDArray[np.complex64]":
    """Returns noise of these powers per bin; (n, 56)."""
    scale = np.sqrt(density_mw / 2)
    values = rng.standard_normal((len(density_mw), BINS, 2), dtype=np.float32)
    return (values.view(np.complex64)[..., 0] * scale).astype(np.complex64)

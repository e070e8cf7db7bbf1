"""What transmitters do over time: bursts and carriers, each with its frequency and power."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from services.airshark.simulator.waveforms import Modulation

Floats: TypeAlias = "npt.NDArray[np.float64]"
Rows: TypeAlias = "npt.NDArray[np.intp]"


@dataclass(frozen=True)
class Seen:
    """What a radio meets of one transmitter in some of its windows; all arrays are (n,)."""

    rows: Rows
    """Numbers of the windows in which it is on."""
    frequency_mhz: Floats
    gain_db: Floats
    """Relative to the transmitter's level."""
    modulation: Modulation


class Transmitter(Protocol):
    """Something on the air."""

    def seen(self, time_s: Floats, rng: np.random.Generator) -> list[Seen]:
        """Returns what windows at these times, in order, see of it."""
        ...


@dataclass(frozen=True)
class Bursts:
    """Bursts of one modulation, in order, that do not overlap; all arrays have one entry per burst."""

    start_s: Floats
    end_s: Floats
    frequency_mhz: Floats
    gain_db: Floats
    modulation: Modulation

    def seen(self, time_s: Floats, rng: np.random.Generator) -> list[Seen]:
        """Returns what windows at these times see of the bursts."""
        if not len(self.start_s):
            return []
        at = np.searchsorted(self.start_s, time_s, side="right") - 1
        rows = np.flatnonzero((at >= 0) & (time_s < self.end_s[np.maximum(at, 0)]))
        which = at[rows]
        return [Seen(rows, self.frequency_mhz[which], self.gain_db[which], self.modulation)]


@dataclass(frozen=True)
class Program:
    """Speech or music: some tones; all arrays are (k,)."""

    hertz: Floats
    deviation: Floats
    """Of the carrier by each tone, in MHz."""
    phase: Floats

    def deviation_mhz(self, time_s: Floats) -> Floats:
        """Returns how far they move a carrier at these times."""
        turns = time_s[:, None] * self.hertz + self.phase
        deviation: Floats = np.sin(2 * np.pi * turns) @ self.deviation
        return deviation


@dataclass(frozen=True)
class Carrier:
    """A carrier that never ends."""

    frequency_mhz: float
    modulation: Modulation
    wander_mhz: float = 0.0
    """Standard deviation of the frequency from window to window, from what is on it."""
    program: Program | None = None
    """Speech or music on it, which moves the frequency slowly enough for neighbouring windows to be alike."""
    drift_mhz: float = 0.0
    """By how much it drifts up and down within half a minute."""
    gain_db: float = 0.0
    fades: bool = False
    """Whether its power varies from window to window as that of noise does."""

    def seen(self, time_s: Floats, rng: np.random.Generator) -> list[Seen]:
        """Returns all windows."""
        count = len(time_s)
        frequency = self.frequency_mhz + self.drift_mhz * np.sin(2 * np.pi * time_s / 30)
        frequency = frequency + rng.normal(0, 1, count) * self.wander_mhz
        if self.program is not None:
            frequency = frequency + self.program.deviation_mhz(time_s)
        gain = np.full(count, self.gain_db)
        if self.fades:
            gain = gain + 10 * np.log10(rng.exponential(1.0, count) + 1e-3)
        return [Seen(np.arange(count), frequency, gain, self.modulation)]


@dataclass(frozen=True)
class Oven:
    """A magnetron that its mains supply switches on and off."""

    mains_hz: float
    phase: float
    centre_mhz: float
    sweep_mhz: float
    """From the edge of a burst to its middle."""
    on_share: float
    inverter: bool
    middle: float = 0.5
    """Share of a burst after which the sweep turns back."""
    switched_on: float = 1.0
    """Share of the windows within a burst in which it sends: an inverter switches it on and off some ten
    thousand times a second."""
    least: float = 0.3
    """Amplitude at the edges of a burst, as a share of that in its middle."""
    shakes_mhz: float = 0.0
    """How far the switching moves it, which is faster than windows come."""

    def seen(self, time_s: Floats, rng: np.random.Generator) -> list[Seen]:
        """Returns the windows within bursts, and the wide transients at their edges."""
        rate_hz = self.mains_hz * (2 if self.inverter else 1)
        cycle = (time_s * rate_hz + self.phase) % 1.0
        on = cycle < self.on_share
        if self.switched_on < 1:
            on &= rng.uniform(size=len(on)) < self.switched_on
        rows = np.flatnonzero(on)
        inside = cycle[rows] / self.on_share
        amplitude = np.sin(np.pi * inside)
        way = np.where(inside < self.middle, inside / self.middle, (1 - inside) / (1 - self.middle))
        frequency = self.centre_mhz + self.sweep_mhz * (np.sin(np.pi / 2 * way) - 0.5)
        if self.shakes_mhz:
            frequency += self.shakes_mhz * np.sin(rng.uniform(0, 2 * np.pi, len(rows)))
        gain = 20 * np.log10(np.maximum(self.least + (1 - self.least) * amplitude, 0.05))
        seen = [Seen(rows, frequency, gain, Modulation.MAGNETRON)]
        edge = (inside < 0.05) | (inside > 0.95)
        if not self.inverter and edge.any():
            wide = rows[edge]
            spread = self.centre_mhz + rng.normal(0, 12, (3, len(wide)))
            seen += [Seen(wide, each, np.full(len(wide), -15.0), Modulation.MAGNETRON) for each in spread]
        return seen

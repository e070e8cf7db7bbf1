"""The receiver: when it looks, what its gain control and converter make of it, and which bytes the driver
writes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.airshark.simulator.emissions import Floats
from services.airshark.simulator.waveforms import BINS

CLOCK_MHZ = 44.0
WINDOW_S = 4e-6
RETUNE_S = 0.015
DC_BIN = 28
CORRUPT_EXPONENT = 14

RECORD = np.dtype(
    [
        ("type", "u1"),
        ("length", ">u2"),
        ("max_exp", "u1"),
        ("freq", ">u2"),
        ("rssi", "i1"),
        ("noise", "i1"),
        ("max_magnitude", ">u2"),
        ("max_index", "u1"),
        ("bitmap_weight", "u1"),
        ("tsf", ">u8"),
        ("bins", "u1", (BINS,)),
    ]
)


@dataclass(frozen=True)
class FrontEnd:
    """The card: its noise, its errors, and its faults."""

    spacing_mhz: float = 22 / 64
    floor_dbm: float = -95.0
    """True thermal noise in 20 MHz."""
    noise_field_dbm: int = -95
    """What the driver says it is."""
    rssi_error_db: float = 1.0
    """Standard deviation of the RSSI of a sample."""
    distortion_db: float = -37.0
    """What phase noise and limited linearity add to each bin, relative to the whole sample."""
    skirt_db: float | None = None
    """What the window of the transform takes from a narrow signal in the first bin beside it, in two times as
    many dB four bins away, and so on; by default a rectangular window with nothing else."""
    skirt_floor_db: float = 34.0
    """Its least part anywhere in the view."""
    rssi_stuck_db: int | None = None
    lost_share: float = 0.0
    corrupt_share: float = 0.0
    tsf_restarts: bool = False
    """The clock starts anew at each change of channel."""


@dataclass(frozen=True)
class Plan:
    """When and where the radio looks."""

    channels_mhz: tuple[int, ...]
    dwell_s: float
    period: int = 18
    """The driver's `spectral_period`."""
    samples_per_visit: int | None = None
    """Samples after each retune, as with `chanscan`; without it the radio samples all the time."""
    retune_s: float = RETUNE_S

    @property
    def interval_s(self) -> float:
        """From one sample to the next on an idle channel."""
        return ((self.period + 1) * 256 / CLOCK_MHZ + 4) * 1e-6

    def times(self, seconds: float, rng: np.random.Generator) -> "tuple[Floats, npt.NDArray[np.int64]]":
        """Returns when the radio would take samples on idle air, and its channels then."""
        times, channels = [], []
        begin, visit = 0.0, 0
        alone = len(self.channels_mhz) == 1
        while begin < seconds:
            dwell = seconds if alone else self.dwell_s
            count = int(dwell / self.interval_s)
            if self.samples_per_visit is not None:
                count = min(count, self.samples_per_visit)
            jitter = rng.normal(0, 0.7e-6, count)
            times.append(begin + np.arange(1, count + 1) * self.interval_s + jitter)
            channels.append(np.full(count, self.channels_mhz[visit % len(self.channels_mhz)]))
            begin += dwell + (0.0 if alone else self.retune_s * rng.uniform(0.7, 1.3))
            visit += 1
        time_s, channel = np.concatenate(times), np.concatenate(channels)
        keep = time_s < seconds
        return time_s[keep], channel[keep]


def smeared(signal: "npt.NDArray[np.complex64]", front: FrontEnd) -> "npt.NDArray[np.complex64]":
    """Returns the bins of a signal (n, 56) as a card with wider skirts sees them.

    Its window of time is narrow in the middle, so each bin leaks into the others with signs in turn.
    """
    if front.skirt_db is None:
        return signal
    away = np.abs(np.arange(BINS)[:, None] - np.arange(BINS))
    loss_db = np.minimum(front.skirt_db * np.sqrt(away), front.skirt_floor_db)
    leak = 10 ** (-loss_db / 20) * (-1.0) ** away
    seen: npt.NDArray[np.complex64] = signal @ (leak / np.linalg.norm(leak[BINS // 2])).astype(np.float32)
    return seen


def records(
    time_s: Floats,
    channel_mhz: "npt.NDArray[np.int64]",
    spectrum: "npt.NDArray[np.complex64]",
    front: FrontEnd,
    rng: np.random.Generator,
) -> "npt.NDArray[np.void]":
    """Returns what the driver writes for these samples; `spectrum` is (n, 56), its squares are milliwatts."""
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=1)
    added = rng.standard_normal((len(spectrum), BINS, 2), dtype=np.float32) * np.sqrt(0.5)
    added *= np.sqrt(power * 10 ** (front.distortion_db / 10))[:, None, None]
    spectrum = spectrum + added.view(np.complex128)[..., 0]
    power_dbm = 10 * np.log10(power)
    magnitude = np.abs(spectrum.real) + np.abs(spectrum.imag)
    # The gain control brings strong signals to the same level; weak ones get the most gain there is.
    over_floor = np.maximum(power_dbm - front.floor_dbm, 0)
    target = 900 * 10 ** (-0.5 * np.exp(-over_floor / 12)) * rng.uniform(0.85, 1.15, len(power_dbm))
    scaled = np.minimum(magnitude / np.sqrt(10 ** (power_dbm / 10))[:, None] * target[:, None], 4095)
    whole = scaled.astype(np.int16)
    peak = whole.max(axis=1)
    shift = np.maximum(np.ceil(np.log2(np.maximum(peak + 1, 2))) - 8, 0).astype(np.int16)
    bins = whole >> shift[:, None]
    bins[:, DC_BIN] = (bins[:, DC_BIN - 1] + bins[:, DC_BIN + 1]) // 2
    out = np.zeros(len(time_s), RECORD)
    out["type"], out["length"] = 1, RECORD.itemsize - 3
    out["max_exp"], out["freq"], out["noise"] = shift, channel_mhz, front.noise_field_dbm
    rssi = np.rint(power_dbm - front.floor_dbm + rng.normal(0, front.rssi_error_db, len(power_dbm)))
    if front.rssi_stuck_db is not None:
        rssi[:] = front.rssi_stuck_db
    out["rssi"] = np.clip(rssi, -127, 127)
    out["max_magnitude"] = peak
    out["max_index"] = bins.argmax(axis=1)
    out["bitmap_weight"] = np.minimum((whole > peak[:, None] // 2).sum(axis=1), 63)
    out["bins"] = bins
    out["tsf"] = _clock_us(time_s, channel_mhz, front)
    corrupt = rng.uniform(size=len(out)) < front.corrupt_share
    out["max_exp"][corrupt] = CORRUPT_EXPONENT
    return out[rng.uniform(size=len(out)) >= front.lost_share]


def _clock_us(
    time_s: Floats, channel_mhz: "npt.NDArray[np.int64]", front: FrontEnd
) -> "npt.NDArray[np.int64]":
    clock = (time_s * 1e6).astype(np.int64)
    if not front.tsf_restarts or not len(clock):
        return clock
    starts = np.flatnonzero(np.diff(channel_mhz, prepend=channel_mhz[0]) != 0)
    visit = np.searchsorted(starts, np.arange(len(clock)), side="right")
    first = np.concatenate(([0], clock[starts]))
    return clock - first[visit] + 1000

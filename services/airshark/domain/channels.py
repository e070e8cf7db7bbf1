"""How busy each Wi-Fi channel is."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.airshark.domain.block import Flag, SampleBlock
from services.airshark.domain.power import milliwatts

CHANNEL_WIDTH_MHZ = 20.0
NEEDED_SHARE = 0.7
"""So much of a channel's width a sample must cover to count for it."""
BUSY_ABOVE_NOISE_DB = 10.0
HIGHEST_NOISE_DBM = -80.0
"""A driver that measured its noise floor beside a transmitter is not believed."""
MAX_WINDOW_S = 60

LOWEST_DBM, HIGHEST_DBM = -160, 40

CHANNELS: dict[int, float] = (
    {number: 2407.0 + 5 * number for number in range(1, 14)}
    | {14: 2484.0}
    | {number: 5000.0 + 5 * number for number in (*range(36, 65, 4), *range(100, 145, 4))}
    | {number: 5000.0 + 5 * number for number in range(149, 178, 4)}
)
"""Number to middle in MHz, of 20 MHz channels."""
_NUMBERS = np.array(sorted(CHANNELS))
_CENTRES = np.array([CHANNELS[number] for number in _NUMBERS])


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How busy one channel is."""

    channel: int
    centre_mhz: float
    busy_share: float
    noise_dbm: float
    """What the quietest tenth of its samples does not exceed."""
    mean_dbm: float
    max_dbm: float
    sample_count: int


class _Second:
    """What was seen within one second, by channel."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.histogram = np.zeros((len(_NUMBERS), HIGHEST_DBM - LOWEST_DBM), np.uint32)
        self.busy = np.zeros(len(_NUMBERS), np.uint32)
        self.power = np.zeros(len(_NUMBERS))


class ChannelMeter:
    """Keeps the last minute of all channels."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[_Second] = deque(maxlen=MAX_WINDOW_S)

    def add(self, block: SampleBlock) -> None:
        """Takes samples in."""
        good = block.flags & Flag.ALL_ZERO == 0
        axes, which = block.axes
        for number in range(len(axes)):
            rows = good & (which == number)
            if rows.any():
                self._add(axes[number], block.select(rows))

    def _add(self, axis: "npt.NDArray[np.float32]", block: SampleBlock) -> None:
        half = CHANNEL_WIDTH_MHZ / 2
        inside = np.abs(axis[None, :] - _CENTRES[:, None]) <= half
        covered = inside.sum(axis=1) * block.spacing_mhz[0] >= NEEDED_SHARE * CHANNEL_WIDTH_MHZ
        channels = np.flatnonzero(covered)
        if not len(channels):
            return
        powers = milliwatts(block.dbm) @ inside[channels].T.astype(np.float32)
        levels = 10 * np.log10(np.maximum(powers, 1e-20))
        noise = np.minimum(block.noise_dbm.min(axis=1), HIGHEST_NOISE_DBM)
        second = self._second()
        second.busy[channels] += (levels > noise[:, None] + BUSY_ABOVE_NOISE_DB).sum(axis=0, dtype=np.uint32)
        second.power[channels] += powers.sum(axis=0)
        whole = np.clip(np.rint(levels), LOWEST_DBM, HIGHEST_DBM - 1).astype(np.intp) - LOWEST_DBM
        np.add.at(second.histogram, (np.broadcast_to(channels, whole.shape), whole), 1)

    def _second(self) -> _Second:
        number = int(self._clock())
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]

    def utilisation(self, window_s: int) -> list[Utilisation]:
        """Returns the channels that were seen within the last `window_s` seconds, by frequency."""
        since = self._clock() - window_s
        seconds = [second for second in self._seconds if second.number >= since - 1]
        if not seconds:
            return []
        histogram = np.stack([second.histogram for second in seconds]).sum(axis=0, dtype=np.uint64)
        busy = np.stack([second.busy for second in seconds]).sum(axis=0, dtype=np.uint64)
        power = np.stack([second.power for second in seconds]).sum(axis=0)
        counts = histogram.sum(axis=1)
        return [
            Utilisation(
                channel=int(_NUMBERS[at]),
                centre_mhz=float(_CENTRES[at]),
                busy_share=float(busy[at] / counts[at]),
                noise_dbm=float(_percentile(histogram[at], 0.1)),
                mean_dbm=float(10 * np.log10(max(power[at] / counts[at], 1e-20))),
                max_dbm=float(np.flatnonzero(histogram[at])[-1] + LOWEST_DBM),
                sample_count=int(counts[at]),
            )
            for at in np.flatnonzero(counts)
        ]

    def covers(self, window_s: int) -> bool:
        """Tells whether it has been taking samples for the whole window."""
        return bool(self._seconds) and self._seconds[0].number <= self._clock() - window_s


def _percentile(histogram: "npt.NDArray[np.uint64]", share: float) -> int:
    return int(np.argmax(np.cumsum(histogram) >= max(share * histogram.sum(), 1))) + LOWEST_DBM

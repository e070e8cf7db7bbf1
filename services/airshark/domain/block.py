"""Decoded samples: arrays of many samples of one kind, in the order in which they arrived."""

from dataclasses import dataclass
from enum import IntFlag
from functools import cached_property

import numpy as np
import numpy.typing as npt

from services.airshark.domain.formats import RecordType
from services.airshark.domain.power import Floats, bins_dbm


class Flag(IntFlag):
    """What is wrong with a sample; 0 is a good one."""

    ALL_ZERO = 1
    """Every bin, or every bin of one half, is 0: these bins read `power.SILENT_DBM`."""
    BAD_EXPONENT = 2
    """`max_exp` is impossible, so the record may be corrupt."""
    SATURATED = 4
    """Noise floor and RSSI add up to more than 0 dBm: the receiver was overdriven or its fields lie."""
    TSF_STEP = 8
    """The radio's clock went back, or more than ten seconds ahead, since the sample of this kind before."""
    NO_NOISE_FLOOR = 16
    """The noise floor reads 0 dBm; levels are too high by about 95 dB."""
    BAD_WIDTH = 32
    """The width or the kind of channel is none that exists, so the frequencies are a guess."""


@dataclass(frozen=True)
class SampleBlock:
    """`n` samples of one kind from one radio, each with `bins` bins; all arrays have `n` rows.

    Levels have one column for each half that the radio measured: one, or two (lower, upper) in HT40. The
    order of arrival is `index`: a radio's clock starts anew now and then.
    """

    radio: str
    """Name of the radio, such as "phy0"."""
    type: RecordType
    wall_time_s: float
    """When the newest sample was read, in seconds since 1970."""
    index: "npt.NDArray[np.int64]"
    """Number of each sample in its stream, over all kinds, from 0."""
    tsf_us: "npt.NDArray[np.uint64]"
    """The radio's clock; the 32 bits of ath11k are continued beyond their end."""
    centre_mhz: Floats
    """Frequency in the middle of the bins; in HT40 that of both channels together."""
    first_bin_mhz: Floats
    """Frequency of bin 0."""
    spacing_mhz: Floats
    """From each bin to the next."""
    rssi_db: "npt.NDArray[np.int16]"
    """Above the noise floor; (n, halves)."""
    noise_dbm: "npt.NDArray[np.int16]"
    """Noise floor as the driver reports it; (n, halves)."""
    max_exp: "npt.NDArray[np.uint8]"
    """By how many bits the bins are shifted to the right."""
    flags: "npt.NDArray[np.uint16]"
    """`Flag`s."""
    magnitudes: "npt.NDArray[np.uint8]"
    """The bins as the radio wrote them, lowest frequency first; (n, bins), a view of what was read."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def bin_count(self) -> int:
        """Number of bins of each sample."""
        return int(self.magnitudes.shape[1])

    @property
    def bandwidth_mhz(self) -> Floats:
        """What all bins together cover."""
        return self.spacing_mhz * np.float32(self.bin_count)

    @cached_property
    def dbm(self) -> Floats:
        """Power of each bin in dBm, always finite; (n, bins)."""
        return bins_dbm(self.magnitudes, self.total_dbm, self.max_exp)

    @property
    def total_dbm(self) -> Floats:
        """Power of the whole sample: noise floor and RSSI; (n, halves)."""
        return self.noise_dbm.astype(np.float32) + self.rssi_db

    @cached_property
    def peak_bin(self) -> "npt.NDArray[np.intp]":
        """The strongest bin of each sample, found anew: what drivers report has had three meanings."""
        peaks: npt.NDArray[np.intp] = self.magnitudes.argmax(axis=1)
        return peaks

    @cached_property
    def axes(self) -> tuple[Floats, "npt.NDArray[np.intp]"]:
        """The different frequency axes, (axes, bins) in MHz, and which of them each sample has, (n,)."""
        # Two floats as one whole number, which can be compared and sorted at once.
        pairs = np.empty((len(self), 2), np.float32)
        pairs[:, 0], pairs[:, 1] = self.first_bin_mhz, self.spacing_mhz
        keys = pairs.view(np.uint64).reshape(-1)
        # A radio stays where it is for a while: only the first sample of each stay is looked up.
        starts = _changes(keys)
        stays = keys[starts]
        ordered = stays.copy()
        ordered.sort(kind="stable")
        different = ordered[_changes(ordered)]
        lengths = np.append(starts[1:], len(self)) - starts
        which = different.searchsorted(stays).repeat(lengths)
        return _axis(different.view(np.float32).reshape(-1, 2), self.bin_count), which

    def frequencies_mhz(self) -> Floats:
        """Returns the frequency of each bin of each sample; (n, bins)."""
        axes, which = self.axes
        return axes[which]

    def select(self, rows: "slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]") -> "SampleBlock":
        """Returns some of the samples."""
        chosen = SampleBlock(
            self.radio,
            self.type,
            self.wall_time_s,
            *(getattr(self, name)[rows] for name in ARRAYS),
        )
        if "dbm" in self.__dict__:
            chosen.__dict__["dbm"] = self.dbm[rows]
        return chosen


ARRAYS = (
    "index",
    "tsf_us",
    "centre_mhz",
    "first_bin_mhz",
    "spacing_mhz",
    "rssi_db",
    "noise_dbm",
    "max_exp",
    "flags",
    "magnitudes",
)
"""The array fields of a block, in their order."""


def _changes(values: "npt.NDArray[np.uint64]") -> "npt.NDArray[np.intp]":
    """Returns where another value begins than the one before."""
    changed = np.empty(len(values), np.bool_)
    changed[:1] = True
    np.not_equal(values[1:], values[:-1], out=changed[1:])
    return changed.nonzero()[0]


def _axis(keys: Floats, bin_count: int) -> Floats:
    bins = np.arange(bin_count, dtype=np.float32)
    return (keys[:, :1] + keys[:, 1:] * bins).astype(np.float32, copy=False)

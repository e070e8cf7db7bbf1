"""The records that Atheros drivers write into their spectral file, and where their bins lie in frequency.

A record is a type byte, a big-endian length of what follows these three bytes, and a packed body. There is no
magic, no checksum and no version; type and length together tell what a record is.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

HEADER_BYTES = 3

HT20_BINS, HT40_BINS = 56, 128
ATH9K_BIN_SPACING_MHZ = 22.0 / 64
"""343.75 kHz in both HT20 and HT40 mode, measured with fixed carriers; not the 312.5 kHz of the
sub-carriers."""
HT40_OFFSET_MHZ = 10.0
"""From the primary channel, which the record names, to the middle of both channels."""
ATH10K_WIDTHS_MHZ = (22, 44, 88)
"""What the driver reports for 20, 40 and 80 MHz, and what the bins really cover."""
ATH11K_WIDTHS_MHZ = (20, 40, 80, 160)
KNOWN_WIDTHS_MHZ = frozenset(ATH10K_WIDTHS_MHZ + ATH11K_WIDTHS_MHZ)

ATH10K_BIN_COUNTS = (64, 128, 256)
ATH11K_BIN_COUNTS = (16, 32, 64, 128, 256, 512)
MAX_PLAUSIBLE_EXPONENT = 7
"""A shift by more cannot come from an FFT value of 12 bits; old drivers wrote such records now and then."""


class RecordType(IntEnum):
    """The type byte of a record."""

    HT20 = 1
    HT40 = 2
    ATH10K = 3
    ATH11K = 4


class ChannelType(IntEnum):
    """Where the second channel of an HT40 record lies, as nl80211 counts."""

    HT40_MINUS = 2
    HT40_PLUS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One kind of record that can be read; each exists once, in `LAYOUTS`."""

    type: RecordType
    bin_count: int
    dtype: "np.dtype[np.void]"
    """Fields of the whole record including its header."""
    head: "np.dtype[np.void]"
    """The same without the bins, which come last."""

    @property
    def size_bytes(self) -> int:
        """Size of the whole record."""
        return self.dtype.itemsize

    @property
    def length(self) -> int:
        """What the length field says."""
        return self.dtype.itemsize - HEADER_BYTES


_HEADER: list[tuple[str, str]] = [("type", "u1"), ("length", ">u2")]


def _layout(type: RecordType, bin_count: int, *fields: tuple[str, str]) -> Layout:
    head = [*_HEADER, *fields]
    dtype = np.dtype([*head, ("bins", "u1", (bin_count,))])
    return Layout(type, bin_count, dtype, np.dtype(head))


HT20 = _layout(
    RecordType.HT20,
    HT20_BINS,
    ("max_exp", "u1"),
    ("freq", ">u2"),
    ("rssi", "i1"),
    ("noise", "i1"),
    ("max_magnitude", ">u2"),
    ("max_index", "u1"),
    ("bitmap_weight", "u1"),
    ("tsf", ">u8"),
)
HT40 = _layout(
    RecordType.HT40,
    HT40_BINS,
    ("channel_type", "u1"),
    ("freq", ">u2"),
    ("lower_rssi", "i1"),
    ("upper_rssi", "i1"),
    ("tsf", ">u8"),
    ("lower_noise", "i1"),
    ("upper_noise", "i1"),
    ("lower_max_magnitude", ">u2"),
    ("upper_max_magnitude", ">u2"),
    ("lower_max_index", "u1"),
    ("upper_max_index", "u1"),
    ("lower_bitmap_weight", "u1"),
    ("upper_bitmap_weight", "u1"),
    ("max_exp", "u1"),
)


def _ath10k(bin_count: int) -> Layout:
    return _layout(
        RecordType.ATH10K,
        bin_count,
        ("width", "u1"),
        ("freq", ">u2"),
        ("freq2", ">u2"),
        ("noise", ">i2"),
        ("max_magnitude", ">u2"),
        ("total_gain", ">u2"),
        ("base_power", ">u2"),
        ("tsf", ">u8"),
        ("max_index", "i1"),
        ("rssi", "u1"),
        ("relative_power", "u1"),
        ("average_power", "u1"),
        ("max_exp", "u1"),
    )


def _ath11k(bin_count: int, *extra: tuple[str, str]) -> Layout:
    return _layout(
        RecordType.ATH11K,
        bin_count,
        ("width", "u1"),
        ("max_index", "i1"),
        ("max_exp", "u1"),
        *extra,
        ("freq", ">u2"),
        ("freq2", ">u2"),
        ("max_magnitude", ">u2"),
        ("rssi", ">u2"),
        ("tsf", ">u4"),
        ("noise", ">i4"),
    )


LAYOUTS: dict[tuple[int, int], Layout] = {
    (layout.type, layout.length): layout
    for layout in (
        HT20,
        HT40,
        *map(_ath10k, ATH10K_BIN_COUNTS),
        *map(_ath11k, ATH11K_BIN_COUNTS),
        # Kernels of vendors put one byte more in, under the same type; only the length tells.
        *(_ath11k(bin_count, ("is_primary", "u1")) for bin_count in ATH11K_BIN_COUNTS),
    )
}
"""Type and length to what the record holds."""

SKIPPED_IN_STEP = {(RecordType.HT40, HT40.length - 1)}
"""Records that are known and cannot be read: drivers from before HT40 was merged left one header byte out."""

MAX_RECORD_BYTES = max(layout.size_bytes for layout in LAYOUTS.values())

"""From the numbers of a record to dBm.

A sample as a whole has the power `noise floor + RSSI`; each bin has its share of it:

    P[i] = noise + rssi + 20 log10(b[i]) - 10 log10(sum of b[k]^2),    b[i] = data[i] << max_exp

The shift cancels wherever `data[i]` is not 0, so a table over `data` is enough. A bin of 0 counts as a
magnitude of 1 after the shift, as in other tools: it reads 20 log10(2^max_exp) dB below a bin of 1. An
impossible `max_exp` counts as 0. HT40 records are two samples side by side, each with a sum of its own.
"""

import numpy as np
import numpy.typing as npt

from services.airshark.domain.formats import MAX_PLAUSIBLE_EXPONENT

SILENT_DBM = -200.0
"""What bins read in a sample without any energy; such a sample is flagged `ALL_ZERO`."""

ROWS_AT_ONCE = 4096
"""So many samples and what is made of them stay in a processor's caches."""

_WORD = 8
"""Bins that are looked at together; all numbers of bins are multiples of it."""

_SHIFT_DB = np.where(np.arange(16) <= MAX_PLAUSIBLE_EXPONENT, np.arange(16) * 20 * np.log10(2), 0).astype(
    np.float32
)
"""What a shift takes off, by `max_exp`."""


def _pair_table() -> "npt.NDArray[np.float64]":
    """Returns 20 log10 of two neighbouring bins, two floats in the place of a double, by both bins' bytes."""
    table = np.zeros(256, np.float32)
    table[1:] = 20 * np.log10(np.arange(1, 256))
    pairs = np.arange(65536, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    return np.ascontiguousarray(table[pairs]).view(np.float64).reshape(-1)


# Half a megabyte, made when the first sample is looked at.
_pairs: "npt.NDArray[np.float64] | None" = None


def bins_dbm(
    magnitudes: "npt.NDArray[np.uint8]",
    total_dbm: "npt.NDArray[np.float32]",
    max_exp: "npt.NDArray[np.uint8]",
) -> "npt.NDArray[np.float32]":
    """Returns the power of each bin; (n, bins) of magnitudes, (n, halves) of totals, (n,) of shifts.

    What reads or writes every bin goes over all rows in one call: a call for each row would cost more.
    """
    global _pairs
    if _pairs is None:
        _pairs = _pair_table()
    count, bin_count = magnitudes.shape
    width = bin_count // total_dbm.shape[1]
    result = np.empty((count, bin_count), np.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        data = np.ascontiguousarray(magnitudes[rows])
        part = result[rows]
        # The table has an entry for every pair, so nothing is out of range; "clip" is the mode without a
        # copy.
        np.take(_pairs, data.view(np.uint16), mode="clip", out=part.view(np.float64))
        halves = data.reshape(-1, width).astype(np.float32)
        # Not a product of matrices: the library for these starts threads.
        sums = np.einsum("ij,ij->i", halves, halves)
        base = total_dbm[rows].reshape(-1) - 10 * np.log10(np.maximum(sums, 1))
        silent = sums == 0
        base[silent] = SILENT_DBM
        levels = part.reshape(-1, width)
        levels += base[:, None]
        _lower_zeros(levels, data, max_exp[rows], silent)
    return result


def _lower_zeros(
    levels: "npt.NDArray[np.float32]",
    data: "npt.NDArray[np.uint8]",
    max_exp: "npt.NDArray[np.uint8]",
    silent: "npt.NDArray[np.bool_]",
) -> None:
    """Lowers bins of 0 by the shift that they have not had; a half without any energy is silent already."""
    zero = (data == 0).reshape(-1, _WORD)
    words = np.flatnonzero(zero.view(np.uint64).reshape(-1) != 0)
    if not len(words):
        return
    found = np.flatnonzero(zero.take(words, axis=0))
    bins = words[found // _WORD] * _WORD + found % _WORD
    rows = bins // levels.shape[1]
    shifts = np.where(silent, np.float32(0), np.repeat(_SHIFT_DB[max_exp & 15], len(levels) // len(max_exp)))
    levels.reshape(-1)[bins] -= shifts[rows]

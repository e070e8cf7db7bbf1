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

ROWS_AT_ONCE = 2048
"""So many samples and what is made of them fit a processor's cache."""

_DB_PER_BIT = np.float32(20 * np.log10(2))


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
    """Returns the power of each bin; (n, bins) of magnitudes, (n, halves) of totals, (n,) of shifts."""
    global _pairs
    if _pairs is None:
        _pairs = _pair_table()
    count, bin_count = magnitudes.shape
    halves = total_dbm.shape[1]
    width = bin_count // halves
    table = _pairs
    result = np.empty((count, bin_count), np.float32)
    ones = np.ones(width, np.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        data = np.ascontiguousarray(magnitudes[rows])
        part = result[rows]
        # The table has an entry for every pair, so nothing is out of range; "clip" is the mode without a
        # copy.
        np.take(table, data.view(np.uint16), mode="clip", out=part.view(np.float64))
        squares = data.astype(np.float32)
        squares *= squares
        sums = squares.reshape(-1, width) @ ones
        base = total_dbm[rows].reshape(-1) - 10 * np.log10(np.maximum(sums, 1))
        base[sums == 0] = SILENT_DBM
        part.reshape(-1, width)[...] += base[:, None]
        _lower_zeros(part, data, max_exp[rows], (sums == 0).reshape(-1, halves))
    return result


def _lower_zeros(
    part: "npt.NDArray[np.float32]",
    data: "npt.NDArray[np.uint8]",
    max_exp: "npt.NDArray[np.uint8]",
    silent: "npt.NDArray[np.bool_]",
) -> None:
    """Lowers bins of 0 by the shift that they have not had; a half without any energy is silent already."""
    zeros = np.flatnonzero(data == 0)
    if not len(zeros):
        return
    shift = np.where(max_exp <= MAX_PLAUSIBLE_EXPONENT, max_exp, 0) * _DB_PER_BIT
    # One entry for each half of each sample.
    shifts = np.where(silent, np.float32(0), shift[:, None]).reshape(-1)
    part.reshape(-1)[zeros] -= shifts[zeros // (part.size // len(shifts))]

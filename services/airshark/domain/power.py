"""From the numbers of a record to dBm.

A sample as a whole has the power `noise floor + RSSI`; each bin has its share of it:

    P[i] = noise + rssi + 20 log10(b[i]) - 10 log10(sum of b[k]^2),    b[i] = data[i] << max_exp

The shift cancels wherever `data[i]` is not 0, so a table over `data` is enough. A bin of 0 counts as a
magnitude of 1 after the shift, as in other tools: it reads 20 log10(2^max_exp) dB below a bin of 1. An
impossible `max_exp` counts as 0. HT40 records are two samples side by side, each with a sum of its own.
"""

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.airshark.domain.formats import MAX_PLAUSIBLE_EXPONENT

Magnitudes: TypeAlias = "npt.NDArray[np.uint8]"
Floats: TypeAlias = "npt.NDArray[np.float32]"

SILENT_DBM = -200.0
"""What bins read in a sample without any energy; such a sample is flagged `ALL_ZERO`."""

BINS_AT_ONCE = 2048 * 56
"""So many bins and what is made of them stay in a processor's caches."""

_SHIFT_DB = np.where(np.arange(16) <= MAX_PLAUSIBLE_EXPONENT, np.arange(16) * 20 * np.log10(2), 0).astype(
    np.float32
)
"""What a shift takes off, by `max_exp`."""


@cache
def _pairs() -> "npt.NDArray[np.float64]":
    """Returns the dB of two neighbouring bins, two floats in the place of a double, by both bins' bytes.

    Half a megabyte, made when it is needed first.
    """
    table = np.zeros(256, np.float32)
    table[1:] = 20 * np.log10(np.arange(1, 256))
    pairs = np.arange(65536, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    return np.ascontiguousarray(table[pairs]).view(np.float64).reshape(-1)


def bins_dbm(
    magnitudes: Magnitudes,
    total_dbm: Floats,
    max_exp: "npt.NDArray[np.uint8]",
) -> Floats:
    """Returns the power of each bin; (n, bins) of magnitudes, (n, halves) of totals, (n,) of shifts.

    What reads or writes every bin goes over many rows in one call: a call for each row would cost more.
    """
    halves = total_dbm.shape[1]
    width = magnitudes.shape[1] // halves
    data = np.ascontiguousarray(magnitudes).reshape(-1, width)
    base, sums = total_dbm.reshape(-1).copy(), np.empty(len(data), np.float32)
    result = np.empty(data.shape, np.float32)
    rows_at_once = BINS_AT_ONCE // width
    scratch = np.empty((min(rows_at_once, len(data)), width), np.float32)
    for start in range(0, len(data), rows_at_once):
        rows = slice(start, start + rows_at_once)
        part = data[rows]
        work = scratch[: len(part)]
        np.copyto(work, part)
        # Not a product of matrices: the library for these starts threads.
        np.einsum("ij,ij->i", work, work, out=sums[rows])
        base[rows] -= 10 * np.log10(np.maximum(sums[rows], 1))
        # The table has an entry for every pair, so nothing is out of range; "clip" is the mode without a
        # copy.
        np.take(_pairs(), part.view(np.uint16), mode="clip", out=work.view(np.float64))
        np.add(work, base[rows, None], out=result[rows])
    zeros = np.flatnonzero(data == 0)
    rows_of = zeros // width
    lowered = base[rows_of] - _SHIFT_DB[max_exp[rows_of // halves] & 15]
    lowered[sums[rows_of] == 0] = SILENT_DBM
    result.reshape(-1)[zeros] = lowered
    return result.reshape(magnitudes.shape)

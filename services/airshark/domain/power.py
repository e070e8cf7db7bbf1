"""From the numbers of a record to dBm.

A sample as a whole has the power `noise floor + RSSI`; each bin has its share of it:

    P[i] = noise + rssi + 20 log10(b[i]) - 10 log10(sum of b[k]^2),    b[i] = data[i] << max_exp

The shift cancels wherever `data[i]` is not 0. A bin of 0 counts as a
magnitude of 1 after the shift, as in other tools: it reads 20 log10(2^max_exp) dB below a bin of 1. An
impossible `max_exp` counts as 0. HT40 records are two samples side by side, each with a sum of its own.
"""

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.introspect import opt_func_info

from services.airshark.domain.formats import MAX_PLAUSIBLE_EXPONENT

Magnitudes: TypeAlias = "npt.NDArray[np.uint8]"
Floats: TypeAlias = "npt.NDArray[np.float32]"

SILENT_DBM = -200.0
"""What bins read in a sample without any energy; such a sample is flagged `ALL_ZERO`."""

BINS_AT_ONCE = 4096 * 56
"""So many are looked up at once: each pair needs an index of eight bytes meanwhile."""

_LEAST = np.where(np.arange(16) <= MAX_PLAUSIBLE_EXPONENT, 0.5 ** np.arange(16), 1).astype(np.float32)
"""What a bin of 0 counts as before the shift, by `max_exp`."""


def bins_dbm(
    magnitudes: Magnitudes,
    total_dbm: Floats,
    max_exp: "npt.NDArray[np.uint8]",
) -> Floats:
    """Returns the power of each bin; (n, bins) of magnitudes, (n, halves) of totals, (n,) of shifts.

    What reads or writes every bin goes over all rows in one call: a call for each row would cost more.
    """
    result = magnitudes.astype(np.float32, order="C")
    halves = result.reshape(total_dbm.size, -1)
    # Not a product of matrices: the library for these starts threads.
    sums = np.einsum("ij,ij->i", halves, halves)
    relative_db(magnitudes, _LEAST.take(max_exp, mode="clip")[:, None], result)
    halves += (total_dbm.reshape(-1) - 10 * np.log10(np.maximum(sums, 1)))[:, None]
    halves[sums == 0] = SILENT_DBM
    return result


def milliwatts(dbm: Floats) -> Floats:
    """Returns power on a linear scale."""
    linear: Floats = np.exp(dbm * np.float32(np.log(10) / 10))
    return linear


def by_logarithm(magnitudes: Magnitudes, least: Floats, result: Floats) -> None:
    """Makes the magnitudes in `result` dB above a bin of 1; (n, 1) of what a bin of 0 counts as."""
    # With one value for each row, numpy takes a third longer for `maximum`.
    np.fmax(result, least, out=result)
    np.log10(result, out=result)
    result *= 20


def by_table(magnitudes: Magnitudes, least: Floats, result: Floats) -> None:
    """Does the same by looking up what was computed once."""
    rows_at_once = BINS_AT_ONCE // magnitudes.shape[1]
    for start in range(0, len(magnitudes), rows_at_once):
        rows = slice(start, start + rows_at_once)
        # Every pair has an entry, so nothing is out of range; "clip" is the mode without a copy.
        pairs = magnitudes[rows].view(np.uint16)
        np.take(_pairs(), pairs, mode="clip", out=result[rows].view(np.float64))
    np.fmax(result, 20 * np.log10(least), out=result)


@cache
def _pairs() -> "npt.NDArray[np.float64]":
    """Returns the dB of two neighbouring bins, two floats in the place of a double, by both bins' bytes.

    Half a megabyte, made when it is needed first.
    """
    table = np.full(256, -np.inf, np.float32)
    table[1:] = 20 * np.log10(np.arange(1, 256))
    pairs = np.arange(65536, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    return np.ascontiguousarray(table[pairs]).view(np.float64).reshape(-1)


def _has_fast_logarithm() -> bool:
    """Tells whether numpy computes many logarithms at once here: one by one they take ten times as long as
    the table, at once half as long."""
    floats = opt_func_info(func_name="^log10$").get("log10", {}).get("ff", {})
    return not floats.get("current", "baseline").startswith("baseline")


relative_db = by_logarithm if _has_fast_logarithm() else by_table

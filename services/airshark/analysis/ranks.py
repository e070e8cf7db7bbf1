"""Median, percentiles and runs of a few numbers, as numpy works them out: its own take longer to begin than
to work, and each look asks for hundreds."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]
Rows = npt.NDArray[np.float32]


def median(values: Values) -> float:
    """Returns the middle one, or what lies between the two in the middle; there must be one."""
    half = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    split = np.partition(values, (half - 1, half))
    return float((split[half - 1] + split[half]) / 2)


def percentiles(values: Values, *percents: float) -> list[float]:
    """Returns what so many percent are below, between two neighbours where it falls between them."""
    order = np.sort(values)
    found = []
    for percent in percents:
        below, above, share = _place(percent, len(order))
        low, high = float(order[below]), float(order[above])
        found.append(low + (high - low) * share)
    return found


def percentiles_of_rows(values: Rows, *percents: float) -> list[Rows]:
    """Returns the same of each row of some, (rows, values); these are in order afterwards."""
    values.sort(axis=1)
    found = []
    for percent in percents:
        below, above, share = _place(percent, values.shape[1])
        low, high = values[:, below], values[:, above]
        found.append(low + (high - low) * np.float32(share))
    return found


def densest(order: Values, width: float) -> tuple[int, int]:
    """Returns where the most numbers that lie within some width begin, of some in order, and how many these
    are."""
    together = np.searchsorted(order, order + width) - np.arange(len(order))
    at = int(together.argmax())
    return at, int(together[at])


def runs(numbers: "npt.NDArray[np.integer] | Values") -> "tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]":
    """Returns where each run of the same number starts, and how long it is."""
    new = np.ones(len(numbers), bool)
    np.not_equal(numbers[1:], numbers[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    lengths = np.empty_like(starts)
    lengths[:-1] = starts[1:] - starts[:-1]
    lengths[-1:] = len(numbers) - starts[-1:]
    return starts, lengths


def _place(percent: float, count: int) -> tuple[int, int, float]:
    """Returns between which two of so many values in order so many percent are, and how far above the lower
    one."""
    place = percent / 100 * (count - 1)
    below = int(place)
    return below, min(below + 1, count - 1), place - below

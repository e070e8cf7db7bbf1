"""Median and percentiles of a few numbers, as numpy works them out: its own take longer to begin than to
work, and each look asks for hundreds."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]


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
    last = len(order) - 1
    found = []
    for percent in percents:
        place = percent / 100 * last
        below = int(place)
        low, high = float(order[below]), float(order[min(below + 1, last)])
        found.append(low + (high - low) * (place - below))
    return found

"""From levels to colours."""

import numpy as np
import numpy.typing as npt

STOPS = (
    (0.0, (8, 10, 40)),
    (0.25, (30, 60, 140)),
    (0.5, (20, 150, 150)),
    (0.75, (240, 210, 60)),
    (1.0, (255, 250, 240)),
)
"""Dark for weak, bright for strong, and told apart by those who do not see all colours."""
UNSEEN = (32, 32, 32)


def palette() -> "npt.NDArray[np.uint8]":
    """Returns 256 colours."""
    places = np.array([place for place, _ in STOPS])
    colours = np.array([colour for _, colour in STOPS])
    at = np.linspace(0, 1, 256)
    parts = [np.interp(at, places, colours[:, part]) for part in range(3)]
    return np.stack(parts, axis=1).astype(np.uint8)


PALETTE = palette()


def colours(levels: "npt.NDArray[np.float32]", low_dbm: float, high_dbm: float) -> "npt.NDArray[np.uint8]":
    """Returns a colour, three bytes, for each level."""
    at = np.clip((levels - low_dbm) / max(high_dbm - low_dbm, 1) * 255, 0, 255).astype(np.uint8)
    result: npt.NDArray[np.uint8] = PALETTE[at]
    result[levels <= -200] = UNSEEN
    return result


def limits(levels: "npt.NDArray[np.float32]") -> tuple[float, float]:
    """Returns which levels to show as the weakest and the strongest."""
    seen = levels[levels > -199]
    if not len(seen):
        return -110.0, -40.0
    low, high = np.percentile(seen, [10, 99.8])
    return float(low) - 3, max(float(high) + 3, float(low) + 20)

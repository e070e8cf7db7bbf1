"""What the fields of each kind of record mean in the terms of a `SampleBlock`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from services.airshark.domain.formats import (
    ATH9K_BIN_SPACING_MHZ,
    HT40_OFFSET_MHZ,
    KNOWN_WIDTHS_MHZ,
    ChannelType,
)

MAX_LEVEL_DB = 1000
"""Fields that claim more are cut; they are nonsense either way, and sums stay within their type."""

_KNOWN_WIDTH = np.isin(np.arange(256), sorted(KNOWN_WIDTHS_MHZ))

Fields = tuple[dict[str, Any], "npt.NDArray[np.bool_]"]
"""Array fields of a block, and where the width of the channel is none that exists."""


def ht20_fields(records: Any, bin_count: int) -> Fields:
    """Reads HT20 records: 56 bins around the tuned frequency."""
    centre = records["freq"].astype(np.float32)
    fields = _ath9k(centre, bin_count) | {
        "rssi_db": records["rssi"].astype(np.int16)[:, None],
        "noise_dbm": records["noise"].astype(np.int16)[:, None],
    }
    return fields, np.zeros(len(records), np.bool_)


def ht40_fields(records: Any, bin_count: int) -> Fields:
    """Reads HT40 records: 64 bins of the lower channel, then 64 of the upper one."""
    kind = records["channel_type"]
    above, below = kind == ChannelType.HT40_PLUS, kind == ChannelType.HT40_MINUS
    centre = records["freq"].astype(np.float32)
    centre += np.float32(HT40_OFFSET_MHZ) * (above.astype(np.float32) - below.astype(np.float32))
    fields = _ath9k(centre, bin_count) | {
        "rssi_db": _halves(records, "rssi"),
        "noise_dbm": _halves(records, "noise"),
    }
    return fields, ~(above | below)


def wide_fields(records: Any, bin_count: int) -> Fields:
    """Reads ath10k and ath11k records: any number of bins over the width that the driver reports."""
    width = records["width"].astype(np.float32)
    centre = records["freq"].astype(np.float32)
    spacing = width / np.float32(bin_count)
    fields = {
        "centre_mhz": centre,
        "first_bin_mhz": centre - width / 2 + spacing / 2,
        "spacing_mhz": spacing,
        "rssi_db": _level(records["rssi"]),
        "noise_dbm": _level(records["noise"]),
    }
    return fields, ~_KNOWN_WIDTH[records["width"]]


def _ath9k(centre: "npt.NDArray[np.float32]", bin_count: int) -> dict[str, Any]:
    return {
        "centre_mhz": centre,
        # The first bin of the upper half lies on the centre; it is the mean of its neighbours.
        "first_bin_mhz": centre - bin_count // 2 * ATH9K_BIN_SPACING_MHZ,
        "spacing_mhz": np.full(len(centre), ATH9K_BIN_SPACING_MHZ, np.float32),
    }


def _halves(records: Any, name: str) -> Any:
    return np.stack((records[f"lower_{name}"], records[f"upper_{name}"]), axis=1, dtype=np.int16)


def _level(values: Any) -> Any:
    return np.clip(values.astype(np.int64), -MAX_LEVEL_DB, MAX_LEVEL_DB).astype(np.int16)[:, None]

"""Where the channels of ZigBee are."""

import numpy as np
import numpy.typing as npt

from services.airshark.analysis.air import Times

FIRST_MHZ, STEP_MHZ, CHANNELS = 2405.0, 5.0, 16
CHANNELS_MHZ = FIRST_MHZ + STEP_MHZ * np.arange(CHANNELS)


def nearest_channel_mhz(frequency_mhz: "npt.ArrayLike") -> Times:
    """Returns the middle of the nearest channel of ZigBee, for one or many frequencies."""
    step = np.rint((np.asarray(frequency_mhz) - FIRST_MHZ) / STEP_MHZ)
    middle: Times = FIRST_MHZ + STEP_MHZ * np.clip(step, 0, CHANNELS - 1)
    return middle

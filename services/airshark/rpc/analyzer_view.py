"""What the readers of the analyzer get, as free JSON in the shape of the original."""

import time
from collections.abc import Callable
from typing import Any

from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.domain.channels import ChannelMeter
from services.airshark.domain.reader import Batch, Item, SourceState


class AnalyzerView:
    """What became of the source, and once a second how busy the channels are.

    What the detector finds is told to the readers of this view by `Views.tell`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._meters: dict[str, ChannelMeter] = {}
        """By radio."""
        self._due_s: dict[str, float] = {}

    def messages(self, item: Item) -> list[bytes]:
        """Returns events."""
        if isinstance(item, SourceState):
            return [analyzer_event(source_event(item))]
        radio, now_s = item.radio, self._clock()
        if radio not in self._meters:
            self._meters[radio] = ChannelMeter(self._clock)
            self._due_s[radio] = now_s + 1
        for block in item.blocks:
            self._meters[radio].add(block)
        if now_s < self._due_s[radio]:
            return []
        self._due_s[radio] = now_s + 1
        return [analyzer_event(utilisation_event(item, self._meters[radio]))]


def source_event(state: SourceState) -> dict[str, Any]:
    """Returns what became of the source as readers of the analyzer's JSON get it."""
    return {
        "event": "source",
        "time": state.time_s,
        "state": state.state.value,
        "source_kind": state.kind.value,
        "radio": state.radio,
        "description": state.description,
        "problem": state.problem,
    }


def utilisation_event(batch: Batch, meter: ChannelMeter) -> dict[str, Any]:
    """Returns how busy the channels were in the last second."""
    return {
        "event": "utilisation",
        "time": batch.wall_time_s,
        "radio": batch.radio,
        "channels": [
            {
                "channel": channel.channel,
                "centre_mhz": channel.centre_mhz,
                "busy_share": round(channel.busy_share, 4),
                "noise_dbm": channel.noise_dbm,
                "mean_dbm": round(channel.mean_dbm, 1),
                "max_dbm": channel.max_dbm,
                "sample_count": channel.sample_count,
            }
            for channel in meter.utilisation(1)
        ],
    }


def analyzer_event(event: dict[str, Any]) -> bytes:
    """Returns the message of an event, written out."""
    response = pb.SubscribeAnalyzerResponse()
    response.detection.update(event)
    return response.SerializeToString()

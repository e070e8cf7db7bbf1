"""Answers how busy the channels are."""

import asyncio

from services.airshark.domain.channels import ChannelMeter, Utilisation
from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.reader import Item, SourceState
from services.airshark.domain.sources import SourceKind
from services.common.errors import FailedPrecondition, Unavailable


class _Measurement:
    """Measures for one question."""

    def __init__(self, radio: str) -> None:
        self._radio = radio
        self.meter = ChannelMeter()
        self.problem = ""

    def take(self, item: Item) -> None:
        if self._radio not in ("", item.radio):
            return
        if isinstance(item, SourceState):
            self.problem = item.problem
            return
        for block in item.blocks:
            self.meter.add(block)


class UtilisationDesk:
    """Measures when it is asked."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def over(self, window_s: int, radio: str = "") -> list[Utilisation]:
        """Reads all sources, or one radio, for `window_s` seconds and returns what they were like."""
        if self._pipeline.main.source.kind is SourceKind.NONE:
            raise FailedPrecondition(
                "No source is chosen; choose one with PUT /api/v1/airshark/source.", reason="SOURCE_MISSING"
            )
        self._pipeline.require(radio)
        measurement = _Measurement(radio)
        with self._pipeline.consuming(measurement):
            await asyncio.sleep(window_s)
        found = measurement.meter.utilisation(window_s)
        if not found and measurement.problem:
            raise Unavailable(measurement.problem, reason="SOURCE_LOST")
        return found

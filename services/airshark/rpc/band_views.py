"""The band as messages of the streams: sweeps, and tiles of a waterfall."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.domain.band import UNSEEN_DBM, Band
from services.airshark.domain.reader import Batch, Item, SourceState
from services.airshark.rpc.source_messages import to_event
from services.common.timestamps import to_timestamp


class _Gathering:
    """Puts samples into the band, and tells when there are enough of them."""

    def __init__(self, band: Band, interval_s: float, radio: str, clock: Callable[[], float]) -> None:
        self._band = band
        self._interval_s = interval_s
        self._radio = radio
        self._clock = clock
        self._due_s = clock() + interval_s

    def is_due_with(self, batch: Batch) -> bool:
        """Takes a batch, unless it is of another radio, and tells whether the interval is over with it."""
        if self._radio not in ("", batch.radio):
            return False
        for block in batch.blocks:
            self._band.add(block)
        now_s = self._clock()
        if now_s < self._due_s:
            return False
        self._due_s = max(self._due_s, now_s - self._interval_s) + self._interval_s
        return True


class SweepView:
    """The band put together."""

    def __init__(
        self, band: Band, interval_s: float, radio: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._band = band
        self._gathering = _Gathering(band, interval_s, radio, clock)
        self._sequence = 0

    def messages(self, item: Item) -> list[bytes]:
        """Returns a sweep when its time has come, and events at once."""
        if isinstance(item, SourceState):
            return [pb.SubscribeSweepResponse(source=to_event(item)).SerializeToString()]
        if not self._gathering.is_due_with(item):
            return []
        sweep = pb.Sweep(
            time=to_timestamp(item.wall_time_s),
            sequence=self._sequence,
            start_mhz=self._band.min_mhz + self._band.step_mhz / 2,
            step_mhz=self._band.step_mhz,
            dbm=self._band.levels().tolist(),
            sample_counts=self._band.counts.tolist(),
        )
        self._sequence += 1
        self._band.clear()
        return [pb.SubscribeSweepResponse(sweep=sweep).SerializeToString()]


def to_pixels(levels: Any) -> Any:
    """Returns levels in dBm as the bytes of a tile: 0 where nothing was measured, else dBm = value / 2 -
    140."""
    pixels = np.clip(np.rint((levels + 140) * 2), 1, 255)
    return np.where(levels <= UNSEEN_DBM, 0, pixels).astype(np.uint8)


class WaterfallView:
    """Rows of the strongest levels, some to a tile."""

    def __init__(
        self,
        band: Band,
        row_s: float,
        rows_per_tile: int,
        radio: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._band = band
        self._gathering = _Gathering(band, row_s, radio, clock)
        self._row_s = row_s
        self._rows_per_tile = rows_per_tile
        self._rows: list[bytes] = []
        self._sequence = 0

    def messages(self, item: Item) -> list[bytes]:
        """Returns a tile when it is full, and events at once."""
        if isinstance(item, SourceState):
            return [pb.SubscribeWaterfallResponse(source=to_event(item)).SerializeToString()]
        if not self._gathering.is_due_with(item):
            return []
        self._rows.append(to_pixels(self._band.levels()).tobytes())
        self._band.clear()
        if len(self._rows) < self._rows_per_tile:
            return []
        tile = pb.WaterfallTile(
            time=to_timestamp(item.wall_time_s),
            sequence=self._sequence,
            min_mhz=self._band.min_mhz,
            max_mhz=self._band.min_mhz + self._band.step_mhz * self._band.cells,
            columns=self._band.cells,
            rows=len(self._rows),
            row_s=self._row_s,
            levels=b"".join(self._rows),
        )
        self._rows = []
        self._sequence += 1
        return [pb.SubscribeWaterfallResponse(tile=tile).SerializeToString()]

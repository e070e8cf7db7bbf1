"""Writes items as messages of the streams, each once for all readers who want the same."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import timestamp_pb2
from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.domain.band import UNSEEN_DBM, Band
from services.airshark.domain.block import SampleBlock
from services.airshark.domain.channels import ChannelMeter
from services.airshark.domain.pipeline import Batch, Item, SourceState, State
from services.airshark.domain.sources import SourceKind

NANOSECONDS = 1_000_000_000

STATES = {
    State.IDLE: pb.SourceEvent.STATE_IDLE,
    State.RUNNING: pb.SourceEvent.STATE_RUNNING,
    State.LOST: pb.SourceEvent.STATE_LOST,
    State.ENDED: pb.SourceEvent.STATE_ENDED,
}
KINDS = {
    SourceKind.NONE: pb.SOURCE_KIND_NONE,
    SourceKind.HARDWARE: pb.SOURCE_KIND_HARDWARE,
    SourceKind.RECORDING: pb.SOURCE_KIND_RECORDING,
    SourceKind.SIMULATED: pb.SOURCE_KIND_SIMULATED,
}


def to_timestamp(time_s: float) -> timestamp_pb2.Timestamp:
    """Returns a time as the wire has it."""
    seconds = int(time_s // 1)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=int((time_s - seconds) * NANOSECONDS))


def to_event(state: SourceState) -> pb.SourceEvent:
    """Returns what became of a source as the wire has it."""
    return pb.SourceEvent(
        state=STATES[state.state],
        kind=KINDS[state.kind],
        radio=state.radio,
        description=state.description,
        problem=state.problem,
        time=to_timestamp(state.time_s),
    )


class RawView:
    """The bytes of the kernel."""

    def __init__(self, radio: str) -> None:
        self._radio = radio

    def messages(self, item: Item) -> list[bytes]:
        """Returns one message for each batch and each event."""
        if isinstance(item, SourceState):
            return [pb.SubscribeRawResponse(source=to_event(item)).SerializeToString()]
        if self._radio not in ("", item.radio):
            return []
        batch = pb.SampleBatch(
            interface=item.radio,
            time=to_timestamp(item.wall_time_s),
            data=item.raw,
            sequence=item.sequence,
        )
        return [pb.SubscribeRawResponse(batch=batch).SerializeToString()]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples a reader of blocks wants, and how; readers with equal ones share their messages."""

    radio: str
    min_mhz: float
    max_mhz: float
    every: int
    encoding: int
    interval_s: float


class SpectrumView:
    """Decoded samples in blocks."""

    def __init__(self, selection: Selection, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted = selection
        self._clock = clock
        self._waiting: dict[int, list[SampleBlock]] = {}
        self._due_s = clock()
        self._sequence = 0

    def messages(self, item: Item) -> list[bytes]:
        """Returns blocks when their time has come, and events at once."""
        if isinstance(item, SourceState):
            event = pb.SubscribeSpectrumResponse(source=to_event(item)).SerializeToString()
            if item.state is State.RUNNING:
                self._sequence = 0
            return [*self._flush(), event]
        if self._wanted.radio not in ("", item.radio):
            return []
        for block in item.blocks:
            chosen = self._select(block)
            if len(chosen):
                self._waiting.setdefault(chosen.bin_count, []).append(chosen)
        now_s = self._clock()
        # Sources are read in a rhythm of their own; a little early is not late.
        if not self._waiting or now_s < self._due_s - self._wanted.interval_s / 4:
            return []
        self._due_s = max(self._due_s, now_s - self._wanted.interval_s) + self._wanted.interval_s
        return self._flush()

    def _select(self, block: SampleBlock) -> SampleBlock:
        wanted = self._wanted
        if wanted.every > 1:
            block = block.select(block.index % wanted.every == 0)
        if wanted.min_mhz or wanted.max_mhz:
            above = block.centre_mhz >= wanted.min_mhz
            block = block.select(above & (block.centre_mhz <= (wanted.max_mhz or np.inf)))
        return block

    def _flush(self) -> list[bytes]:
        waiting, self._waiting = self._waiting, {}
        messages = []
        for blocks in waiting.values():
            message = pb.SubscribeSpectrumResponse(
                block=_to_block(blocks, self._sequence, self._wanted.encoding)
            )
            self._sequence += 1
            messages.append(message.SerializeToString())
        return messages


def _to_block(blocks: list[SampleBlock], sequence: int, encoding: int) -> pb.SpectrumBlock:
    axes: dict[tuple[float, ...], int] = {}
    numbers = []
    for block in blocks:
        _, which = block.axes
        _, firsts = np.unique(which, return_index=True)
        here = [
            axes.setdefault(
                (
                    float(block.first_bin_mhz[row]),
                    float(block.spacing_mhz[row]),
                    float(block.centre_mhz[row]),
                    float(block.bandwidth_mhz[row]),
                ),
                len(axes),
            )
            for row in firsts
        ]
        numbers.append(np.array(here, "<u2")[which])
    written = pb.SpectrumBlock(
        radio=blocks[-1].radio,
        time=to_timestamp(blocks[-1].wall_time_s),
        sequence=sequence,
        sample_count=sum(map(len, blocks)),
        bin_count=blocks[0].bin_count,
        axes=[
            pb.FrequencyAxis(first_bin_mhz=first, spacing_mhz=step, centre_mhz=centre, bandwidth_mhz=width)
            for first, step, centre, width in axes
        ],
        axis_index=np.concatenate(numbers).tobytes(),
        tsf_us=_bytes([block.tsf_us for block in blocks], "<u8"),
        flags=_bytes([block.flags for block in blocks], "<u2"),
        noise_dbm=_bytes([block.noise_dbm.max(axis=1) for block in blocks], "<i2"),
        rssi_db=_bytes([block.rssi_db.max(axis=1) for block in blocks], "<i2"),
    )
    levels = [block.dbm for block in blocks]
    if encoding == pb.ENCODING_INT8:
        written.dbm = _bytes([np.clip(np.rint(level), -128, 127) for level in levels], "i1")
    elif encoding == pb.ENCODING_NUMBERS:
        for level in levels:
            written.levels.extend(np.round(level, 2).ravel().tolist())
    else:
        written.dbm = _bytes(levels, "<f4")
    return written


def _bytes(arrays: list[Any], dtype: str) -> bytes:
    whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    content: bytes = whole.astype(dtype, copy=False).tobytes()
    return content


class SweepView:
    """The band put together."""

    def __init__(self, band: Band, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._band = band
        self._interval_s = interval_s
        self._clock = clock
        self._due_s = clock() + interval_s
        self._sequence = 0

    def messages(self, item: Item) -> list[bytes]:
        """Returns a sweep when its time has come, and events at once."""
        if isinstance(item, SourceState):
            return [pb.SubscribeSweepResponse(source=to_event(item)).SerializeToString()]
        for block in item.blocks:
            self._band.add(block)
        now_s = self._clock()
        if now_s < self._due_s:
            return []
        self._due_s = max(self._due_s, now_s - self._interval_s) + self._interval_s
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
        self, band: Band, row_s: float, rows_per_tile: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._band = band
        self._row_s = row_s
        self._rows_per_tile = rows_per_tile
        self._clock = clock
        self._due_s = clock() + row_s
        self._rows: list[bytes] = []
        self._sequence = 0

    def messages(self, item: Item) -> list[bytes]:
        """Returns a tile when it is full, and events at once."""
        if isinstance(item, SourceState):
            return [pb.SubscribeWaterfallResponse(source=to_event(item)).SerializeToString()]
        for block in item.blocks:
            self._band.add(block)
        now_s = self._clock()
        if now_s < self._due_s:
            return []
        self._due_s = max(self._due_s, now_s - self._row_s) + self._row_s
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


class AnalyzerView:
    """What became of the source, and once a second how busy the channels are.

    What the detector finds is told to the readers of this view by `Views.tell`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._meter = ChannelMeter(clock)
        self._due_s = clock() + 1
        self._ready: deque[bytes] = deque()

    def messages(self, item: Item) -> list[bytes]:
        """Returns events."""
        if isinstance(item, SourceState):
            return [analyzer_event(source_event(item))]
        for block in item.blocks:
            self._meter.add(block)
        now_s = self._clock()
        if now_s < self._due_s:
            return []
        self._due_s = now_s + 1
        return [analyzer_event(utilisation_event(item, self._meter))]


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

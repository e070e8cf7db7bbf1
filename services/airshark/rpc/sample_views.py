"""Samples as messages of the streams, each written once for all readers who want the same."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.domain.block import SampleBlock
from services.airshark.domain.reader import Item, SourceState, State
from services.airshark.rpc.source_messages import to_event
from services.common.timestamps import to_timestamp


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
        self._waiting: dict[tuple[str, int], list[SampleBlock]] = {}
        """By radio and number of bins."""
        self._due_s = clock()
        self._sequences: Counter[str] = Counter()
        """Number of the next block, by radio."""

    def messages(self, item: Item) -> list[bytes]:
        """Returns blocks when their time has come, and events at once."""
        if isinstance(item, SourceState):
            event = pb.SubscribeSpectrumResponse(source=to_event(item)).SerializeToString()
            left = self._flush()
            if item.state is State.RUNNING:
                del self._sequences[item.radio]
            return [*left, event]
        if self._wanted.radio not in ("", item.radio):
            return []
        for block in item.blocks:
            chosen = self._select(block)
            if len(chosen):
                self._waiting.setdefault((item.radio, chosen.bin_count), []).append(chosen)
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
        for (radio, _), blocks in waiting.items():
            message = pb.SubscribeSpectrumResponse(
                block=_to_block(blocks, self._sequences[radio], self._wanted.encoding)
            )
            self._sequences[radio] += 1
            messages.append(message.SerializeToString())
        return messages


def _to_block(blocks: list[SampleBlock], sequence: int, encoding: int) -> pb.SpectrumBlock:
    axes: dict[tuple[float, ...], int] = {}
    numbers = []
    for block in blocks:
        _, which = block.axes
        _, firsts = np.unique(which, return_index=True)
        widths = block.bandwidth_mhz
        here = [
            axes.setdefault(
                (
                    float(block.first_bin_mhz[row]),
                    float(block.spacing_mhz[row]),
                    float(block.centre_mhz[row]),
                    float(widths[row]),
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

"""Reads the chosen source while somebody wants its samples, decodes them once, and hands them to all who
do."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import structlog

from services.airshark.domain.block import SampleBlock
from services.airshark.domain.decoder import Decoder
from services.airshark.domain.sources import Source, SourceKind, SourceLost

log = structlog.get_logger()

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
RATE_WINDOW_S = 1.0


class State(StrEnum):
    """How a source can be."""

    IDLE = "idle"
    RUNNING = "running"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SourceState:
    """What became of the source."""

    state: State
    kind: SourceKind
    radio: str
    description: str
    problem: str = ""
    time_s: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read of the source gave."""

    sequence: int
    """Number of the batch since the source began."""
    radio: str
    wall_time_s: float
    raw: bytes
    """Whole records as the kernel wrote them, with what could not be read."""
    blocks: tuple[SampleBlock, ...]


Item = Batch | SourceState


class Consumer(Protocol):
    """Takes whatever comes, in the event loop: it must not wait, and not take long."""

    def take(self, item: Item) -> None:
        """Is called once for each item."""


class Rate:
    """Samples per second over the last second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun_s = clock()
        self._count = 0
        self._latest = 0.0

    def add(self, samples: int) -> None:
        """Counts samples."""
        self._turn()
        self._count += samples

    def per_s(self) -> float:
        """Returns the rate; 0 when nothing has come for two seconds."""
        self._turn()
        return self._latest

    def _turn(self) -> None:
        passed_s = self._clock() - self._begun_s
        if passed_s >= RATE_WINDOW_S:
            self._latest = 0.0 if passed_s > 2 * RATE_WINDOW_S else self._count / passed_s
            self._count, self._begun_s = 0, self._clock()


class NoSource:
    """Stands for no source at all."""

    kind = SourceKind.NONE
    radio = ""
    description = "none"

    async def present(self) -> bool:
        """Tells that there is nothing."""
        return False

    async def chunks(self) -> AsyncIterator[object]:
        """Has nothing and says so."""
        raise SourceLost("No source is chosen; choose one with PUT /api/v1/airshark/source.")
        yield


class Pipeline:
    """One source, one decoder, and those who want samples."""

    def __init__(self) -> None:
        self._source: Source = NoSource()  # type: ignore[assignment]  # It yields nothing of any type.
        self._consumers: list[Consumer] = []
        self._task: asyncio.Task[None] | None = None
        self.state = self._described(State.IDLE)
        self.counts: Counter[str] = Counter()
        """What the decoder counts, since the source began."""
        self.overflows = 0
        self.rate = Rate()

    @property
    def source(self) -> Source:
        """The chosen source."""
        return self._source

    @property
    def reader_count(self) -> int:
        """How many consumers there are."""
        return len(self._consumers)

    async def choose(self, source: Source) -> None:
        """Replaces the source; consumers stay."""
        await self._stop()
        self._source = source
        self._set(State.IDLE)
        if self._consumers:
            self._start()

    @contextmanager
    def consuming(self, consumer: Consumer) -> Iterator[None]:
        """Hands everything to a consumer for the time of the context; the first one makes the source run."""
        self._consumers.append(consumer)
        if self._task is None:
            self._start()
        try:
            yield
        finally:
            self._consumers.remove(consumer)
            if not self._consumers and self._task is not None:
                self._task.cancel()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stops the source at the end of the context."""
        try:
            yield
        finally:
            await self._stop()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="airshark-source")
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("reading the source failed", exc_info=error)
        if task is self._task:
            self._task = None
            if self._consumers:
                # Somebody came while the source was being left.
                self._start()
            elif self.state.state is not State.IDLE:
                self._set(State.IDLE)

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                samples_before = self.counts["samples"]
                await self._read()
                self._set(State.ENDED)
                # A source that has come to its end stays there until another is chosen or everybody has left.
                await asyncio.Event().wait()
            except SourceLost as error:
                if self.counts["samples"] != samples_before:
                    retry_s = FIRST_RETRY_S
                if self.state.state is not State.LOST or self.state.problem != str(error):
                    self._set(State.LOST, str(error))
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def _read(self) -> None:
        decoder = Decoder(self._source.radio)
        self.counts, self.overflows = decoder.counts, 0
        sequence = 0
        chunks = self._source.chunks()
        try:
            async for chunk in chunks:
                if self.state.state is not State.RUNNING:
                    self._set(State.RUNNING)
                self.overflows += chunk.was_full
                blocks = decoder.feed(chunk.data, chunk.wall_time_s)
                self.rate.add(sum(map(len, blocks)))
                if decoder.whole:
                    self._hand_out(
                        Batch(sequence, self._source.radio, chunk.wall_time_s, decoder.whole, tuple(blocks))
                    )
                    sequence += 1
        finally:
            # Leaves the radio alone before anyone else may take it.
            await chunks.aclose()  # type: ignore[attr-defined]  # Ours are generators.

    def _set(self, state: State, problem: str = "") -> None:
        self.state = self._described(state, problem)
        self._hand_out(self.state)

    def _described(self, state: State, problem: str = "") -> SourceState:
        source = self._source
        return SourceState(state, source.kind, source.radio, source.description, problem)

    def _hand_out(self, item: Item) -> None:
        for consumer in tuple(self._consumers):
            consumer.take(item)

"""Reads one source while somebody wants its samples, and decodes them once."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

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
    """What became of a source."""

    state: State
    kind: SourceKind
    radio: str
    description: str
    problem: str = ""
    time_s: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read of a source gave."""

    sequence: int
    """Number of the batch since the source began."""
    radio: str
    wall_time_s: float
    raw: bytes
    """Whole records as the kernel wrote them, with what could not be read."""
    blocks: tuple[SampleBlock, ...]


Item = Batch | SourceState


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


class Reader:
    """One source and its decoder; what it gives is handed out."""

    def __init__(self, source: Source, hand_out: Callable[[Item], None]) -> None:
        self.source = source
        self._hand_out = hand_out
        self._task: asyncio.Task[None] | None = None
        self._wanted = self._stopped = False
        self.state = self._described(State.IDLE)
        self.counts: Counter[str] = Counter()
        """What the decoder counts, since the source began."""
        self.overflows = 0
        self.rate = Rate()

    def start(self) -> None:
        """Reads the source from now on, unless it was stopped for good."""
        self._wanted = True
        if self._task is None and not self._stopped:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="airshark-source")
            self._task.add_done_callback(self._done)

    def leave(self) -> None:
        """Lets go of the source, which takes a moment."""
        self._wanted = False
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """Lets go of the source for good, and says nothing of it any more."""
        self._stopped = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def tell(self, state: State, problem: str = "") -> None:
        """Hands out how the source is now."""
        self.state = self._described(state, problem)
        self._hand_out(self.state)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("reading the source failed", exc_info=error)
        if task is self._task:
            self._task = None
            if self._wanted:
                # Somebody came while the source was being left.
                self.start()
            elif self.state.state is not State.IDLE:
                self.tell(State.IDLE)

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                samples_before = self.counts["samples"]
                await self._read()
                self.tell(State.ENDED)
                # A source that has come to its end stays there until another is chosen or everybody has left.
                await asyncio.Event().wait()
            except SourceLost as error:
                if self.counts["samples"] != samples_before:
                    retry_s = FIRST_RETRY_S
                if self.state.state is not State.LOST or self.state.problem != str(error):
                    self.tell(State.LOST, str(error))
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def _read(self) -> None:
        decoder = Decoder(self.source.radio)
        self.counts, self.overflows = decoder.counts, 0
        sequence = 0
        chunks = self.source.chunks()
        try:
            async for chunk in chunks:
                if self.state.state is not State.RUNNING:
                    self.tell(State.RUNNING)
                self.overflows += chunk.was_full
                blocks = decoder.feed(chunk.data, chunk.wall_time_s)
                self.rate.add(sum(map(len, blocks)))
                raw = decoder.whole
                if raw:
                    self._hand_out(Batch(sequence, self.source.radio, chunk.wall_time_s, raw, tuple(blocks)))
                    sequence += 1
        finally:
            # Leaves the radio alone before anyone else may take it.
            await chunks.aclose()  # type: ignore[attr-defined]  # Ours are generators.

    def _described(self, state: State, problem: str = "") -> SourceState:
        source = self.source
        return SourceState(state, source.kind, source.radio, source.description, problem)

"""The samples of one radio on their way through an analyzer of its own."""

import asyncio
from collections import deque
from dataclasses import replace

from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.lifecycle import Track
from services.airshark.domain.block import SampleBlock
from services.airshark.domain.channels import ChannelMeter
from services.airshark.domain.reader import Batch

MAX_WAITING_SAMPLES = 60_000
"""Seven seconds at 8,700 a second; the analyzer is far faster than that, so more means an overloaded
machine."""


class RadioAnalysis:
    """What is made of one radio's samples since its source began."""

    def __init__(self, radio: str) -> None:
        self.radio = radio
        self.meter = ChannelMeter()
        self.sample_count = 0
        self.skipped_count = 0
        self.not_judged: list[dict[str, str]] = []
        self.ids: dict[int, int] = {}
        """Number of a track of this analyzer to number of a detection."""
        self._analyzer = Analyzer()
        self._waiting: deque[tuple[SampleBlock, float]] = deque()
        self._waiting_samples = 0

    def take(self, batch: Batch) -> None:
        """Takes samples in; the oldest go when too many wait."""
        for block in batch.blocks:
            self._waiting.append((block, batch.wall_time_s))
            self._waiting_samples += len(block)
            self.meter.add(block)
        while self._waiting_samples > MAX_WAITING_SAMPLES:
            block, _ = self._waiting.popleft()
            self._waiting_samples -= len(block)
            self.skipped_count += len(block)

    async def analyse(self) -> tuple[list[Track], float]:
        """Analyses what waits, in a thread; returns copies of the devices that came, changed or went, and
        what makes seconds since 1970 of the analyzer's time."""
        work = list(self._waiting)
        self._waiting.clear()
        self._waiting_samples = 0
        if not work:
            return [], 0.0
        # Copies are made in the thread too: nothing of the analyzer is touched from two sides.
        blocks = [block for block, _ in work]
        changed, now_s, self.not_judged = await asyncio.to_thread(_feed, self._analyzer, blocks)
        self.sample_count += sum(map(len, blocks))
        return changed, work[-1][1] - now_s


def _feed(analyzer: Analyzer, blocks: list[SampleBlock]) -> tuple[list[Track], float, list[dict[str, str]]]:
    changed: dict[int, Track] = {}
    for block in blocks:
        for track in analyzer.feed(block):
            changed[track.id] = track
    copies = [replace(track, features=dict(track.features)) for track in changed.values()]
    return copies, analyzer.now_s, analyzer.not_judged()

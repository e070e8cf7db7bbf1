"""Runs the analyzer beside the source, and tells everybody what it finds."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.found import Device
from services.airshark.analysis.lifecycle import Track
from services.airshark.analysis.model import load_model
from services.airshark.domain.air_quality import channels_of
from services.airshark.domain.analysis_settings import (
    ALARM_HYSTERESIS,
    AnalysisSettings,
    AnalysisSettingsStore,
)
from services.airshark.domain.block import SampleBlock
from services.airshark.domain.channels import ChannelMeter
from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.reader import Item, SourceState, State
from services.common.feed import Feed

log = structlog.get_logger()

MAX_WAITING_SAMPLES = 60_000
"""Seven seconds at 8,700 a second; the analyzer is far faster than that, so more means an overloaded
machine."""
TOGETHER_S = 0.2
"""Samples are analysed this long together: fewer switches between threads."""
SAVE_EVERY_S = 60.0
MAX_SHOWN = 200


@dataclass(frozen=True)
class Detection:
    """A device as readers get it; times are seconds since 1970."""

    id: int
    radio: str
    track: Track
    """A copy: the analyzer goes on with its own."""
    first_seen_s: float
    last_seen_s: float
    channels: tuple[int, ...]
    model_version: str


@dataclass(frozen=True)
class Alarm:
    """A device passed the threshold."""

    detection: Detection
    raised: bool
    threshold: int
    time_s: float


Event = Detection | Alarm


class History(Protocol):
    """Where devices of the past are kept."""

    async def next_id(self) -> int:
        """Returns the first number that was never given."""

    async def save(self, detections: list[Detection]) -> None:
        """Adds devices, or replaces what is kept of them."""


class DetectionDesk:
    """The one analyzer of the node."""

    def __init__(self, pipeline: Pipeline, history: History, store: AnalysisSettingsStore) -> None:
        self._pipeline = pipeline
        self._history = history
        self._store = store
        self.settings = AnalysisSettings()
        self.feed: Feed[Event] = Feed()
        self.listeners: list[Callable[[Event], None]] = []
        """Called in the event loop for each event."""
        self.meter = ChannelMeter()
        self.model_version = ""
        self.sample_count = 0
        self.skipped_count = 0
        self.not_judged: list[dict[str, str]] = []
        self.detected: Counter[Device] = Counter()
        """Devices of each kind since the start of the service."""
        self._waiting: deque[tuple[SampleBlock, float]] = deque()
        self._waiting_samples = 0
        self._arrived = asyncio.Event()
        self._analyzer: Analyzer | None = None
        self._radio = ""
        self._next_id = 1
        self._ids: dict[int, int] = {}
        """Number of a track of the present analyzer to number of a detection."""
        self._shown: dict[int, Detection] = {}
        self._unsaved: dict[int, Detection] = {}
        self._saved_s = time.monotonic()
        self._alarms: set[int] = set()
        self._wanted = 0
        self._consuming = ExitStack()
        self._always = ExitStack()

    @property
    def running(self) -> bool:
        """Whether samples are being analysed now."""
        return self._wanted > 0 and self._pipeline.main.state.state is State.RUNNING

    @property
    def known(self) -> list[Detection]:
        """Devices of the last minutes, by number."""
        return list(self._shown.values())

    @property
    def alarm_count(self) -> int:
        """How many devices are above the threshold now."""
        return len(self._alarms)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Works for the time of the context."""
        self.settings = await asyncio.to_thread(self._store.load)
        self.model_version = (await asyncio.to_thread(load_model)).version
        self._next_id = await self._history.next_id()
        task = asyncio.get_running_loop().create_task(self._work(), name="airshark-analyzer")
        self._apply()
        try:
            yield
        finally:
            self._always.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._save()
            self.feed.close()

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Has samples analysed for the time of the context."""
        self._wanted += 1
        if self._wanted == 1:
            self._consuming.enter_context(self._pipeline.consuming(self))
        try:
            yield
        finally:
            self._wanted -= 1
            if not self._wanted:
                self._consuming.close()

    async def choose(self, settings: AnalysisSettings) -> AnalysisSettings:
        """Takes new settings; raises `InvalidArgument`."""
        settings.check()
        await asyncio.to_thread(self._store.save, settings)
        self.settings = settings
        self._apply()
        return settings

    def take(self, item: Item) -> None:
        """Is called by the pipeline for each item; only the first of several radios is analysed."""
        if item.radio != self._pipeline.main.source.radio:
            return
        if isinstance(item, SourceState):
            if item.state is State.IDLE or item.radio != self._radio:
                self._forget()
            self._radio = item.radio
            return
        for block in item.blocks:
            self._waiting.append((block, item.wall_time_s))
            self._waiting_samples += len(block)
            self.meter.add(block)
        while self._waiting_samples > MAX_WAITING_SAMPLES:
            block, _ = self._waiting.popleft()
            self._waiting_samples -= len(block)
            self.skipped_count += len(block)
        self._arrived.set()

    def _apply(self) -> None:
        self._always.close()
        if self.settings.continuous:
            self._always.enter_context(self.wanted())
        for detection in self.known:
            self._judge_alarm(detection)

    def _forget(self) -> None:
        """Begins anew with another source; what was found stays in the history."""
        self._waiting.clear()
        self._waiting_samples = 0
        self._analyzer = None
        self._ids.clear()
        self._shown.clear()
        self._alarms.clear()
        self.sample_count = self.skipped_count = 0
        self.not_judged = []
        self.meter = ChannelMeter()

    async def _work(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SAVE_EVERY_S):
                    await self._arrived.wait()
            except TimeoutError:
                await self._save()
                continue
            await asyncio.sleep(TOGETHER_S)
            self._arrived.clear()
            await self._analyse()
            if time.monotonic() - self._saved_s > SAVE_EVERY_S:
                await self._save()

    async def _analyse(self) -> None:
        work = list(self._waiting)
        self._waiting.clear()
        self._waiting_samples = 0
        if not work:
            return
        analyzer = self._analyzer = self._analyzer or Analyzer()
        # Copies are made in the thread too: nothing of the analyzer is touched from two sides.
        changed, now_s, not_judged = await asyncio.to_thread(_feed, analyzer, [block for block, _ in work])
        if analyzer is not self._analyzer:
            return  # Another source was chosen meanwhile.
        self.sample_count += sum(len(block) for block, _ in work)
        self.not_judged = not_judged
        offset_s = work[-1][1] - now_s
        for track in changed:
            self._show(track, offset_s)

    def _show(self, track: Track, offset_s: float) -> None:
        number = self._ids.get(track.id)
        if number is None:
            number = self._ids[track.id] = self._next_id
            self._next_id += 1
            self.detected[track.device] += 1
        before = self._shown.get(number)
        detection = Detection(
            id=number,
            radio=self._radio,
            track=track,
            # The radio's clock and ours drift apart; the first time that was told stays.
            first_seen_s=before.first_seen_s if before else track.first_seen_s + offset_s,
            last_seen_s=track.last_seen_s + offset_s,
            channels=tuple(channels_of(track)),
            model_version=self.model_version,
        )
        self._unsaved[number] = detection
        if track.active or before:
            self._shown[number] = detection
        while len(self._shown) > MAX_SHOWN:
            del self._shown[next(iter(self._shown))]
        self._publish(detection)
        self._judge_alarm(detection)

    def _judge_alarm(self, detection: Detection) -> None:
        threshold = self.settings.alarm_severity
        severity = detection.track.severity if detection.track.active else 0
        raised = detection.id in self._alarms
        if not raised and threshold and severity >= threshold:
            self._alarms.add(detection.id)
        elif raised and (not threshold or severity <= threshold - ALARM_HYSTERESIS):
            self._alarms.discard(detection.id)
        else:
            return
        self._publish(Alarm(detection, not raised, threshold, detection.last_seen_s))

    def _publish(self, event: Event) -> None:
        self.feed.publish(event)
        for listener in self.listeners:
            listener(event)

    async def _save(self) -> None:
        """Writes what changed, a few times an hour in quiet air: flash wears out by the write."""
        waiting, self._unsaved = list(self._unsaved.values()), {}
        self._saved_s = time.monotonic()
        if waiting:
            try:
                await self._history.save(waiting)
            except OSError as error:
                log.error("detections were not saved", reason=str(error))

    async def flush(self) -> None:
        """Writes what is not in the history yet."""
        await self._save()


def _feed(analyzer: Analyzer, blocks: list[SampleBlock]) -> tuple[list[Track], float, list[dict[str, str]]]:
    changed: dict[int, Track] = {}
    for block in blocks:
        for track in analyzer.feed(block):
            changed[track.id] = track
    copies = [replace(track, features=dict(track.features)) for track in changed.values()]
    return copies, analyzer.now_s, analyzer.not_judged()

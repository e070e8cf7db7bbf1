"""Runs an analyzer beside each source, and tells everybody what they find."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.airshark.analysis.found import Device
from services.airshark.analysis.lifecycle import Track
from services.airshark.analysis.model import load_model
from services.airshark.domain.air_quality import ChannelQuality, channels_of, quality_of, worst_of
from services.airshark.domain.analysis_settings import (
    ALARM_HYSTERESIS,
    AnalysisSettings,
    AnalysisSettingsStore,
)
from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.radio_analysis import RadioAnalysis
from services.airshark.domain.reader import Item, SourceState, State
from services.common.feed import Feed

log = structlog.get_logger()

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
    """The analyzers of the node, one for each radio."""

    def __init__(self, pipeline: Pipeline, history: History, store: AnalysisSettingsStore) -> None:
        self._pipeline = pipeline
        self._history = history
        self._store = store
        self.settings = AnalysisSettings()
        self.feed: Feed[Event] = Feed()
        self.listeners: list[Callable[[Event], None]] = []
        """Called in the event loop for each event."""
        self.detected: Counter[Device] = Counter()
        """Devices of each kind since the start of the service."""
        self._arrived = asyncio.Event()
        self._followed = pipeline.readers
        self._radios: dict[str, RadioAnalysis] = {}
        self._next_id = 1
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
        return self._wanted > 0 and any(
            reader.state.state is State.RUNNING for reader in self._pipeline.readers
        )

    @property
    def known(self) -> list[Detection]:
        """Devices of the last minutes, by number."""
        return list(self._shown.values())

    @property
    def alarm_count(self) -> int:
        """How many devices are above the threshold now."""
        return len(self._alarms)

    @property
    def sample_count(self) -> int:
        """Samples of the present sources that were analysed."""
        return sum(each.sample_count for each in self._radios.values())

    @property
    def skipped_count(self) -> int:
        """Samples of the present sources that came faster than they could be analysed."""
        return sum(each.skipped_count for each in self._radios.values())

    @property
    def not_judged(self) -> list[dict[str, str]]:
        """Kinds of devices that no radio's samples can show, with the first radio's reason."""
        first, *others = (each.not_judged for each in self._radios.values()) if self._radios else ([],)
        missing = [{each["device"] for each in other} for other in others]
        return [each for each in first if all(each["device"] in other for other in missing)]

    @property
    def quality(self) -> list[ChannelQuality]:
        """The quality of all channels: of what several radios hear, the worst counts."""
        by_radio = {
            radio: [each.track for each in self.known if each.radio == radio] for radio in self._radios
        }
        return worst_of([quality_of(tracks) for tracks in by_radio.values()] or [quality_of([])])

    def busy(self, window_s: int) -> dict[int, float]:
        """Returns which share of the time anything is heard, by channel, by the radio that hears most."""
        shares: dict[int, float] = {}
        for each in self._radios.values():
            for used in each.meter.utilisation(window_s):
                shares[used.channel] = max(used.busy_share, shares.get(used.channel, 0.0))
        return shares

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
            # Other sources may have been chosen while nobody looked.
            self._begin_anew()
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
        """Is called by the pipeline for each item."""
        if isinstance(item, SourceState):
            if item.state is State.IDLE:
                self._begin_anew()
            return
        if item.blocks:
            self._radios.setdefault(item.radio, RadioAnalysis(item.radio)).take(item)
            self._arrived.set()

    def _apply(self) -> None:
        self._always.close()
        if self.settings.continuous:
            self._always.enter_context(self.wanted())
        for detection in self.known:
            self._judge_alarm(detection)

    def _begin_anew(self) -> None:
        """Forgets what sources gave that are not read any more, also if others have their names; what was
        found stays in the history."""
        readers = self._pipeline.readers
        kept = {reader.source.radio for reader in readers if reader in self._followed}
        self._followed = readers
        self._radios = {name: each for name, each in self._radios.items() if name in kept}
        self._shown = {number: each for number, each in self._shown.items() if each.radio in kept}
        self._alarms &= self._shown.keys()

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
        for analysis in list(self._radios.values()):
            changed, offset_s = await analysis.analyse()
            if self._radios.get(analysis.radio) is not analysis:
                continue  # Another source was chosen meanwhile.
            for track in changed:
                self._show(analysis, track, offset_s)

    def _show(self, analysis: RadioAnalysis, track: Track, offset_s: float) -> None:
        number = analysis.ids.get(track.id)
        if number is None:
            number = analysis.ids[track.id] = self._next_id
            self._next_id += 1
            self.detected[track.device] += 1
        before = self._shown.get(number)
        detection = Detection(
            id=number,
            radio=analysis.radio,
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

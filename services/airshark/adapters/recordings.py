"""Makes recordings: what a source gives is written to files while it is read."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

import structlog

from services.airshark.adapters.recording_files import Recording, RecordingFiles, remove, taken
from services.airshark.domain import container
from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.reader import Batch, Item, Reader
from services.airshark.domain.settings import NAME
from services.airshark.domain.sources import SourceKind
from services.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
)
from services.common.feed import Subscription
from services.common.files import sync_dir

log = structlog.get_logger()

DEFAULT_MAX_BYTES = 100 * 1000 * 1000
MIN_BYTES, MAX_BYTES = 10_000, 1_000_000_000_000
MAX_KEPT = 1000
QUEUE_BATCHES = 256
WRITE_INTERVAL_S = 1.0
"""Samples are written together: flash wears out by the write."""
SYNC_INTERVAL_S = 10.0
"""So much of a recording a power cut may cost; the end of a file is on the disk when it is told."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a recording ends."""

    max_bytes: int = DEFAULT_MAX_BYTES
    max_s: float = 0.0
    keep_files: int = 0

    def check(self) -> None:
        """Raises `InvalidArgument` for what is out of bounds."""
        for field, good in (
            ("max_bytes", MIN_BYTES <= self.max_bytes <= MAX_BYTES),
            ("max_s", 0 <= self.max_s <= 10 * 365 * 86400),
            ("keep_files", self.keep_files == 0 or 2 <= self.keep_files <= MAX_KEPT),
        ):
            if not good:
                raise InvalidArgument(f"{field} is out of bounds.", reason="LIMIT_OUT_OF_RANGE", field=field)


class _Active:
    """A recording that is being written."""

    def __init__(self, name: str, limits: Limits, reader: Callable[[], Reader | None]) -> None:
        self.name = name
        self.reader = reader
        """The source that is recorded, as long as there is one."""
        self.limits = limits
        self.queue: Subscription[Batch] = Subscription(QUEUE_BATCHES)
        self.task: asyncio.Task[None] | None = None
        self.current = name
        """The file that is being written; another one than `name` when files rotate."""

    def take(self, item: Item) -> None:
        reader = self.reader()
        if isinstance(item, Batch) and reader is not None and item.radio == reader.source.radio:
            self.queue.push(item)


class Recordings:
    """All recordings of the node."""

    def __init__(self, folder: Path, pipeline: Pipeline) -> None:
        self.files = RecordingFiles(folder)
        self._pipeline = pipeline
        self._active: dict[str, _Active] = {}

    async def start(self, name: str, limits: Limits, radio: str = "") -> Recording:
        """Begins a recording of one radio, or of the first source, whichever that is at the time."""
        limits.check()
        if self._pipeline.main.source.kind is SourceKind.NONE:
            raise FailedPrecondition(
                "No source is chosen; choose one with PUT /api/v1/airshark/source.", reason="SOURCE_MISSING"
            )
        self._pipeline.require(radio)
        name = name or datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        if not NAME.fullmatch(name):
            raise InvalidArgument(
                "name may have letters, digits, '-', '_' and '.', and at most 100 of them.",
                reason="NAME_INVALID",
                field="name",
            )
        if name in self._active:
            raise taken(name)
        active = self._active[name] = _Active(name, limits, partial(self._pipeline.of, radio))
        try:
            if limits.keep_files:
                active.current = f"{name}-000001"
            file = await asyncio.to_thread(self.files.create, active.current)
        except BaseException:
            del self._active[name]
            raise
        active.task = asyncio.get_running_loop().create_task(self._record(active, file))
        return await self.get(active.current)

    async def stop(self, name: str) -> Recording:
        """Ends a recording and returns it."""
        active = self._active_by_any_name(name)
        if active is None:
            return await self.get(name)
        active.queue.close()
        if active.task is not None:
            await asyncio.shield(active.task)
        return await self.get(active.current)

    async def get(self, name: str) -> Recording:
        """Returns one recording."""
        return self._marked(await asyncio.to_thread(self.files.describe, name))

    async def page(self, after: str, size: int) -> list[Recording]:
        """Returns recordings whose names come after `after`."""
        return [self._marked(found) for found in await asyncio.to_thread(self.files.page, after, size)]

    async def delete(self, name: str) -> None:
        """Removes a recording."""
        if self._is_written(name):
            raise FailedPrecondition(
                f"The recording '{name}' is being written; stop it first.",
                reason="RECORDING_ACTIVE",
                recording=name,
            )
        path = await asyncio.to_thread(self.files.path, name)
        await asyncio.to_thread(remove, path)

    async def close(self) -> None:
        """Ends all recordings."""
        for active in list(self._active.values()):
            active.queue.close()
        tasks = [active.task for active in self._active.values() if active.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _active_by_any_name(self, name: str) -> _Active | None:
        found = (active for active in self._active.values() if name in (active.name, active.current))
        return next(found, None)

    def _is_written(self, name: str) -> bool:
        return any(active.current == name for active in self._active.values())

    def _marked(self, recording: Recording) -> Recording:
        return replace(recording, active=self._is_written(recording.name))

    async def _record(self, active: _Active, file: BinaryIO) -> None:
        begun_s = time.monotonic()
        part = 1
        try:
            with self._pipeline.consuming(active):
                while file:
                    full = await self._fill(active, file, begun_s)
                    if not full or not active.limits.keep_files:
                        break
                    part += 1
                    active.current = f"{active.name}-{part:06d}"
                    file = await asyncio.to_thread(
                        self.files.rotate, active.name, active.current, active.limits.keep_files
                    )
        except (OSError, ResourceExhausted, AlreadyExists) as error:
            log.error("a recording ended early", recording=active.name, reason=str(error))
        finally:
            del self._active[active.name]

    async def _fill(self, active: _Active, file: BinaryIO, begun_s: float) -> bool:
        """Writes one file to its end; tells whether it ended because it was full."""
        limits, writer = active.limits, container.Writer()
        source = (active.reader() or self._pipeline.main).source
        header = container.Header(source.radio, source.kind.value, source.description, time.time(), {})
        waiting = [writer.begin(header)]
        written_s = synced_s = time.monotonic()
        full = stopped = False
        chunks = 0
        try:
            async for batches in active.queue.batches(WRITE_INTERVAL_S):
                for batch in batches:
                    full = full or (chunks > 0 and writer.size_after(batch.raw) > limits.max_bytes)
                    if full:
                        active.queue.push(batch)  # The next file begins with it.
                        continue
                    waiting.append(writer.chunk(batch.raw, batch.wall_time_s, active.queue.take_dropped()))
                    chunks += 1
                now_s = time.monotonic()
                stopped = bool(limits.max_s) and now_s - begun_s >= limits.max_s
                if full or stopped:
                    break
                if waiting and now_s - written_s >= WRITE_INTERVAL_S:
                    await asyncio.to_thread(_write, file, b"".join(waiting), self.files.check_space)
                    waiting, written_s = [], now_s
                    if now_s - synced_s >= SYNC_INTERVAL_S:
                        await asyncio.to_thread(os.fdatasync, file.fileno())
                        synced_s = now_s
        finally:
            waiting.append(writer.end())
            await asyncio.shield(asyncio.to_thread(_finish, file, b"".join(waiting)))
        return full and not stopped


def _write(file: BinaryIO, data: bytes, check_space: Callable[[], None]) -> None:
    check_space()
    file.write(data)


def _finish(file: BinaryIO, data: bytes) -> None:
    with file:
        file.write(data)
        os.fsync(file.fileno())
    sync_dir(Path(file.name).parent)

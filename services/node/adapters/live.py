"""What a controller may follow over the link while it is true: load, progress, detections, log lines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from paradrop.airshark.v1 import airshark_pb2, airshark_pb2_grpc
from paradrop.controller.v1 import controller_pb2 as pb
from paradrop.node.v1 import node_pb2

from services.common.channels import service_metadata
from services.common.errors import DomainError
from services.common.feed import Subscription
from services.common.ring import LEVELS
from services.node.adapters.observer import NodeObserver
from services.node.domain.cached import Cached
from services.node.domain.ports import Lines
from services.node.rpc.documents import to_log_line

DEPTH = 200
MIN_TELEMETRY_INTERVAL_S = 1.0
RETRY_S = 5.0
IDLE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where live messages come from."""

    channels: Mapping[str, grpc.aio.Channel]
    token_file: Path
    observer: NodeObserver
    lines: Lines
    telemetry: Cached[node_pb2.GetTelemetryResponse]


class Live:
    """The live messages of one connection; the oldest go first when the way is slow."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._waiting: Subscription[pb.Live] = Subscription(DEPTH)
        self._tasks: list[asyncio.Task[None]] = []

    async def messages(self) -> AsyncIterator[pb.Live]:
        """Yields what was subscribed to, as it comes."""
        async for batch in self._waiting.batches(IDLE_S):
            for live in batch:
                live.dropped_count = self._waiting.take_dropped()
                yield live

    async def subscribe(self, wanted: pb.Subscription) -> None:
        """Follows these from now on, and no others."""
        await self.close()
        works: list[Callable[[], AsyncIterator[pb.Live]]] = []
        if wanted.telemetry_interval_s > 0:
            interval_s = max(wanted.telemetry_interval_s, MIN_TELEMETRY_INTERVAL_S)
            works.append(lambda: self._telemetry(interval_s))
        if wanted.progress:
            works.append(self._progress)
        if wanted.detections:
            works.append(self._detections)
        if wanted.log_level in LEVELS:
            works.append(lambda: self._log(LEVELS.index(wanted.log_level)))
        self._tasks = [asyncio.create_task(self._feed(work)) for work in works]

    async def close(self) -> None:
        """Follows nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _feed(self, work: Callable[[], AsyncIterator[pb.Live]]) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError, DomainError):
                async for live in work():
                    self._waiting.push(live)
            # A service that is down or cannot do this comes back, or not.
            await asyncio.sleep(RETRY_S)

    async def _telemetry(self, interval_s: float) -> AsyncIterator[pb.Live]:
        while True:
            # Never the same report twice.
            yield pb.Live(telemetry=await self._sources.telemetry.get(interval_s / 2))
            await asyncio.sleep(interval_s)

    async def _progress(self) -> AsyncIterator[pb.Live]:
        async for progress in self._sources.observer.progress():
            yield pb.Live(progress=progress)

    async def _detections(self) -> AsyncIterator[pb.Live]:
        stub: Any = airshark_pb2_grpc.AirsharkServiceStub(self._sources.channels["airshark"])
        stream = stub.SubscribeAnalyzer(
            airshark_pb2.SubscribeAnalyzerRequest(), metadata=service_metadata(self._sources.token_file)
        )
        try:
            async for detection in stream:
                if detection.HasField("detection"):
                    yield pb.Live(detection=detection)
        finally:
            stream.cancel()

    async def _log(self, least: int) -> AsyncIterator[pb.Live]:
        async with self._sources.lines.reading() as (_, reader):
            async for batch in reader.batches(IDLE_S):
                lines = [
                    to_log_line(line)
                    for line in batch
                    if line.level in LEVELS and LEVELS.index(line.level) >= least
                ]
                if lines:
                    yield pb.Live(log=node_pb2.LogLines(lines=lines))

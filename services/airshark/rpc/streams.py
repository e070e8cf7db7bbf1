"""The course of every stream: synced, what comes, heartbeats in between, and an end that says why."""

from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any

from google.rpc import status_pb2
from paradrop.type.v1 import stream_pb2

from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.views import View, Views
from services.airshark.rpc.source_messages import to_event
from services.common.streams import heartbeat

HEARTBEAT_S = 10.0
QUEUE_MESSAGES = 32
"""Three seconds of ten messages each; a reader that is further behind wants what is new."""


class Streams:
    """Serves readers of views."""

    def __init__(self, views: Views, pipeline: Pipeline) -> None:
        self._views = views
        self._pipeline = pipeline

    async def read(
        self, response: Any, key: Hashable, make: Callable[[], View], *, with_source: bool = True
    ) -> AsyncIterator[bytes]:
        """Yields messages of the class `response`, written out, until the service ends."""
        view = make()  # Refuses what is wrong before anything is sent.
        with self._views.reading((response, key), lambda: view, QUEUE_MESSAGES) as waiting:
            if with_source:
                for reader in self._pipeline.readers:
                    yield response(source=to_event(reader.state)).SerializeToString()
            yield response(synced=stream_pb2.Synced()).SerializeToString()
            async for messages in waiting.batches(HEARTBEAT_S):
                dropped = waiting.take_dropped()
                if not messages:
                    messages = [response(heartbeat=heartbeat()).SerializeToString()]
                if dropped:
                    # Messages that are put together are read as one: this adds the count to the shared one.
                    messages[0] += response(dropped_count=dropped).SerializeToString()
                for message in messages:
                    yield message
            yield response(end=stream_pb2.End(status=status_pb2.Status())).SerializeToString()

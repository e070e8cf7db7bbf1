"""Streams of the spectrum and its devices as server-sent events, for browsers, which ask with `Accept`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from paradrop.airshark.v1 import detections_pb2, detections_pb2_grpc
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.bridge import replies
from gateway.bridge.callers import Metadata, metadata_of
from gateway.bridge.relays import Call, Channels, watching
from services.common.errors import DomainError
from services.common.identity import TokenVerifier

MEDIA_TYPE = "text/event-stream"
FIRST_MESSAGE_TIMEOUT_S = 5.0
"""How long the answer's status waits for a first message or a refusal."""
RETRY_MS = 2000
"""How long a browser waits before it connects again."""

Open = Callable[[grpc.aio.Channel, Mapping[str, str], Metadata], Call]

EVENT_STREAMS: dict[str, Open] = {
    f"/api/v1/airshark/{name}": watching(rpc)
    for name, rpc in (
        ("raw", "SubscribeRaw"),
        ("spectrum", "SubscribeSpectrum"),
        ("sweep", "SubscribeSweep"),
        ("waterfall", "SubscribeWaterfall"),
    )
} | {
    "/api/v1/airshark/detections/watch": watching(
        "WatchDetections", detections_pb2, detections_pb2_grpc.DetectionServiceStub
    )
}
"""Paths whose streams are also events; everybody else gets an object a line from the transcoder."""


class EventStream:
    """Serves one stream to any number of readers."""

    def __init__(self, open: Open, channels: Channels, verifier: TokenVerifier) -> None:
        self._open = open
        self._channel = channels["airshark"]
        self._verifier = verifier

    async def __call__(self, request: Request) -> Response:
        """Returns the events, or why there are none."""
        try:
            metadata = metadata_of(request.headers.get("authorization"), self._verifier)
            call = self._open(self._channel, request.query_params, metadata)
        except DomainError as error:
            return replies.from_error(error)
        messages = aiter(call)
        first: asyncio.Task[Any] = asyncio.ensure_future(anext(messages, None))
        try:
            await asyncio.wait({first}, timeout=FIRST_MESSAGE_TIMEOUT_S)
        except asyncio.CancelledError:
            call.cancel()
            raise
        refusal = first.exception() if first.done() else None
        if isinstance(refusal, grpc.aio.AioRpcError):
            return replies.from_rpc_error(refusal)
        headers = {"cache-control": "no-store"}
        return StreamingResponse(_events(call, first, messages), headers=headers, media_type=MEDIA_TYPE)


async def _events(call: Call, first: asyncio.Task[Any], messages: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    try:
        yield f"retry: {RETRY_MS}\n\n".encode()
        message = await first
        while message is not None:
            yield event(message)
            message = await anext(messages, None)
    except grpc.aio.AioRpcError as error:
        # The status of the answer is sent already; the reader is told in the stream.
        yield b"event: error\ndata: " + bytes(replies.from_rpc_error(error).body) + b"\n\n"
    finally:
        # Also when the reader has gone.
        first.cancel()
        call.cancel()


def event(message: Message) -> bytes:
    """Returns a message as an event: named by what it is, with its sequence number as the id if it has one.

    The data is the same object as a line of the stream of JSON.
    """
    kind = next((field for field, _ in message.ListFields() if field.message_type is not None), None)
    content = getattr(message, kind.name) if kind is not None else None
    lines = [] if kind is None else [f"event: {kind.name}"]
    if content is not None and "sequence" in content.DESCRIPTOR.fields_by_name:
        lines.append(f"id: {content.sequence}")
    document = json_format.MessageToJson(message, indent=None, always_print_fields_with_no_presence=True)
    return ("\n".join([*lines, f"data: {document}"]) + "\n\n").encode()

"""Pumps the messages of one RPC into one WebSocket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.bridge import replies
from gateway.bridge.callers import metadata_of
from gateway.bridge.relays import Call, Channels, Relay
from services.common.errors import DomainError, PermissionDenied
from services.common.identity import TokenVerifier

log = structlog.get_logger()

FIRST_MESSAGE_TIMEOUT_S = 5.0
"""How long the handshake waits for a first message or a refusal; a silent stream is a good one."""
NORMAL, INTERNAL_ERROR, SERVICE_RESTART = 1000, 1011, 1012
MAX_REASON_BYTES = 120


class Endpoint:
    """Serves one relay to any number of WebSockets."""

    def __init__(
        self, relay: Relay, channels: Channels, verifier: TokenVerifier, origins: tuple[str, ...]
    ) -> None:
        self._relay = relay
        self._channel = channels[relay.service]
        self._verifier = verifier
        self._origins = origins

    async def __call__(self, websocket: WebSocket) -> None:
        """Refuses the handshake, or serves the socket to its end."""
        try:
            check_origin(websocket, self._origins)
            metadata = metadata_of(websocket.headers.get("authorization"), self._verifier)
            # What is part of the path cannot be given in another way.
            variables = {**websocket.query_params, **websocket.path_params}
            call = self._relay.open(self._channel, variables, metadata)
        except DomainError as error:
            await deny(websocket, replies.from_error(error))
            return
        try:
            await self._serve(websocket, call)
        finally:
            call.cancel()

    async def _serve(self, websocket: WebSocket, call: Call) -> None:
        messages = aiter(call)
        first: asyncio.Task[Any] = asyncio.ensure_future(_next(messages))
        try:
            await asyncio.wait({first}, timeout=FIRST_MESSAGE_TIMEOUT_S)
            if first.done() and isinstance(error := first.exception(), grpc.aio.AioRpcError):
                await deny(websocket, replies.from_rpc_error(error))
                return
            await websocket.accept()
            pump = asyncio.ensure_future(self._pump(websocket, first, messages))
            # A bridge that only sends would keep the RPC alive after the browser has gone.
            gone = asyncio.ensure_future(self._listen(websocket, call))
            try:
                await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancelled(pump, gone)
        finally:
            await _cancelled(first)

    async def _pump(
        self, websocket: WebSocket, first: asyncio.Task[Any], messages: AsyncIterator[Any]
    ) -> None:
        code, reason = NORMAL, ""
        try:
            message = await first
            while message is not _END:
                for frame in self._relay.frames(message):
                    if isinstance(frame, str):
                        await websocket.send_text(frame)
                    else:
                        await websocket.send_bytes(frame)
                if message is not None and _field(message, "end") and message.end.status.code:
                    code, reason = INTERNAL_ERROR, message.end.status.message
                message = await _next(messages)
        except grpc.aio.AioRpcError as error:
            code = SERVICE_RESTART if error.code() is grpc.StatusCode.UNAVAILABLE else INTERNAL_ERROR
            reason = error.details() or ""
        except (WebSocketDisconnect, RuntimeError):
            return  # The client has gone in the middle of a frame.
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await websocket.close(code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))

    async def _listen(self, websocket: WebSocket, call: Call) -> None:
        while True:
            event = await websocket.receive()
            if event["type"] == "websocket.disconnect":
                return
            frame = event.get("text") or event.get("bytes")
            if self._relay.incoming is not None and frame:
                try:
                    await self._relay.incoming(call, frame)
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    continue  # The RPC has ended; the pump tells the client.


async def deny(websocket: WebSocket, response: Response) -> None:
    """Answers a handshake with an HTTP status."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await websocket.send_denial_response(response)


def check_origin(websocket: WebSocket, origins: tuple[str, ...]) -> None:
    """Raises unless the page that opens the socket comes from this node or from a configured origin.

    Browsers send remembered credentials along with every handshake, whatever page begins it.
    """
    origin = websocket.headers.get("origin")
    if origin is None or origin in origins:
        return
    host = origin.partition("://")[2]
    if host and host.lower() == websocket.headers.get("host", "").lower():
        return
    raise PermissionDenied(
        "Pages of this origin may not use the node; see PARADROP_CORS_ORIGINS.", reason="ORIGIN_NOT_ALLOWED"
    )


_END = object()


async def _next(messages: AsyncIterator[Any]) -> Any:
    return await anext(messages, _END)


def _field(message: Any, name: str) -> bool:
    return name in message.DESCRIPTOR.fields_by_name and bool(message.HasField(name))


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception) and not isinstance(result, grpc.aio.AioRpcError):
            log.error("a websocket ended with an error", error=repr(result))

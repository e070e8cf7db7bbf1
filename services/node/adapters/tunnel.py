"""Calls of the node's own methods that a controller makes through its link."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import structlog
from google.rpc import status_pb2
from grpc_status import rpc_status
from paradrop.controller.v1 import controller_pb2 as pb

from services.common.access import ACCESS
from services.common.channels import service_metadata
from services.common.errors import (
    Aborted,
    DomainError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from services.common.identity import Principal, Role
from services.common.statuses import to_proto
from services.node.adapters.outbox import Outbox

log = structlog.get_logger()

CONTROLLER = Principal("controller", Role.ADMIN, domain="controller")
MAX_CALLS = 64
MAX_KEY_CHARACTERS = 100
INPUT_DEPTH = 16

Send = Callable[[pb.ConnectRequest], Awaitable[None]]
"""Sends one message to the controller; waits while the way is full."""


class Tunnel:
    """Makes the calls of one connection. What runs at its end is cancelled, unless it has a key."""

    def __init__(
        self, channels: Mapping[str, grpc.aio.Channel], token_file: Path, outbox: Outbox, send: Send
    ) -> None:
        self._channels = channels
        self._token_file = token_file
        self._outbox = outbox
        self._send = send
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._inputs: dict[str, asyncio.Queue[bytes | None]] = {}

    def begin(self, call: pb.Call) -> None:
        """Starts a call."""
        requests: asyncio.Queue[bytes | None] = asyncio.Queue(INPUT_DEPTH)
        requests.put_nowait(call.message)
        if not call.more:
            requests.put_nowait(None)
        self._inputs[call.call_id] = requests
        task = asyncio.create_task(self._run(call, requests), name=f"call {call.method}")
        self._tasks[call.call_id] = task
        task.add_done_callback(lambda _: self._ended(call.call_id, task))

    async def add(self, more: pb.CallInput) -> None:
        """Gives a call a further request; waits while it has too many."""
        requests = self._inputs.get(more.call_id)
        if requests is None:
            return
        for message in (more.message, None) if more.last else (more.message,):
            putting = asyncio.ensure_future(requests.put(message))
            # A call that has ended takes nothing any more.
            await asyncio.wait({putting, self._tasks[more.call_id]}, return_when=asyncio.FIRST_COMPLETED)
            if not putting.done():
                putting.cancel()
                return

    def cancel(self, call_id: str) -> None:
        """Cancels a call."""
        if task := self._tasks.get(call_id):
            task.cancel()

    async def close(self) -> None:
        """Cancels all calls."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, call_id: str, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(call_id) is task:
            del self._tasks[call_id], self._inputs[call_id]

    async def _run(self, call: pb.Call, requests: "asyncio.Queue[bytes | None]") -> None:
        status = status_pb2.Status()
        try:
            if len(self._tasks) > MAX_CALLS:
                raise Aborted(f"At most {MAX_CALLS} calls run at once.", reason="CALLS_TOO_MANY")
            channel = self._check(call)
            if call.key:
                status = await self._once(call, channel, requests)
            else:
                async for reply in self._replies(call.method, channel, requests):
                    await self._answer(call, message=reply)
        except DomainError as error:
            status = to_proto(error)
        except grpc.aio.AioRpcError as error:
            status = _status(error)
        await self._answer(call, end=status)

    def _check(self, call: pb.Call) -> grpc.aio.Channel:
        access = ACCESS.get(call.method)
        parts = call.method.removeprefix("/").split(".")
        channel = self._channels.get(parts[1]) if len(parts) > 2 and parts[0] == "paradrop" else None
        if access is None or channel is None:
            raise NotFound(f"The node has no method {call.method!r}.", reason="METHOD_NOT_FOUND")
        if access.public:
            raise PermissionDenied("Logins are not for controllers.", reason="METHOD_NOT_FOR_CONTROLLERS")
        access.check(CONTROLLER)
        if len(call.key) > MAX_KEY_CHARACTERS:
            raise InvalidArgument(
                f"A key has at most {MAX_KEY_CHARACTERS} characters.", reason="KEY_INVALID", field="key"
            )
        return channel

    async def _once(
        self, call: pb.Call, channel: grpc.aio.Channel, requests: "asyncio.Queue[bytes | None]"
    ) -> status_pb2.Status:
        known = await self._outbox.begin_call(call.key)
        if known is not None:
            if known.status is None:
                raise Aborted(
                    "The node went down during this call; look whether it was done, and use a new key.",
                    reason="CALL_OUTCOME_UNKNOWN",
                )
            if known.reply is not None:
                await self._answer(call, message=known.reply)
            return status_pb2.Status.FromString(known.status)
        # Once begun it goes on without the connection: its outcome is asked for again.
        work = asyncio.ensure_future(self._do_once(call, channel, requests))
        reply, status = await asyncio.shield(work)
        if reply is not None:
            await self._answer(call, message=reply)
        return status

    async def _do_once(
        self, call: pb.Call, channel: grpc.aio.Channel, requests: "asyncio.Queue[bytes | None]"
    ) -> tuple[bytes | None, status_pb2.Status]:
        reply, status = None, status_pb2.Status()
        try:
            async for message in self._replies(call.method, channel, requests):
                reply = message
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                await self._outbox.forget_call(call.key)
                return None, _status(error)
            status = _status(error)
        await self._outbox.end_call(call.key, reply, status.SerializeToString())
        return reply, status

    async def _replies(
        self, method: str, channel: grpc.aio.Channel, requests: "asyncio.Queue[bytes | None]"
    ) -> AsyncIterator[bytes]:
        async def inputs() -> AsyncIterator[bytes]:
            while (message := await requests.get()) is not None:
                yield message

        # On the wire all kinds of calls are alike, so bytes can be passed on without knowing the method.
        start: Any = channel.stream_stream(method)
        call = start(inputs(), metadata=service_metadata(self._token_file))
        try:
            async for reply in call:
                yield reply
        finally:
            call.cancel()

    async def _answer(self, call: pb.Call, **part: object) -> None:
        answer = pb.CallAnswer(call_id=call.call_id, **part)  # type: ignore[arg-type]
        await self._send(pb.ConnectRequest(answer=answer))


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        status = None
    if status is not None:
        return status
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return to_proto(
            Unavailable(
                "This service of the node does not answer now; try again.", reason="SERVICE_UNAVAILABLE"
            )
        )
    return status_pb2.Status(code=error.code().value[0], message=error.details() or "")

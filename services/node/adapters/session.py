"""One connection to a controller, from hello to its end."""

import asyncio
from typing import Any

import grpc
from paradrop.chutes.v1 import changes_pb2
from paradrop.controller.v1 import controller_pb2 as pb

from services.common.timestamps import to_timestamp
from services.node.adapters.live import Live, Sources
from services.node.adapters.outbox import Outbox, Record
from services.node.adapters.tunnel import Tunnel


class NoWelcomeError(Exception):
    """What was called does not begin with welcome."""


class Session:
    """The messages of one stream."""

    def __init__(self, call: Any, outbox: Outbox, sources: Sources) -> None:
        self._call = call
        self._outbox = outbox
        self._writing = asyncio.Lock()
        self._tunnel = Tunnel(sources.channels, sources.token_file, outbox, self._send)
        self._live = Live(sources)
        self._acknowledged = 0

    async def begin(self, hello: pb.Hello) -> None:
        """Says hello and waits for the welcome; raises NoWelcomeError or AioRpcError."""
        await self._send(pb.ConnectRequest(hello=hello))
        first = await self._call.read()
        if first is grpc.aio.EOF or not first.HasField("welcome"):
            raise NoWelcomeError
        self._acknowledged = first.welcome.acknowledged_sequence
        await self._outbox.acknowledge(self._acknowledged)

    async def serve(self) -> None:
        """Sends and reads until the stream ends."""
        works = (self._send_records(), self._send_live(), self._read())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Ends what the connection has started."""
        await self._live.close()
        await self._tunnel.close()

    async def _send(self, message: pb.ConnectRequest) -> None:
        async with self._writing:
            try:
                await self._call.write(message)
            except asyncio.InvalidStateError:
                # It ended just now; its status says why.
                call = self._call
                raise grpc.aio.AioRpcError(
                    await call.code(),
                    await call.initial_metadata(),
                    await call.trailing_metadata(),
                    await call.details(),
                ) from None

    async def _send_records(self) -> None:
        sent = self._acknowledged
        while True:
            self._outbox.added.clear()
            for record in await self._outbox.after(sent):
                await self._send(pb.ConnectRequest(record=_to_record(record)))
                sent = record.sequence
            if not await self._outbox.after(sent, 1):
                await self._outbox.added.wait()

    async def _send_live(self) -> None:
        async for live in self._live.messages():
            await self._send(pb.ConnectRequest(live=live))

    async def _read(self) -> None:
        while (message := await self._call.read()) is not grpc.aio.EOF:
            kind = message.WhichOneof("message")
            if kind == "acknowledgement":
                await self._outbox.acknowledge(message.acknowledgement.sequence)
            elif kind == "subscription":
                await self._live.subscribe(message.subscription)
            elif kind == "call":
                self._tunnel.begin(message.call)
            elif kind == "input":
                await self._tunnel.add(message.input)
            elif kind == "cancellation":
                self._tunnel.cancel(message.cancellation.call_id)


def _to_record(record: Record) -> pb.Record:
    message = pb.Record(sequence=record.sequence, time=to_timestamp(record.time_s))
    if record.kind == "change":
        message.change_ended.CopyFrom(changes_pb2.Change.FromString(record.payload))
    else:
        message.state.CopyFrom(pb.NodeState.FromString(record.payload))
    return message

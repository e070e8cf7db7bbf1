"""The log of the whole node: of this process, and of the other ones where services run apart."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from paradrop.process.v1 import process_pb2, process_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import DomainError
from services.common.feed import Subscription
from services.common.ring import KEPT_LINES, RING, LogLine
from services.common.timestamps import to_seconds

TIMEOUT_S = 1.0
RETRY_S = 2.0


class NodeLines:
    """Reads the lines of all processes of the node."""

    def __init__(self, channels: Iterable[grpc.aio.Channel], token_file: Path) -> None:
        self._stubs: list[Any] = [process_pb2_grpc.ProcessServiceStub(channel) for channel in channels]
        self._token_file = token_file

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[tuple[list[LogLine], Subscription[LogLine]]]:
        """Yields the kept lines, oldest first, and the new ones for the time of the context."""
        with RING.reading() as (kept, reader):
            apart = await self._apart()
            others = [stub for stub, is_apart in zip(self._stubs, apart, strict=True) if is_apart]
            firsts: list[asyncio.Future[list[LogLine]]] = []
            tasks = []
            for stub in others:
                first: asyncio.Future[list[LogLine]] = asyncio.get_running_loop().create_future()
                firsts.append(first)
                tasks.append(asyncio.create_task(self._follow(stub, first, reader)))
            try:
                if firsts:
                    await asyncio.wait(firsts, timeout=TIMEOUT_S)
                for first in firsts:
                    if first.done():
                        kept.extend(first.result())
                    else:
                        first.cancel()
                yield sorted(kept, key=lambda line: line.time_s), reader
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _apart(self) -> list[bool]:
        """Tells of each service whether it runs in another process; one that is down does."""

        async def is_apart(stub: Any) -> bool:
            try:
                request, metadata = process_pb2.GetProcessRequest(), service_metadata(self._token_file)
                process = await stub.GetProcess(request, metadata=metadata, timeout=TIMEOUT_S)
            except (grpc.aio.AioRpcError, DomainError):
                return True
            return bool(process.instance != RING.instance)

        return await asyncio.gather(*map(is_apart, self._stubs))

    async def _follow(
        self,
        stub: Any,
        first: "asyncio.Future[list[LogLine]]",
        reader: Subscription[LogLine],
    ) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError, DomainError):
                request = process_pb2.StreamLinesRequest(tail=0 if first.done() else KEPT_LINES)
                stream = stub.StreamLines(request, metadata=service_metadata(self._token_file))
                try:
                    async for message in stream:
                        lines = [_line(line) for line in message.lines]
                        if first.done():
                            for line in lines:
                                reader.push(line)
                        else:
                            first.set_result(lines)
                finally:
                    stream.cancel()
            await asyncio.sleep(RETRY_S)


def _line(line: process_pb2.Line) -> LogLine:
    return LogLine(to_seconds(line.time), line.service, line.level, line.message, dict(line.fields))

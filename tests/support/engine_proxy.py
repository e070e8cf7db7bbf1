"""A socket in front of the engine that can be cut, as if the engine had died."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class EngineProxy:
    """Passes everything to the real engine until it is cut."""

    def __init__(self, path: Path, engine_address: str) -> None:
        self._path = path
        self._engine = engine_address.removeprefix("unix://")
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent = False
        self.requests: list[str] = []
        """First line of each request, such as "GET /v1.41/_ping HTTP/1.1"."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"unix://{self._path}"

    async def open(self) -> None:
        """Listens."""
        self._silent = False
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    def fall_silent(self) -> None:
        """Passes nothing more on from now, as an engine that hangs."""
        self._silent = True

    async def cut(self) -> None:
        """Stops listening and breaks every connection."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        engine_reader, engine_writer = await asyncio.open_unix_connection(self._engine)
        self._writers |= {writer, engine_writer}
        try:
            await asyncio.gather(
                self._pass(reader, engine_writer, is_request=True),
                self._pass(engine_reader, writer, is_request=False),
            )
        finally:
            for end in (writer, engine_writer):
                self._writers.discard(end)
                end.transport.abort()
                with suppress(OSError):
                    await end.wait_closed()
            self._tasks.discard(task)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_request: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self._silent:
                    continue
                if is_request and data[:5] in (b"GET /", b"POST ", b"DELET", b"HEAD "):
                    self.requests.append(data.partition(b"\r\n")[0].decode())
                writer.write(data)
                await writer.drain()
        if writer.can_write_eof():
            with suppress(OSError):
                writer.write_eof()


@asynccontextmanager
async def engine_proxy(folder: Path, engine_address: str) -> AsyncIterator[EngineProxy]:
    """Runs a proxy for the time of the context."""
    proxy = EngineProxy(folder / f"engine-{os.getpid()}.sock", engine_address)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.cut()

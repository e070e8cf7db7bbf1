"""Takes archives of chutes: they are unpacked as they come, and leave nothing behind if they are bad."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from services.chutes.adapters.disk import disk_full_told
from services.chutes.adapters.folders import DiskFolders
from services.chutes.adapters.pieces import Piece, Slots, Upload
from services.chutes.adapters.threads import to_its_end
from services.chutes.adapters.unpacker import Target, Unpacked, unpack
from services.chutes.domain.spec import Definition
from services.common.errors import DomainError

CONTENT_TYPES = ("application/gzip", "application/x-gzip", "application/octet-stream")
MAX_PARALLEL = 2
MAX_DRAINED_BYTES = 1024 * 1024 * 1024
"""Whoever still sends when a connection ends may never see the answer."""

Result = TypeVar("Result")

Admit = Callable[[Definition, Piece], None]
"""Raises why the chute of an archive cannot be imported, before its data is unpacked."""
Install = Callable[[Definition, str | None, str, Piece], Awaitable[Result]]
"""Makes a change of what was unpacked to a workspace, if there are sources, and to another for the data."""


class Imports:
    """Turns streams of archive pieces into changes. `close` it at the end."""

    def __init__(self, folders: DiskFolders, max_source_bytes: int) -> None:
        self._folders = folders
        self._max_source_bytes = max_source_bytes
        self._slots = Slots(MAX_PARALLEL)
        # Of its own: an archive that comes slowly must not use up the threads that all others share.
        self._threads = ThreadPoolExecutor(MAX_PARALLEL, thread_name_prefix="import")
        self._installing: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """Lets the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def take(self, pieces: AsyncIterator[Piece], admit: Admit, install: Install[Result]) -> Result:
        """Receives an archive and returns what `install` makes of it.

        Its size is limited by the room on the disk alone. On an error some of the rest is read as well before
        the error is raised, so that plain HTTP clients see it.
        """
        upload = Upload(pieces, CONTENT_TYPES)
        sources, data = secrets.token_hex(8), secrets.token_hex(8)
        try:
            async with self._slots.taken():
                unpacked = await self._unpacked(upload, sources, data, admit)
                task = asyncio.create_task(self._install(unpacked, sources, data, install, upload.first))
                self._installing.add(task)
                task.add_done_callback(self._installing.discard)
                # Whether the caller is still there does not matter any more: the archive is whole.
                return await asyncio.shield(task)
        except DomainError:
            await upload.drain(upload.read_bytes + MAX_DRAINED_BYTES)
            raise

    async def _unpacked(self, upload: Upload, sources: str, data: str, admit: Admit) -> Unpacked:
        folders = self._folders
        try:
            async with aclosing(upload.data()) as chunks:
                feed = _Feed(await anext(chunks), chunks)
                first = upload.first
                target = Target(
                    folders.workspace(sources), folders.workspace(data), self._max_source_bytes, first.chute
                )
                work = partial(_unpack, feed, target, lambda definition: admit(definition, first))
                return await to_its_end(work, on_cancel=feed.give_up, threads=self._threads)
        except BaseException:
            await self._remove(sources, data)
            raise

    async def _install(
        self, unpacked: Unpacked, sources: str, data: str, install: Install[Result], first: Piece
    ) -> Result:
        try:
            return await install(unpacked.definition, sources if unpacked.has_sources else None, data, first)
        except Exception:
            await self._remove(sources, data)
            raise

    async def _remove(self, *names: str) -> None:
        for name in names:
            await self._folders.remove_workspace(name)


class _Feed:
    """Bytes that come in the event loop, for a thread that waits for them."""

    def __init__(self, first: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._first = first
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._given_up = False
        self._waiting: Future[Any] | None = None

    def read(self) -> bytes:
        """Returns the next bytes, b"" at the end. In the thread."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return self.call(self._next())

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Does something in the event loop. In the thread."""
        self._waiting = asyncio.run_coroutine_threadsafe(self._unless_given_up(work), self._loop)
        result: Result = self._waiting.result()
        return result

    def give_up(self) -> None:
        """Lets the thread wait no more. In the event loop."""
        self._given_up = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _next(self) -> bytes:
        # What is empty is not the end.
        while not (chunk := await anext(self._chunks, None)) and chunk is not None:
            pass
        return chunk or b""

    async def _unless_given_up(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._given_up:
            work.close()
            raise asyncio.CancelledError
        return await work


def _unpack(feed: _Feed, target: Target, admit: Callable[[Definition], None]) -> Unpacked:
    async def admitted(definition: Definition) -> None:
        admit(definition)

    with disk_full_told():
        return unpack(feed.read, target, lambda definition: feed.call(admitted(definition)))

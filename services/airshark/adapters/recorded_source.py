"""Plays a file as if a radio gave it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from services.airshark.adapters.files import CHUNK_S, NoCapture, open_file
from services.airshark.domain.sources import Chunk, SourceKind, SourceLost

LONGEST_PAUSE_S = 5.0
"""A recording that pauses for longer goes on after this."""


class RecordedSource:
    """A file, once or again and again, at its own pace or as fast as it can be read."""

    kind = SourceKind.RECORDING

    def __init__(self, path: Path, *, loop: bool = False, fast: bool = False) -> None:
        self._path = path
        self._loop = loop
        self._fast = fast
        self.radio = path.stem
        self.description = f"recording {path.name}{', again and again' if loop else ''}"

    async def present(self) -> bool:
        """Tells whether the file is there."""
        return await asyncio.to_thread(self._path.is_file)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yields the chunks of the file with the times at which they are played."""
        while True:
            empty = True
            async for chunk in self._once():
                empty = False
                yield chunk
            if not self._loop:
                return
            if empty:
                raise SourceLost(f"{self._path.name} holds no samples.")
            if not self._fast:
                await asyncio.sleep(CHUNK_S)  # The last chunk has its time as well.

    async def _once(self) -> AsyncIterator[Chunk]:
        try:
            _, chunks = await asyncio.to_thread(open_file, self._path)
            before_s: float | None = None
            due_s = time.monotonic()
            while (chunk := await asyncio.to_thread(_next, chunks)) is not None:
                if not self._fast and before_s is not None:
                    due_s += min(max(chunk.wall_time_s - before_s, 0.0), LONGEST_PAUSE_S)
                    await asyncio.sleep(max(due_s - time.monotonic(), 0.0))
                before_s = chunk.wall_time_s
                yield Chunk(chunk.data, time.time(), chunk.was_full)
        except NoCapture as error:
            raise SourceLost(str(error)) from None
        except OSError as error:
            raise SourceLost(f"{self._path.name} cannot be read: {error.strerror}.") from None


def _next(chunks: Iterator[Chunk]) -> Chunk | None:
    return next(chunks, None)

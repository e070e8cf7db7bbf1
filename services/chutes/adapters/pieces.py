"""Files that come in pieces: read within limits, and to their end even if they are refused."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from services.common.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted

MAX_SILENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a file as it came. All but the data counts in the first one."""

    data: bytes
    content_type: str = ""
    chute: str = ""
    """Name in the path of an update, or that an imported chute gets."""
    replace: bool = False
    """Whether an imported chute takes the place of one that is there."""
    force: bool = False
    """Whether an update lock does not count."""
    dry_run: bool = False
    """Whether only the plan is wanted."""


class Slots:
    """Lets so many files be received at once, and refuses more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._active = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Takes a slot for the time of the context or raises ResourceExhausted (TOO_MANY_UPLOADS)."""
        if self._active >= self._limit:
            raise ResourceExhausted(
                f"{self._limit} uploads are being received already; try again in a few seconds.",
                reason="TOO_MANY_UPLOADS",
                retry_after_s=5,
                limit=str(self._limit),
            )
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1


class Upload:
    """One stream of pieces, read within its limits."""

    def __init__(
        self, pieces: AsyncIterator[Piece], content_types: Sequence[str], max_bytes: float = math.inf
    ) -> None:
        self._pieces = pieces
        self._content_types = content_types
        self._max_bytes = max_bytes
        self.read_bytes = 0
        self._ended = False
        self.first = Piece(b"")

    async def data(self) -> AsyncGenerator[bytes, None]:
        """Yields the bytes, or raises what is wrong with the upload."""
        first = await self._next()
        if first is None:
            raise _empty()
        if first.content_type.partition(";")[0].strip().lower() not in self._content_types:
            raise InvalidArgument(
                f"The content type must be {self._content_types[0]}, not {first.content_type!r}.",
                reason="CONTENT_TYPE_WRONG",
                field="content.content_type",
                content_type=first.content_type,
            )
        self.first = replace(first, data=b"")
        piece: Piece | None = first
        while piece is not None:
            if self.read_bytes > self._max_bytes:
                raise ResourceExhausted(
                    f"The upload is larger than {self._max_bytes} bytes; leave out what the chute does not "
                    "need, or raise PARADROP_MAX_UPLOAD_MIB.",
                    reason="UPLOAD_TOO_LARGE",
                    limit_bytes=str(self._max_bytes),
                )
            yield piece.data
            piece = await self._next()
        if not self.read_bytes:
            raise _empty()

    async def drain(self, most_bytes: int) -> None:
        """Reads and forgets the rest, up to so many bytes in all."""
        while not self._ended and self.read_bytes <= most_bytes:
            await self._next()

    async def _next(self) -> Piece | None:
        try:
            async with asyncio.timeout(MAX_SILENCE_S):
                piece = await anext(self._pieces, None)
        except TimeoutError:
            self._ended = True
            raise DeadlineExceeded(
                f"Nothing of the upload came for {MAX_SILENCE_S:.0f} seconds; send it again.",
                reason="UPLOAD_STALLED",
            ) from None
        if piece is None:
            self._ended = True
        else:
            self.read_bytes += len(piece.data)
        return piece


def _empty() -> InvalidArgument:
    return InvalidArgument(
        "The upload is empty; send the file of the chute as the body.", reason="UPLOAD_EMPTY"
    )

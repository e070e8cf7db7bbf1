"""Reads a tar that comes in pieces, compressed, without keeping it."""

import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256

from services.chutes.adapters.tarheaders import corrupt

GZIP = zlib.MAX_WBITS | 16
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 256 * 1024
KEPT_BYTES = 128 * 1024
"""So far back it can be read again: headers are looked at twice."""

MAX_PADDING_BYTES = 1024 * 1024


def gunzipped(read: Callable[[], bytes]) -> Iterator[bytes]:
    """Yields what is in a gzip file in small pieces; `read` returns its next bytes, b"" at the end."""
    unpacker = zlib.decompressobj(GZIP)
    start = packed = read()
    while len(start) < len(GZIP_MAGIC) and packed:
        packed = read()
        start += packed
    if not start.startswith(GZIP_MAGIC):
        raise corrupt("it is not compressed with gzip, as archives of chutes are.")
    packed = start
    try:
        while packed:
            yield unpacker.decompress(packed, CHUNK_BYTES)
            packed = unpacker.unconsumed_tail
            if not packed and not unpacker.eof:
                packed = read()
    except zlib.error:
        raise corrupt("it is damaged. Send it again.") from None
    if not unpacker.eof:
        raise corrupt("it ends in the middle. Send it again.")
    if unpacker.unused_data or read():
        raise corrupt("something comes after its end.")


class TarStream:
    """Bytes that come in order; a little of what was read can be read again."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = bytearray()
        self._start = 0
        """Position of the first byte in the buffer; those before it are in the digest."""
        self._position = 0
        self._digest = sha256()

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, position: int, /) -> int:
        """Goes to a position, or as near to it as there are bytes."""
        if position < self._start:
            raise corrupt("its headers lead backwards.")
        while position > self._end and self._fill():
            self._go_to(position)
        return self._go_to(position)

    def read(self, size: int, /) -> bytes:
        """Returns so many bytes, fewer only at the end."""
        while self._position + size > self._end and self._fill():
            pass
        offset = self._position - self._start
        content = bytes(memoryview(self._buffer)[offset : offset + size])
        self._position += len(content)
        self._drop()
        return content

    def digest_before(self, position: int) -> str:
        """Returns the SHA-256 of everything before a position that is not far back."""
        digest = self._digest.copy()
        digest.update(memoryview(self._buffer)[: position - self._start])
        return digest.hexdigest()

    def finish(self) -> None:
        """Reads the padding at the end, or raises that there is more."""
        left = MAX_PADDING_BYTES
        while content := self.read(CHUNK_BYTES):
            left -= len(content)
            if left < 0 or content.strip(b"\0"):
                raise corrupt("something comes after its end.")

    def _go_to(self, position: int) -> int:
        self._position = min(position, self._end)
        self._drop()
        return self._position

    @property
    def _end(self) -> int:
        return self._start + len(self._buffer)

    def _fill(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._buffer += chunk
                return True
        return False

    def _drop(self) -> None:
        spare = self._position - KEPT_BYTES - self._start
        # Not byte by byte: what is behind moves each time.
        if spare >= KEPT_BYTES:
            self._digest.update(memoryview(self._buffer)[:spare])
            del self._buffer[:spare]
            self._start += spare

"""The output of a container as lines."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from services.chutes.adapters.docker_client import EngineConnection
from services.chutes.adapters.docker_containers import require_ours
from services.chutes.adapters.docker_stream import StreamingCall, conveyed
from services.chutes.domain.ports import LoggedLine

MAX_LINE_BYTES = 16 * 1024
"""What the engine stores of a line in one piece; the rest of a longer one is left out."""
CUT = "…"
DEPTH = 256
OPEN_LINES = 2
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ?")


@asynccontextmanager
async def read_logs(
    connection: EngineConnection, node_id: str, container: str, service: str, tail: int, follow: bool
) -> AsyncIterator[AsyncIterator[Sequence[LoggedLine]]]:
    """Opens the output of a container of ours: batches of lines, oldest first."""
    found = await connection.call(lambda client: require_ours(client, node_id, container))
    tty = bool(found["Config"]["Tty"])

    def produce(call: StreamingCall, put: Callable[[LoggedLine], None]) -> None:
        with call.open() as client:
            output = client.logs(found["Id"], stream=True, follow=follow, timestamps=True, tail=max(tail, 0))
            for line in lines(split(output) if tty else output, service):
                put(line)
            # The SDK takes a connection that breaks for the end of the output.
            client.ping()

    async with conveyed(connection, produce, "logs", DEPTH) as conveyor:
        yield conveyor.batches()


def split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the lines of a terminal's output, which comes in any pieces."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > 2 * MAX_LINE_BYTES:
            # Enough to know that the line is too long; one more byte than the limit says so.
            rest = rest[: MAX_LINE_BYTES + 64]
    if rest:
        yield rest


def lines(records: Iterator[bytes], service: str) -> Iterator[LoggedLine]:
    """Yields the lines of what the engine recorded.

    A record is a line, or a part of a long one: the parts have no line feed and the timestamp of the first.
    Only the first part counts.
    """
    unfinished: list[int] = []
    last_ns = 0
    for record in records:
        stamp = _STAMP.match(record)
        timestamp_ns = _nanoseconds(stamp) if stamp else last_ns
        text = record[stamp.end() :] if stamp else record
        whole = text.endswith(b"\n")
        last_ns = timestamp_ns
        if timestamp_ns in unfinished:
            if whole:
                unfinished.remove(timestamp_ns)
            continue
        if not whole:
            unfinished = [*unfinished, timestamp_ns][-OPEN_LINES:]
        yield LoggedLine(service, timestamp_ns, _readable(text))


def _nanoseconds(stamp: re.Match[bytes]) -> int:
    seconds = datetime.fromisoformat(stamp[1].decode()).replace(tzinfo=UTC).timestamp()
    return int(seconds) * 1_000_000_000 + int((stamp[2] or b"0").ljust(9, b"0"))


def _readable(text: bytes) -> str:
    # The last line of a container that ended without a line feed has none, and is whole nevertheless.
    text = text.removesuffix(b"\n").removesuffix(b"\r")
    cut = CUT if len(text) >= MAX_LINE_BYTES else ""
    return text[:MAX_LINE_BYTES].decode(errors="replace") + cut

"""The output of a container as lines."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache

import requests
from docker.errors import create_api_error_from_http_exception

from services.chutes.adapters.docker_client import CALL_TIMEOUT_S, EngineConnection
from services.chutes.adapters.docker_containers import require_ours
from services.chutes.adapters.docker_stream import StreamingCall, conveyed
from services.chutes.domain.ports import ALWAYS, LoggedLine, TimeSpan

MAX_LINE_BYTES = 16 * 1024
"""What the engine stores of a line in one piece; the rest of a longer one is left out."""
CUT = "…"
DEPTH = 256
OPEN_LINES = 2
HEADER_BYTES = 8
PIECE_BYTES = 64 * 1024
NANOSECONDS = 1_000_000_000
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ?")


@asynccontextmanager
async def read_logs(
    connection: EngineConnection,
    node_id: str,
    container: str,
    service: str,
    tail: int,
    follow: bool,
    span: TimeSpan = ALWAYS,
) -> AsyncIterator[AsyncIterator[Sequence[LoggedLine]]]:
    """Opens the output of a container of ours: batches of lines, oldest first."""
    found = await connection.call(lambda client: require_ours(client, node_id, container))
    tty = bool(found["Config"]["Tty"])
    parameters: dict[str, int | str] = {
        "stdout": 1,
        "stderr": 1,
        "timestamps": 1,
        "follow": int(follow),
        "tail": max(tail, 0),
    }
    for name, time_ns in (("since", span.since_ns), ("until", span.until_ns)):
        if time_ns is not None:
            parameters[name] = f"{time_ns // NANOSECONDS}.{time_ns % NANOSECONDS:09d}"

    def produce(call: StreamingCall, put: Callable[[LoggedLine], None]) -> None:
        with call.open() as client:
            # The SDK reads each line with several calls, and knows whole seconds only. For as long
            # as the container is silent nothing comes.
            url = f"{client.base_url}/v{client.api_version}/containers/{found['Id']}/logs"
            response = client.get(url, params=parameters, stream=True, timeout=(CALL_TIMEOUT_S, None))
            try:
                response.raise_for_status()
            except requests.HTTPError as error:
                create_api_error_from_http_exception(error)
            output = pieces(response)
            for line in lines(split(output) if tty else frames(output), service):
                put(line)
            # A connection that breaks looks like the end of the output.
            client.ping()

    async with conveyed(connection, produce, "logs", DEPTH) as conveyor:
        yield conveyor.batches()


def pieces(response: requests.Response) -> Iterator[bytes]:
    """Yields what has come of an answer, as soon as something has."""
    while piece := response.raw.read1(PIECE_BYTES):
        yield piece


def frames(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the records of an output that is not a terminal's: each has a header that tells its length."""
    rest = b""
    for chunk in chunks:
        rest = rest + chunk if rest else chunk
        start, size = 0, len(rest)
        while size - start >= HEADER_BYTES:
            end = start + HEADER_BYTES + int.from_bytes(rest[start + 4 : start + HEADER_BYTES], "big")
            if end > size:
                break
            yield rest[start + HEADER_BYTES : end]
            start = end
        rest = rest[start:]


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


@lru_cache(256)
def _seconds(text: bytes) -> int:
    return int(datetime.fromisoformat(text.decode()).replace(tzinfo=UTC).timestamp())


def _nanoseconds(stamp: re.Match[bytes]) -> int:
    return _seconds(stamp[1]) * NANOSECONDS + int((stamp[2] or b"0").ljust(9, b"0"))


def _readable(text: bytes) -> str:
    # The last line of a container that ended without a line feed has none, and is whole nevertheless.
    text = text.removesuffix(b"\n").removesuffix(b"\r")
    cut = CUT if len(text) >= MAX_LINE_BYTES else ""
    return text[:MAX_LINE_BYTES].decode(errors="replace") + cut

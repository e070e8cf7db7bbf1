"""Builds images and tells how it goes, line by line."""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from docker.errors import APIError

from services.chutes.adapters import docker_context, docker_images
from services.chutes.adapters.docker_client import EngineConnection, engine_disk_full, says_disk_full, words
from services.chutes.adapters.docker_labels import image_labels
from services.chutes.adapters.docker_stream import Aborted, StreamingCall, conveyed
from services.chutes.domain.ports import OnLine
from services.common.errors import DomainError, FailedPrecondition

MAX_LINE_CHARACTERS = 1000
LAST_LINES = 10
DEPTH = 256

# Colours and cursor movements, and everything else that a terminal would not show.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


async def build(
    connection: EngineConnection,
    node_id: str,
    tag: str,
    chute: str,
    context: docker_context.Context,
    on_line: OnLine,
) -> None:
    """Builds a folder into an image and tags it when it is whole."""
    labels = image_labels(node_id, chute)
    await connection.call(lambda client: docker_images.refuse_foreign(client, node_id, chute, tag))
    output = BuildOutput()

    def produce(call: StreamingCall, put: Callable[[str], None]) -> None:
        with call.open() as client:
            try:
                answer = client.build(
                    fileobj=_until_aborted(docker_context.stream(context, labels), call),
                    custom_context=True,
                    rm=True,
                    forcerm=True,
                    decode=True,
                    timeout=None,  # A build may be silent as long as it likes; its change has a deadline.
                )
                for message in answer:
                    for line in output.take(message):
                        put(line)
            except APIError as error:
                output.error = output.error or words(error)

    async with conveyed(connection, produce, "build", DEPTH) as conveyor:
        async for batch in conveyor.batches():
            for line in batch:
                on_line(line)
    if output.error is not None:
        raise output.failure(tag)
    image_id = output.image_id
    if image_id is None:
        raise connection.down()
    await connection.call(lambda client: docker_images.tag(client, node_id, chute, image_id, tag))


def _until_aborted(chunks: Iterator[bytes], call: StreamingCall) -> Any:
    """Sends no more once nobody waits for the image; the engine then drops what it has."""
    try:
        for chunk in chunks:
            if call.aborted:
                raise Aborted
            yield chunk
    except OSError as error:
        # Left as it is, it would look like a failure of the connection.
        raise FailedPrecondition(
            f"The chute's folder cannot be read: {error}", reason="BUILD_CONTEXT_UNREADABLE"
        ) from error


class BuildOutput:
    """Turns the engine's messages into lines, and remembers how the build ended."""

    def __init__(self) -> None:
        self.image_id: str | None = None
        self.error: str | None = None
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._rest = ""

    def take(self, message: Mapping[str, Any]) -> Iterator[str]:
        """Yields the lines that a message completes."""
        if "stream" in message:
            yield from self._lines(str(message["stream"]))
        elif "error" in message:
            yield from self._lines("\n")
            self.error = visible(str(message["error"]))[-MAX_LINE_CHARACTERS:].strip()
        elif "status" in message and _is_news(message):
            yield from self._lines(f"{_status(message)}\n")
        elif "aux" in message:
            self.image_id = message["aux"].get("ID", self.image_id)

    def failure(self, tag: str) -> DomainError:
        """Returns the error of a build that failed, with the engine's last words."""
        last = "\n".join(self._last)
        # A command of the build meets a full disk before the engine does, and says it in its own way.
        if says_disk_full(f"{self.error}\n{last}"):
            return engine_disk_full(f"{self.error} The last output was:\n{last}")
        return FailedPrecondition(
            f"The image {tag} could not be built: {self.error} The last output was:\n{last}",
            reason="IMAGE_BUILD_FAILED",
            image=tag,
            error=str(self.error),
            output=last,
        )

    def _lines(self, text: str) -> Iterator[str]:
        *whole, rest = (self._rest + text).split("\n")
        overwritten = rest.rstrip("\r")
        self._rest = overwritten.rpartition("\r")[2][:MAX_LINE_CHARACTERS] + rest[len(overwritten) :][:1]
        for raw in whole:
            line = visible(raw).rstrip()[:MAX_LINE_CHARACTERS]
            if line:
                self._last.append(line)
                yield line


def visible(line: str) -> str:
    """Returns what a terminal would show of a line: a carriage return lets the rest overwrite it."""
    return _INVISIBLE.sub("", _ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]))


def _is_news(message: Mapping[str, Any]) -> bool:
    """Tells whether a status is more than the progress of one layer's download."""
    return "id" not in message or str(message["status"]).startswith("Pulling from")


def _status(message: Mapping[str, Any]) -> str:
    return f"{message['id']}: {message['status']}" if "id" in message else str(message["status"])

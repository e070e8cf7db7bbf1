"""Fetches images from registries."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import docker
from docker.errors import APIError, NotFound

from services.chutes.adapters import docker_images
from services.chutes.adapters.docker_build import DEPTH, MAX_LINE_CHARACTERS, visible
from services.chutes.adapters.docker_client import EngineConnection, engine_disk_full, says_disk_full, words
from services.chutes.adapters.docker_stream import StreamingCall, conveyed
from services.chutes.domain.ports import OnLine
from services.chutes.domain.spec import Credentials
from services.common.errors import DomainError, FailedPrecondition

_UNREACHABLE = re.compile(
    r"no such host|dial tcp|i/o timeout|connection refused|network is unreachable|TLS handshake timeout"
    r"|Client\.Timeout|deadline exceeded|server misbehaving|EOF$|proxyconnect"
)
_DENIED = re.compile(
    r"unauthorized|denied|authentication required|no basic auth|status: 40[13]|40[13] ", re.I
)
_ABSENT = re.compile(r"not found|manifest unknown|invalid reference", re.I)
_PERCENT_STEP = 25


async def pull(
    connection: EngineConnection, reference: str, on_line: OnLine, credentials: Credentials | None
) -> bool:
    """Fetches an image by its name; tells whether the engine has it under that name only because of this.

    A registry that cannot be reached is done without if the engine has the image and nobody has to prove who
    they are.
    """
    named = docker_images.with_tag(reference)
    before = await connection.call(lambda client: docker_images.find(client, named))
    output = PullOutput()

    def produce(call: StreamingCall, put: Callable[[str], None]) -> None:
        with call.open() as client:
            try:
                for message in _pull(client, named, credentials):
                    for line in output.take(message):
                        put(line)
            except APIError as error:
                output.error = words(error)

    async with conveyed(connection, produce, "pull", DEPTH) as conveyor:
        async for batch in conveyor.batches():
            for line in batch:
                on_line(line)
    if output.error is not None:
        if before is None or credentials is not None or not _UNREACHABLE.search(output.error):
            raise _failure(named, output.error)
        on_line(f"The registry cannot be reached; the {named} that the engine has is taken.")
    return before is None


def _pull(client: docker.APIClient, named: str, credentials: Credentials | None) -> Iterator[Any]:
    repository, tag = docker_images.split(named)
    # Also if there are none: the SDK would look for those of whoever runs this process.
    auth = {"username": credentials.user, "password": credentials.secret} if credentials else {}
    messages: Iterator[Any] = client.pull(repository, tag=tag, stream=True, decode=True, auth_config=auth)
    return messages


class PullOutput:
    """Turns the engine's messages, many for each layer, into few lines."""

    def __init__(self) -> None:
        self.error: str | None = None
        self._totals: dict[str, tuple[float, float]] = {}
        self._told_percent = 0

    def take(self, message: Mapping[str, Any]) -> Iterator[str]:
        """Yields the lines that a message is worth."""
        if "error" in message:
            self.error = visible(str(message["error"]))[:MAX_LINE_CHARACTERS].strip()
            return
        status, layer = str(message.get("status", "")), message.get("id")
        detail = message.get("progressDetail") or {}
        if layer is None or status.startswith("Pulling from"):
            yield visible(f"{layer}: {status}" if layer else status)[:MAX_LINE_CHARACTERS]
        elif status == "Downloading" and detail.get("total"):
            self._totals[str(layer)] = (detail.get("current", 0), detail["total"])
            yield from self._progress()
        elif status == "Download complete" and str(layer) in self._totals:
            total = self._totals[str(layer)][1]
            self._totals[str(layer)] = (total, total)
            yield from self._progress()

    def _progress(self) -> Iterator[str]:
        current, total = (sum(values) for values in zip(*self._totals.values(), strict=True))
        percent = int(100 * current / total) // _PERCENT_STEP * _PERCENT_STEP
        if percent > self._told_percent:
            self._told_percent = percent
            yield f"Downloaded {percent} % of {total / 1e6:.1f} MB"


def _failure(named: str, said: str) -> DomainError:
    if says_disk_full(said):
        return engine_disk_full(said)
    reason, advice = "IMAGE_PULL_FAILED", "see that the registry can be reached, then try again"
    if _ABSENT.search(said) and not _DENIED.search(said.replace("may require 'docker login'", "")):
        reason, advice = "IMAGE_NOT_FOUND", "see that its name and tag are right"
    elif _DENIED.search(said):
        reason, advice = "REGISTRY_DENIED", "see that it exists and that the credentials are right"
    return FailedPrecondition(
        f"The image {named} cannot be fetched; {advice}. The engine says: {said}",
        reason=reason,
        image=named,
        engine=said,
    )


async def forget(connection: EngineConnection, reference: str) -> None:
    """Takes the registry's name off an image; what was made of it stays."""

    def work(client: docker.APIClient) -> None:
        try:
            client.remove_image(docker_images.with_tag(reference), noprune=True)
        except NotFound:
            return
        except APIError as error:
            # Somebody runs a container from it: then it is not ours to forget.
            if error.status_code != docker_images.CONFLICT:
                raise

    await connection.call(work)

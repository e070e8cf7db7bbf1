"""The steps that make images and remove them."""
# ruff: noqa: D102 (`Step` says what every do and undo is.)

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.chutes.domain.chute import Chute
from services.chutes.domain.errors import disk_full, sources_missing
from services.chutes.domain.light import light_dockerfile
from services.chutes.domain.spec import Credentials
from services.chutes.domain.steps import Run, ServiceStep, Step

BUILD_DEADLINE_S = 1800.0
MIN_FREE_BYTES = 64 * 1024 * 1024
_BUILD_STEP = re.compile(r"Step (\d+)/(\d+) :")


@dataclass(frozen=True)
class CheckDisk(Step):
    """Makes sure that there is room for the new images before anything is written."""

    label = "check_disk"
    workspace: str | None
    """Where the files of the new images are; None if all of them are fetched."""

    async def do(self, run: Run) -> None:
        needed = MIN_FREE_BYTES
        if self.workspace is not None:
            # The engine gets the files once as they are and once in a layer.
            needed += 2 * await run.folders.workspace_bytes(self.workspace)
        for free in (await run.engine.free_bytes(), await run.folders.free_bytes()):
            if free is not None and free < needed:
                raise disk_full(needed, free)


@dataclass(frozen=True)
class BuildImage(ServiceStep):
    """Builds the image of one service while the old chute still runs."""

    label = "build_image"
    deadline_s = None  # Waiting for other builds does not count.
    chute: Chute
    service: str
    workspace: str
    lost: bool = False
    """Whether it is an image of the installed chute that somebody removed: that stays in any case."""

    async def do(self, run: Run) -> None:
        await _build(run, self.chute, self.service, self.workspace)

    async def undo(self, run: Run) -> None:
        if not self.lost:
            await run.engine.remove_image(self.chute.images[self.service])


@dataclass(frozen=True)
class PullImage(ServiceStep):
    """Fetches the image of one service while the old chute still runs."""

    label = "pull_image"
    deadline_s = None  # Waiting for other builds does not count.
    chute: Chute
    service: str
    credentials: Credentials | None = None
    lost: bool = False
    """As of `BuildImage`."""

    async def do(self, run: Run) -> None:
        await _pull(run, self.chute, self.service, self.credentials)

    async def undo(self, run: Run) -> None:
        if not self.lost:
            await run.engine.remove_image(self.chute.images[self.service])


@dataclass(frozen=True)
class RemoveImages(Step):
    """Removes images that are not needed any more."""

    label = "remove_images"
    tags: Sequence[str]

    async def do(self, run: Run) -> None:
        for tag in self.tags:
            await run.engine.remove_image(tag)


async def bring_back_image(run: Run, chute: Chute, service: str) -> None:
    """Makes the image of an installed chute anew if it is gone.

    Its name can be taken off while its container runs; once that is removed, the engine has no image to undo
    the removal with. FailedPrecondition (IMAGE_MISSING) if what it was built from is not there.
    """
    if await run.engine.has_image(chute.images[service]):
        return
    if chute.spec.services[service].type == "image":
        await _pull(run, chute, service, None)
    elif chute.sources:
        await _build(run, chute, service, chute.sources)
    else:
        raise sources_missing(chute.name, service)


async def _build(run: Run, chute: Chute, service: str, workspace: str) -> None:
    def on_line(line: str) -> None:
        run.say(line)
        if match := _BUILD_STEP.match(line):
            run.advance((int(match[1]) - 1) / max(1, int(match[2])))

    spec = chute.spec.services[service]
    dockerfile = light_dockerfile(spec, run.policy.base_images) if spec.type == "light" else None
    async with run.builds, asyncio.timeout(BUILD_DEADLINE_S):
        await run.engine.build_image(
            chute.images[service],
            chute.name,
            run.folders.workspace(workspace),
            on_line,
            source=spec.source,
            dockerfile=dockerfile,
        )


async def _pull(run: Run, chute: Chute, service: str, credentials: Credentials | None) -> None:
    reference = chute.spec.services[service].image or ""
    async with run.builds, asyncio.timeout(BUILD_DEADLINE_S):
        await run.engine.pull_image(chute.images[service], chute.name, reference, run.say, credentials)

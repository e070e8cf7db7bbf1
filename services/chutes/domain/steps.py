"""The steps that changes are made of, each with its undo.

Doing or undoing a step twice, or undoing one that was done in part or not at all, is as good as once: after a
crash nobody knows how far the last one came.
"""
# ruff: noqa: D102 (`Step` says what every do and undo is.)

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from services.chutes.domain.change import Wait
from services.chutes.domain.chute import Actor, Chute
from services.chutes.domain.containers import NodeAddress, container_plan
from services.chutes.domain.deviation import may_rest
from services.chutes.domain.errors import disk_full
from services.chutes.domain.light import light_dockerfile
from services.chutes.domain.networkport import Networks
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.ports import Engine, Folders, OnLine, TokenIssuer
from services.chutes.domain.spec import Credentials
from services.common.errors import DomainError, FailedPrecondition, Unavailable

BUILD_DEADLINE_S = 1800.0
DEADLINE_S = 120.0
LAST_LINES = 40
HEALTH_DEADLINE_S = 300.0
VERIFY_INTERVAL_S = 0.5
MIN_FREE_BYTES = 64 * 1024 * 1024
LOCK_INTERVAL_S = 2.0
_BUILD_STEP = re.compile(r"Step (\d+)/(\d+) :")


@dataclass(slots=True)
class Run:
    """What the steps of one change work with."""

    engine: Engine
    tokens: TokenIssuer
    folders: Folders
    node: NodeAddress
    builds: asyncio.Semaphore
    """Bounds the builds that run side by side."""
    settle_s: float
    """How long a new container must stay up to count as running."""
    grace_s: float
    """How long one must that replaces an earlier version, before that is given up."""
    say: OnLine
    networks: Networks
    policy: NodePolicy = field(default_factory=NodePolicy)
    network_interfaces: tuple[Mapping[str, Any], ...] | None = None
    """What the networks of the chute became on the way; None if they stayed as they were."""
    token: str = field(default="", repr=False)
    """Token of the chute; issued on the way if it is new."""
    advance: Callable[[float], None] = lambda _fraction: None
    """Tells how much of the step is done, from 0 to 1."""


class Step:
    """One step of a change."""

    label: ClassVar[str]
    deadline_s: ClassVar[float | None] = DEADLINE_S
    """None for a step that bounds its own work, because it also waits for others."""

    @property
    def name(self) -> str:
        """Name in the plan, unique in it."""
        return self.label

    @property
    def description(self) -> str:
        """What the step does, in a sentence."""
        return (type(self).__doc__ or self.label).partition("\n")[0]

    async def do(self, run: Run) -> None:
        """Does the step."""
        raise NotImplementedError

    async def undo(self, run: Run) -> None:
        """Brings back what was before the step; nothing, unless a step says otherwise."""


class ServiceStep(Step):
    """A step for one service of the chute."""

    service: str

    @property
    def name(self) -> str:
        return f"{self.label} {self.service}"


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

    async def do(self, run: Run) -> None:
        tag = self.chute.images[self.service]
        context = run.folders.workspace(self.workspace)

        def on_line(line: str) -> None:
            run.say(line)
            if match := _BUILD_STEP.match(line):
                run.advance((int(match[1]) - 1) / max(1, int(match[2])))

        spec = self.chute.spec.services[self.service]
        dockerfile = light_dockerfile(spec, run.policy.base_images) if spec.type == "light" else None
        async with run.builds, asyncio.timeout(BUILD_DEADLINE_S):
            await run.engine.build_image(
                tag, self.chute.name, context, on_line, source=spec.source, dockerfile=dockerfile
            )

    async def undo(self, run: Run) -> None:
        await run.engine.remove_image(self.chute.images[self.service])


@dataclass(frozen=True)
class PullImage(ServiceStep):
    """Fetches the image of one service while the old chute still runs."""

    label = "pull_image"
    deadline_s = None  # Waiting for other builds does not count.
    chute: Chute
    service: str
    credentials: Credentials | None = None

    async def do(self, run: Run) -> None:
        reference = self.chute.spec.services[self.service].image or ""
        tag = self.chute.images[self.service]
        async with run.builds, asyncio.timeout(BUILD_DEADLINE_S):
            await run.engine.pull_image(tag, self.chute.name, reference, run.say, self.credentials)

    async def undo(self, run: Run) -> None:
        await run.engine.remove_image(self.chute.images[self.service])


@dataclass(frozen=True)
class CreateFolders(Step):
    """Makes the folders of the chute: empty for a new one, or with what its owner has kept."""

    label = "create_folders"
    chute: str
    new: bool
    kept_for: Actor | None = None
    """Whose kept data it is that a new chute gets; None for empty folders."""

    async def do(self, run: Run) -> None:
        if self.kept_for is not None:
            await run.folders.take_kept(self.chute, self.kept_for)
        await run.folders.create(self.chute, empty=self.new and self.kept_for is None)

    async def undo(self, run: Run) -> None:
        if not self.new:
            return
        if self.kept_for is not None:
            await run.folders.keep(self.chute, self.kept_for)
        await run.folders.remove(self.chute)


@dataclass(frozen=True)
class IssueToken(Step):
    """Gives the chute a new token for its new containers; what the ones before had ends."""

    label = "issue_token"
    chute: str
    former: str = field(repr=False)
    """The token of the containers before; empty if there were none."""

    async def do(self, run: Run) -> None:
        run.token = await run.tokens.issue(self.chute, self.former)

    async def undo(self, run: Run) -> None:
        if self.former:
            await run.tokens.restore(self.chute, self.former)
        else:
            await run.tokens.revoke(self.chute)


@dataclass(frozen=True)
class CreateNetwork(Step):
    """Makes sure of the chute's network; that of a new chute goes again."""

    label = "create_network"
    chute: str
    new: bool

    async def do(self, run: Run) -> None:
        await run.engine.ensure_network(self.chute, self.chute)

    async def undo(self, run: Run) -> None:
        if self.new:
            await run.engine.remove_network(self.chute)


@dataclass(frozen=True)
class RemoveNetwork(Step):
    """Removes the chute's network."""

    label = "remove_network"
    chute: str

    async def do(self, run: Run) -> None:
        await run.engine.remove_network(self.chute)

    async def undo(self, run: Run) -> None:
        await run.engine.ensure_network(self.chute, self.chute)


@dataclass(frozen=True)
class AwaitUnlock(Step):
    """Waits until the chute does not mind any more that its containers are taken down."""

    label = "await_unlock"
    deadline_s = None  # The chute decides; its owner may end the lock or cancel the change.
    chute: str

    async def do(self, run: Run) -> None:
        told: Wait | None = None
        while locked := await update_locked(run.folders, self.chute):
            if locked != told:
                run.say(locked.message)
                told = locked
            await asyncio.sleep(LOCK_INTERVAL_S)


async def update_locked(folders: Folders, chute: str) -> Wait | None:
    """Returns the update lock of a chute as something to wait for."""
    reason = await folders.lock(chute)
    if reason is None:
        return None
    why = f" ({reason})." if reason else "."
    return Wait(
        "UPDATE_LOCKED",
        f"Chute {chute} has locked itself against being taken down{why} To go on, end the lock with DELETE "
        f"/api/v1/chutes/{chute}/lock, or cancel this change and ask again with force.",
    )


@dataclass(frozen=True)
class RemoveContainer(ServiceStep):
    """Removes a container of the chute as it was; undone, it is made again and runs if it ran."""

    label = "remove_container"
    chute: Chute
    service: str
    status: str
    """What the engine said before the change."""
    host_ports: Mapping[str, int]

    async def do(self, run: Run) -> None:
        container = self.chute.containers[self.service]
        await tell_last_lines(run, container, self.service)
        await run.engine.remove_container(container)

    async def undo(self, run: Run) -> None:
        plan = container_plan(
            self.chute, self.service, self.chute.token, run.folders, run.node, self.host_ports
        )
        await run.engine.create_container(plan)
        if self.status == "running":
            await run.engine.start_container(plan.name)


@dataclass(frozen=True)
class CreateContainer(ServiceStep):
    """Creates a container of the chute as it will be."""

    label = "create_container"
    chute: Chute
    service: str
    host_ports: Mapping[str, int]

    async def do(self, run: Run) -> None:
        run.policy.require_allowed(self.chute.spec)
        await run.engine.create_container(
            container_plan(self.chute, self.service, run.token, run.folders, run.node, self.host_ports)
        )

    async def undo(self, run: Run) -> None:
        await run.engine.remove_container(self.chute.containers[self.service])


@dataclass(frozen=True)
class StartContainer(ServiceStep):
    """Starts a container; undone by the undo of its creation."""

    label = "start_container"
    chute: Chute
    service: str

    async def do(self, run: Run) -> None:
        await run.engine.start_container(self.chute.containers[self.service])


@dataclass(frozen=True)
class VerifyRunning(Step):
    """Fails unless all containers stay up, and are healthy where their images say what that is."""

    label = "verify_running"
    deadline_s = None  # The images say how long a health check may take; there is a limit of its own.
    chute: Chute
    replaces: bool = False
    """Whether there is an earlier version to go back to, so that it is worth to look longer."""

    async def do(self, run: Run) -> None:
        clock = asyncio.get_running_loop().time
        settled_s = clock() + (run.grace_s if self.replaces else run.settle_s)
        deadline_s = clock() + HEALTH_DEADLINE_S
        while True:
            await asyncio.sleep(min(VERIFY_INTERVAL_S, max(0.0, settled_s - clock()) or VERIFY_INTERVAL_S))
            await run.engine.refresh()
            starting = await self._not_yet_healthy(run)
            if not starting and clock() >= settled_s:
                return
            if clock() >= deadline_s:
                raise await self._failed(run, starting[0], "SERVICE_UNHEALTHY", "does not become healthy")

    async def _not_yet_healthy(self, run: Run) -> list[str]:
        states = run.engine.containers()
        if states is None:
            raise Unavailable("The container engine does not answer.", reason="ENGINE_DOWN")
        starting = []
        for service, container in self.chute.containers.items():
            state = states.get(container)
            if state is None:
                raise await self._failed(run, service, "SERVICE_EXITED", "is gone right after its start")
            if state.status == "running":
                if state.health == "unhealthy":
                    raise await self._failed(run, service, "SERVICE_UNHEALTHY", "fails its health check")
                if state.health == "starting":
                    starting.append(service)
            elif state.exit_code != 0 or not may_rest(self.chute.spec.services[service], state):
                how = f"ended with status {state.exit_code} right after its start"
                raise await self._failed(run, service, "SERVICE_EXITED", how)
        return starting

    async def _failed(self, run: Run, service: str, reason: str, how: str) -> FailedPrecondition:
        await tell_last_lines(run, self.chute.containers[service], service)
        return FailedPrecondition(
            f"Service {service} {how}; the messages of the change show its last lines.",
            reason=reason,
            service=service,
        )


@dataclass(frozen=True)
class RevokeToken(Step):
    """Ends the token of a chute that is removed or stopped."""

    label = "revoke_token"
    chute: str

    async def do(self, run: Run) -> None:
        await run.tokens.revoke(self.chute)


@dataclass(frozen=True)
class RemoveImages(Step):
    """Removes images that are not needed any more."""

    label = "remove_images"
    tags: Sequence[str]

    async def do(self, run: Run) -> None:
        for tag in self.tags:
            await run.engine.remove_image(tag)


@dataclass(frozen=True)
class RemoveFolders(Step):
    """Removes the folders of a chute that is gone; its data stays if that was asked for."""

    label = "remove_folders"
    chute: str
    keep_for: Actor | None = None
    """Who gets the data back when they install a chute of the name; None removes it."""

    async def do(self, run: Run) -> None:
        if self.keep_for is not None:
            await run.folders.keep(self.chute, self.keep_for)
        await run.folders.remove(self.chute)


async def tell_last_lines(run: Run, container: str, service: str) -> None:
    """Adds the last output of a container to the messages, as far as it can be had."""
    try:
        async with run.engine.logs(container, service, tail=LAST_LINES, follow=False) as batches:
            async for batch in batches:
                for line in batch:
                    run.say(f"{container}: {line.message}")
    except DomainError as error:
        run.say(f"{container}: its output cannot be read: {error}")

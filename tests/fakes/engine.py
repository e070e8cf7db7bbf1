"""An engine in memory, for faults and crashes that the real one cannot be made to show on time."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from services.chutes.domain.ports import (
    ALWAYS,
    ContainerPlan,
    ContainerState,
    LoggedLine,
    Measurement,
    OnLine,
    TimeSpan,
)
from services.chutes.domain.spec import Credentials
from services.common.errors import AlreadyExists, DomainError, FailedPrecondition, NotFound, Unavailable
from services.common.feed import Feed, Subscription


@dataclass
class FakeContainer:
    plan: ContainerPlan
    status: str = "created"
    exit_code: int | None = None
    lines: tuple[str, ...] = ()
    shares: int = 1024
    usage: Measurement = field(default_factory=lambda: Measurement(0.0, 0, 0, None, 0, 0, 0, 0, 1))
    number: int = field(default_factory=count().__next__)
    health: str = ""

    def state(self) -> ContainerState:
        running = self.status == "running"
        ports = {port.key: port.host_port or 49000 + port.container_port % 1000 for port in self.plan.ports}
        return ContainerState(
            self.plan.name,
            self.plan.chute,
            self.plan.service,
            self.status,
            ports if running else {},
            self.exit_code,
            health=self.health if running else "",
            id=f"id-{self.number}",
            address="172.18.0.2" if running else "",
        )


def _down() -> Unavailable:
    return Unavailable("The engine does not answer.", reason="ENGINE_DOWN")


class FakeEngine:
    """Keeps what a real engine keeps, and survives the "crash" of the service that uses it."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        """Tag to chute."""
        self.layers: list[str] = []
        """Chutes of half-built images."""
        self.networks: dict[str, str] = {}
        self.running: dict[str, FakeContainer] = {}
        self.down = False
        self.faults: dict[str, list[DomainError | None]] = {}
        """Method to the errors of its next calls."""
        self.half_done: set[str] = set()
        """Methods that do their work before they fail."""
        self.downs: list[str] = []
        """Methods at whose next calls the engine goes away."""
        self.exits_at_once: set[str] = set()
        """Chutes whose containers end when they are started."""
        self.start_s = 0.0
        """How long a start takes; what exits at once is told to have ended only so long after it."""
        self.health: dict[str, str] = {}
        """Chute, or image before that, to what the health checks of its containers say when they start."""
        self.foreign: set[str] = set()
        """Names of containers of other people."""
        self.free: int | None = None
        """Bytes that are free for images."""
        self.hangs: set[str] = set()
        """Methods that never return."""
        self.process_id = os.getpid()
        """What stands for the main process of every container."""
        self.calls: Counter[str] = Counter()
        self.builds_at_once = 0
        self.most_builds_at_once = 0
        self.build_pause = asyncio.Event()
        self.build_pause.set()
        self.built: list[str] = []
        self.build_lines: list[str] = []
        self.pulled: list[tuple[str, Credentials | None]] = []
        self._news: Feed[None] = Feed()

    @property
    def available(self) -> bool:
        return not self.down

    def containers(self) -> Mapping[str, ContainerState] | None:
        if self.down:
            return None
        return {name: container.state() for name, container in self.running.items()}

    async def processes(self) -> Mapping[tuple[str, str], int]:
        await self._called("processes")
        running = [c for c in self.running.values() if c.status == "running"]
        return {(c.plan.chute, c.plan.service): self.process_id for c in running}

    def subscribe(self) -> AbstractContextManager[Subscription[None]]:
        return self._news.subscribe(depth=1)

    def stop_all(self) -> None:
        """What a reboot does to containers."""
        for container in self.running.values():
            container.status, container.exit_code = "exited", 137

    async def _called(self, method: str) -> None:
        self.calls[method] += 1
        if self.down:
            raise _down()
        if method in self.hangs:
            await asyncio.Event().wait()
        if method not in self.half_done:
            self._fail(method)
        await asyncio.sleep(0)

    def _done(self, method: str) -> None:
        if method in self.half_done:
            self._fail(method)

    def _fail(self, method: str) -> None:
        if method in self.downs:
            self.downs.remove(method)
            self.down = True
            raise _down()
        if self.faults.get(method) and (error := self.faults[method].pop(0)):
            raise error

    def fail_at(self, method: str, nth: int, error: DomainError) -> None:
        """Lets the nth call from now on fail."""
        self.faults[method] = [None] * (nth - 1) + [error]

    def goes_down_at(self, method: str, half_done: bool) -> None:
        """Lets the engine go away at the next call, before or after that did its work."""
        self.downs.append(method)
        if half_done:
            self.half_done.add(method)

    async def refresh(self) -> None:
        await self._called("refresh")

    async def build_image(
        self,
        tag: str,
        chute: str,
        context: Path,
        on_line: OnLine,
        *,
        source: str = ".",
        dockerfile: str | None = None,
    ) -> None:
        await self._called("build_image")
        if self.images.get(tag, chute) != chute:
            raise AlreadyExists("The tag is taken.", reason="IMAGE_NAME_TAKEN")
        assert dockerfile or await asyncio.to_thread((context / "Dockerfile").is_file)
        self.layers.append(chute)
        self.builds_at_once += 1
        self.most_builds_at_once = max(self.most_builds_at_once, self.builds_at_once)
        try:
            on_line("Step 1/1 : FROM scratch")
            await self.build_pause.wait()
            for line in self.build_lines:
                on_line(line)
            await asyncio.sleep(0)
            self._done("build_image")
        finally:
            self.builds_at_once -= 1
        self.layers.remove(chute)
        self.images[tag] = chute
        self.built.append(tag)

    async def pull_image(
        self, tag: str, chute: str, reference: str, on_line: OnLine, credentials: Credentials | None = None
    ) -> None:
        await self._called("pull_image")
        on_line(f"Pulling from {reference}")
        self.pulled.append((reference, credentials))
        self.images[tag] = chute
        self._done("pull_image")

    async def remove_image(self, tag: str) -> None:
        await self._called("remove_image")
        if any(container.plan.image == tag for container in self.running.values()):
            raise FailedPrecondition("The image is in use.", reason="ENGINE_REFUSED")
        self.images.pop(tag, None)
        self._done("remove_image")

    async def free_bytes(self) -> int | None:
        await self._called("free_bytes")
        return self.free

    async def has_image(self, tag: str) -> bool:
        await self._called("has_image")
        return tag in self.images

    async def ensure_network(self, name: str, chute: str) -> None:
        await self._called("ensure_network")
        if self.networks.setdefault(name, chute) != chute:
            raise AlreadyExists("The network is not ours.", reason="NETWORK_NAME_TAKEN")
        self._done("ensure_network")

    async def remove_network(self, name: str) -> None:
        await self._called("remove_network")
        if any(container.plan.network == name for container in self.running.values()):
            raise FailedPrecondition("The network is in use.", reason="ENGINE_REFUSED")
        self.networks.pop(name, None)
        self._done("remove_network")

    async def create_container(self, plan: ContainerPlan) -> None:
        await self._called("create_container")
        old = self.running.get(plan.name)
        if plan.name in self.foreign or (old is not None and old.plan.chute != plan.chute):
            raise AlreadyExists("The container is not ours.", reason="CONTAINER_NAME_TAKEN")
        if plan.image not in self.images or plan.network not in self.networks:
            raise FailedPrecondition("No such image or network.", reason="CONTAINER_CREATE_FAILED")
        for folder in plan.volumes:
            if not await asyncio.to_thread(folder.is_dir):
                raise FailedPrecondition("No such folder.", reason="CONTAINER_CREATE_FAILED")
        self.running[plan.name] = FakeContainer(plan)
        self._done("create_container")

    async def start_container(self, name: str) -> None:
        await self._called("start_container")
        await asyncio.sleep(self.start_s)
        container = self.running.get(name)
        if container is None:
            raise NotFound("No such container.", reason="CONTAINER_NOT_FOUND")
        container.status, container.exit_code = "running", None
        container.health = self.health.get(container.plan.image, self.health.get(container.plan.chute, ""))
        if container.plan.chute in self.exits_at_once:
            if self.start_s:
                asyncio.get_running_loop().call_later(0.9 * self.start_s, self._exit, container)
            else:
                self._exit(container)
        self._done("start_container")

    def _exit(self, container: FakeContainer) -> None:
        container.status, container.exit_code = "exited", 3
        container.lines = ("cannot go on",)

    async def remove_container(self, name: str) -> None:
        await self._called("remove_container")
        self.running.pop(name, None)
        self._done("remove_container")

    async def pause_container(self, name: str) -> None:
        await self._called("pause_container")
        if name in self.running and self.running[name].status == "running":
            self.running[name].status = "paused"
            self._news.publish(None)
        self._done("pause_container")

    async def resume_container(self, name: str) -> None:
        await self._called("resume_container")
        if name in self.running and self.running[name].status == "paused":
            self.running[name].status = "running"
            self._news.publish(None)
        self._done("resume_container")

    async def set_cpu_shares(self, name: str, shares: int) -> None:
        await self._called("set_cpu_shares")
        if name not in self.running:
            raise NotFound("No such container.", reason="CONTAINER_NOT_FOUND")
        self.running[name].shares = shares
        self._done("set_cpu_shares")

    async def measure(self, containers: Sequence[ContainerState]) -> Mapping[str, Measurement]:
        await self._called("measure")
        return {
            state.id: replace(self.running[state.name].usage, time_s=time.time())
            for state in containers
            if state.name in self.running
        }

    async def sweep(self, keep: Mapping[str, Sequence[str]], chutes: Sequence[str] | None = None) -> None:
        await self._called("sweep")

        def swept(chute: str) -> bool:
            return chutes is None or chute in chutes

        for name, container in list(self.running.items()):
            if swept(container.plan.chute) and name not in keep["containers"]:
                del self.running[name]
        for name, chute in list(self.networks.items()):
            if swept(chute) and name not in keep["networks"]:
                del self.networks[name]
        for tag, chute in list(self.images.items()):
            if swept(chute) and tag not in keep["images"]:
                del self.images[tag]
        self.layers = [chute for chute in self.layers if not swept(chute)]

    @asynccontextmanager
    async def logs(
        self, container: str, service: str, tail: int, follow: bool, span: TimeSpan = ALWAYS
    ) -> AsyncIterator[AsyncIterator[Sequence[LoggedLine]]]:
        await self._called("logs")
        if container not in self.running:
            raise NotFound("No such container.", reason="CONTAINER_NOT_FOUND")
        found = self.running[container]

        async def batches() -> AsyncIterator[Sequence[LoggedLine]]:
            sent = max(0, len(found.lines) - tail)
            while True:
                lines = found.lines
                if sent < len(lines):
                    yield [
                        LoggedLine(service, 1000 + i, lines[i])
                        for i in range(sent, len(lines))
                        if (span.since_ns or 0) <= 1000 + i <= (span.until_ns or 2**63)
                    ]
                    sent = len(lines)
                if not follow or self.running.get(container) is not found or found.status != "running":
                    return
                await asyncio.sleep(0.01)

        yield batches()

    def copy(self, before: Path, after: Path) -> "FakeEngine":
        """Returns another engine with the same things, on folders that were copied elsewhere."""
        copy = FakeEngine()
        copy.images, copy.networks = dict(self.images), dict(self.networks)
        for name, container in self.running.items():
            volumes = {
                after / folder.relative_to(before): where for folder, where in container.plan.volumes.items()
            }
            copy.running[name] = replace(container, plan=replace(container.plan, volumes=volumes))
        return copy

    def snapshot(self) -> object:
        """Everything that is there, to compare before and after."""
        containers = {
            name: (replace(container.plan, ports=()), container.status)
            for name, container in sorted(self.running.items())
        }
        images, networks = dict(sorted(self.images.items())), dict(sorted(self.networks.items()))
        return images, list(self.layers), networks, containers

"""The container engine of the node: Docker, through its official SDK."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, suppress
from pathlib import Path
from weakref import WeakValueDictionary

from services.chutes.adapters import docker_containers, docker_images, docker_networks, docker_running
from services.chutes.adapters.docker_build import build
from services.chutes.adapters.docker_client import EngineConnection
from services.chutes.adapters.docker_context import Context
from services.chutes.adapters.docker_events import EngineWatch
from services.chutes.adapters.docker_logs import read_logs
from services.chutes.adapters.docker_pull import forget, pull
from services.chutes.adapters.docker_sweep import Sweep
from services.chutes.adapters.docker_usage import UsageReader
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
from services.common.feed import Subscription

FIRST_CHECK_S = 10.0


class DockerEngine:
    """`services.chutes.domain.ports.Engine` on a Docker engine."""

    def __init__(self, connection: EngineConnection, watch: EngineWatch, node_id: str) -> None:
        self._connection = connection
        self._watch = watch
        self._node_id = node_id
        self._usage = UsageReader(connection)
        self._networking = asyncio.Lock()
        self._builds: Counter[str] = Counter()
        self._pulls: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By name of the image: two at once would take the name from each other."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, node_id: str, docker_host: str | None) -> AsyncIterator["DockerEngine"]:
        """Connects to the engine for the time of the context.

        Never fails: an engine that is down is reported by `available` and used when it comes.
        """
        connection = EngineConnection(docker_host)
        watch = EngineWatch(connection, node_id)
        following = asyncio.create_task(watch.run(), name="engine-watch")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_CHECK_S):
                    await watch.first_check()
            engine = cls(connection, watch, node_id)
            try:
                yield engine
            finally:
                await engine._usage.close()
        finally:
            following.cancel()
            await asyncio.wait([following])
            connection.close()

    @property
    def available(self) -> bool:
        """Whether the engine answered last."""
        return self._watch.available

    def containers(self) -> Mapping[str, ContainerState] | None:
        """Returns our containers by name as the engine's events last told; None if it cannot be asked."""
        return self._watch.states

    async def processes(self) -> Mapping[tuple[str, str], int]:
        """Returns the number of the main process of each running container by chute and service."""
        running = [state for state in (self.containers() or {}).values() if state.status == "running"]
        if not running:
            return {}
        return await self._connection.call(
            lambda client: docker_containers.process_ids(client, self._node_id, running)
        )

    def subscribe(self) -> AbstractContextManager[Subscription[None]]:
        """Tells, for the time of the context, when `available` or `containers` may have changed."""
        return self._watch.changes.subscribe(depth=1)

    async def refresh(self) -> None:
        """Asks the engine once for all our containers."""
        await self._watch.refresh()

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
        """Builds a folder with a Dockerfile into an image."""
        await self._build(tag, chute, Context(context, source, dockerfile), on_line)

    async def _build(self, tag: str, chute: str, context: Context, on_line: OnLine) -> None:
        self._builds[chute] += 1
        try:
            await build(self._connection, self._node_id, tag, chute, context, on_line)
        finally:
            self._builds[chute] -= 1

    async def pull_image(
        self, tag: str, chute: str, reference: str, on_line: OnLine, credentials: Credentials | None = None
    ) -> None:
        """Fetches an image from a registry and makes it an image of the chute.

        It gets the labels of the node and the chute's tag by a build of one line; the registry's name goes
        again unless it was there before.
        """
        async with self._pulls.setdefault(reference, asyncio.Lock()):
            new = await pull(self._connection, reference, on_line, credentials)
            try:
                dockerfile = f"FROM {docker_images.with_tag(reference)}\n"
                await self._build(tag, chute, Context(None, dockerfile=dockerfile), lambda _line: None)
            finally:
                if new:
                    await forget(self._connection, reference)

    async def remove_image(self, tag: str) -> None:
        """Removes an image of ours by its tag."""
        await self._connection.call(lambda client: docker_images.remove(client, self._node_id, tag))

    async def free_bytes(self) -> int | None:
        """Returns how much room there is for images; None if that cannot be known."""
        if not self._connection.address.startswith("unix:"):
            return None
        root = await self._connection.call(lambda client: client.info().get("DockerRootDir"))
        return await asyncio.to_thread(_free_bytes, root)

    async def has_image(self, tag: str) -> bool:
        """Tells whether an image of ours has this tag."""
        found = await self._connection.call(
            lambda client: docker_images.find_ours(client, self._node_id, tag)
        )
        return found is not None

    async def ensure_network(self, name: str, chute: str) -> None:
        """Creates a bridge network unless it is there."""
        # Engines before version 25 let two that ask at once both create one.
        async with self._networking:
            await self._connection.call(
                lambda client: docker_networks.ensure(client, self._node_id, name, chute)
            )

    async def remove_network(self, name: str) -> None:
        """Removes a network of ours."""
        await self._connection.call(lambda client: docker_networks.remove(client, self._node_id, name))

    async def create_container(self, plan: ContainerPlan) -> None:
        """Creates a container, in the place of one of the same chute with the name."""
        await self._connection.call(lambda client: docker_containers.create(client, self._node_id, plan))

    async def start_container(self, name: str) -> None:
        """Starts a container of ours."""
        await self._connection.call(lambda client: docker_containers.start(client, self._node_id, name))

    async def remove_container(self, name: str) -> None:
        """Stops and removes a container of ours."""
        await self._connection.call(lambda client: docker_containers.remove(client, self._node_id, name))

    async def pause_container(self, name: str) -> None:
        """Holds a container of ours still."""
        await self._connection.call(lambda client: docker_running.pause(client, self._node_id, name))

    async def resume_container(self, name: str) -> None:
        """Lets a paused container of ours go on."""
        await self._connection.call(lambda client: docker_running.resume(client, self._node_id, name))

    async def set_cpu_shares(self, name: str, shares: int) -> None:
        """Changes the weight of a container of ours."""
        await self._connection.call(
            lambda client: docker_running.set_cpu_shares(client, self._node_id, name, shares)
        )

    async def measure(self, containers: Sequence[ContainerState]) -> Mapping[str, Measurement]:
        """Returns what containers use, by their ids."""
        return await self._usage.measure(containers)

    async def sweep(self, keep: Mapping[str, Sequence[str]], chutes: Sequence[str] | None = None) -> None:
        """Removes what is labelled as ours and is not wanted."""
        building = frozenset(+self._builds)
        await self._connection.call(lambda client: Sweep(client, self._node_id, keep, chutes, building).run())

    def logs(
        self, container: str, service: str, tail: int, follow: bool, span: TimeSpan = ALWAYS
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[LoggedLine]]]:
        """Opens a container's output."""
        return read_logs(self._connection, self._node_id, container, service, tail, follow, span)


def _free_bytes(root: str | None) -> int | None:
    # An engine in a virtual machine, or seen through a container's mount, names a folder that is not here.
    return shutil.disk_usage(root).free if root and os.path.isdir(root) else None

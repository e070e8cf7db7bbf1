"""A real engine, and for every test a node of its own on it that leaves nothing behind."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound

from services.chutes.adapters.docker_engine import DockerEngine
from services.chutes.domain.ports import ContainerPlan, ContainerState, LoggedLine
from services.chutes.domain.spec import PortBinding
from tests.support.engine import BUSYBOX, busybox_image, chute_folder, running_engine

IDLE = "while true; do sleep 1; done"
DEADLINE_S = 30


@pytest.fixture(scope="session")
def engine_address() -> Iterator[str]:
    with running_engine() as address:
        yield address


@pytest.fixture(scope="session")
def client(engine_address: str) -> Iterator[docker.APIClient]:
    """The engine as somebody else sees it."""
    client = docker.APIClient(engine_address, version="auto", timeout=60)
    busybox_image(client)
    yield client
    client.close()


@dataclass
class Node:
    """Names that nobody else uses on the engine, and what carries the node's label."""

    client: docker.APIClient
    id: str
    chute: str
    folder: Path

    @property
    def filters(self) -> dict[str, str]:
        return {"label": f"io.paradrop.node={self.id}"}

    @property
    def tag(self) -> str:
        return f"{self.chute}-main:1"

    @property
    def container(self) -> str:
        return f"{self.chute}-main"

    def context(self, dockerfile: str = f"FROM {BUSYBOX}\nCMD {IDLE}\n", **files: str) -> Path:
        """Writes a chute's folder; `__` in a name stands for a dot."""
        named = {name.replace("__", "."): text for name, text in files.items()}
        return chute_folder(self.folder / "chute", {"Dockerfile": dockerfile, **named})

    def plan(
        self,
        service: str = "main",
        command: str | tuple[str, ...] | None = ("sh", "-c", IDLE),
        image: str = BUSYBOX,
        chute: str | None = None,
        environment: Mapping[str, str] | None = None,
        volumes: Mapping[Path, tuple[str, str]] | None = None,
        ports: tuple[PortBinding, ...] = (),
    ) -> ContainerPlan:
        return ContainerPlan(
            name=f"{self.chute}-{service}",
            chute=chute or self.chute,
            service=service,
            image=image,
            network=chute or self.chute,
            aliases=[service],
            environment=environment or {},
            volumes=volumes or {},
            ports=ports,
            command=command,
        )

    def things(self) -> dict[str, list[str]]:
        """Everything on the engine with the node's label, layers included."""
        found = {
            "containers": [c["Id"] for c in self.client.containers(all=True, filters=self.filters)],
            "networks": [n["Name"] for n in self.client.networks(filters=self.filters)],
            "images": [i["Id"] for i in self.client.images(all=True, filters=self.filters)],
        }
        return {kind: names for kind, names in found.items() if names}


@pytest.fixture
def node(client: docker.APIClient, tmp_path: Path) -> Iterator[Node]:
    token = secrets.token_hex(4)
    node = Node(client, f"test-{token}", f"t{token}", tmp_path)
    yield node
    for container in client.containers(all=True, filters=node.filters):
        with suppress(NotFound):
            client.remove_container(container["Id"], force=True, v=True)
    for network in client.networks(filters=node.filters):
        client.remove_network(network["Id"])
    for image in client.images(filters=node.filters):
        with suppress(NotFound):
            client.remove_image(image["Id"], force=True)


@pytest.fixture
async def engine(node: Node, engine_address: str) -> AsyncIterator[DockerEngine]:
    async with DockerEngine.connect(node.id, engine_address) as engine:
        assert engine.available
        yield engine


async def until(engine: DockerEngine, true: Callable[[], bool]) -> None:
    """Waits until the engine's reports make something true."""
    with engine.subscribe() as changes:
        async with asyncio.timeout(DEADLINE_S):
            async for _ in changes.batches(idle_s=0.05):
                if true():
                    return


async def state(engine: DockerEngine, name: str, status: str) -> ContainerState:
    """Waits until a container has a status."""

    def has_status() -> bool:
        known = (engine.containers() or {}).get(name)
        return known is not None and known.status == status

    await until(engine, has_status)
    return (engine.containers() or {})[name]


async def output(engine: DockerEngine, container: str, tail: int = 1000) -> list[LoggedLine]:
    """Returns what a container has written so far, or until it ends."""
    async with engine.logs(container, "main", tail, follow=False) as batches:
        return [line async for batch in batches for line in batch]


async def finished(engine: DockerEngine, name: str) -> list[str]:
    """Waits for the end of a container and returns what it wrote."""
    await state(engine, name, "exited")
    return [line.message for line in await output(engine, name)]

"""The engine is killed in the middle of changes; when it is back, the node brings them to their end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from services.common.settings import Settings
from tests.chutes.client import Client
from tests.chutes.on_engine import IDLE, foreign_container, ours, serving_node
from tests.support.engine import BUSYBOX, chute_tar, small_chute
from tests.support.own_engine import OwnEngine, client_of, own_engine
from tests.support.registry import Registry, serving_registry
from tests.support.settings import settings_in

pytestmark = [pytest.mark.engine, pytest.mark.apart, pytest.mark.timeout(180)]


@pytest.fixture
def engine() -> Iterator[OwnEngine]:
    with own_engine() as engine:
        yield engine


@pytest.fixture
def docker_client(engine: OwnEngine) -> Iterator[docker.APIClient]:
    with client_of(engine) as client:
        yield client


@pytest.fixture
def foreign(docker_client: docker.APIClient) -> Iterator[str]:
    with foreign_container(docker_client) as container:
        yield container


@pytest.fixture
def settings(tmp_path: Path, engine: OwnEngine, foreign: str) -> Iterator[Settings]:
    with settings_in(tmp_path / "home", DOCKER_HOST=engine.address, PARADROP_GRACE_S="1") as settings:
        yield settings


@pytest.fixture
async def client(settings: Settings, docker_client: docker.APIClient) -> AsyncIterator[Client]:
    async with serving_node(settings) as client:
        yield client


@pytest.fixture
def registry(engine: OwnEngine) -> Iterator[Registry]:
    with serving_registry(engine.listen()) as registry:
        yield registry


async def _killed_at(client: Client, engine: OwnEngine, change_id: int, message: str) -> None:
    """Kills the engine as soon as a change says something."""
    async for event in client.stream("WatchChange", change_id=change_id):
        if event.progress.message == message:
            await asyncio.to_thread(engine.kill)
            return
    raise AssertionError(f"the change ended without {message}")


async def _returns(client: Client, engine: OwnEngine, change_id: int) -> list[str]:
    """Waits until the change says that it waits for the engine, which then starts; returns its messages."""
    async with asyncio.timeout(30):
        while True:
            change = (await client.call("GetChange", change_id=change_id)).change
            if change.waiting.reason:
                break
            await asyncio.sleep(0.05)
    assert (change.status, change.waiting.reason) == ("processing", "ENGINE_DOWN")
    assert "engine" in change.waiting.message
    await asyncio.to_thread(engine.start)
    lines = await client.done(change_id)
    assert "The container engine went away; what was done is undone when it is back." in lines
    return lines


async def _only(
    docker_client: docker.APIClient, settings: Settings, foreign: str, chutes: dict[str, str]
) -> None:
    """Checks that the engine has the foreigner, what these chutes (name to image) need, and nothing else."""
    assert await asyncio.to_thread(ours, docker_client, settings) == {
        "containers": {f"{chute}-main" for chute in chutes},
        "networks": set(chutes),
        "images": set(chutes.values()),
    }
    # Builds leave things without our labels behind if nobody looks after them.
    containers = await asyncio.to_thread(docker_client.containers, all=True)
    assert {each["Names"][0][1:] for each in containers if each["Id"] != foreign} == {
        f"{chute}-main" for chute in chutes
    }
    images = await asyncio.to_thread(docker_client.images)
    assert {tag for image in images for tag in image["RepoTags"] or [""]} == {BUSYBOX, *chutes.values()}
    assert not (await asyncio.to_thread(docker_client.volumes))["Volumes"]


async def _removed(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings, foreign: str
) -> None:
    """Removes the chute, with which everything of the node goes and nothing else."""
    await client.done(await client.call_id("DeleteChute", chute=name))
    await _only(docker_client, settings, foreign, {})


async def test_killed_in_the_middle_of_a_build(
    client: Client,
    engine: OwnEngine,
    name: str,
    docker_client: docker.APIClient,
    settings: Settings,
    foreign: str,
) -> None:
    files = small_chute(name, IDLE)
    files["Dockerfile"] = f"FROM {BUSYBOX}\nRUN echo building; sleep 2\nCMD {IDLE}\n"
    change_id = await client.upload(chute_tar(files))
    await _killed_at(client, engine, change_id, "building")
    assert await client.chutes() == {}
    await _returns(client, engine, change_id)
    assert await client.chutes() == {name: "running"}
    await _only(docker_client, settings, foreign, {name: f"{name}-main:1"})
    await _removed(client, name, docker_client, settings, foreign)


async def test_killed_in_the_middle_of_a_pull(
    client: Client,
    engine: OwnEngine,
    name: str,
    docker_client: docker.APIClient,
    settings: Settings,
    foreign: str,
    registry: Registry,
) -> None:
    reference = await asyncio.to_thread(_unseen, docker_client, registry, name)
    registry.hold_blobs()
    described = (
        f"name: {name}\nversion: 1\nservices:\n  main:\n    type: image\n    image: {reference}\n"
        f'    command: ["sh", "-c", "{IDLE}"]\n'
    )
    change_id = await client.upload(chute_tar({"paradrop.yaml": described}))
    assert await asyncio.to_thread(registry.half_sent.wait, 20)
    await asyncio.to_thread(engine.kill)
    registry.go_on.set()
    await _returns(client, engine, change_id)
    assert await client.chutes() == {name: "running"}
    await _only(docker_client, settings, foreign, {name: f"{name}-main:1"})
    await _removed(client, name, docker_client, settings, foreign)


def _unseen(docker_client: docker.APIClient, registry: Registry, name: str) -> str:
    """Returns an image of the registry with a layer that the engine has nothing of."""
    created = docker_client.create_container(BUSYBOX, ["sh", "-c", f"echo {name} > /unseen"])["Id"]
    docker_client.start(created)
    docker_client.wait(created)
    rootfs = b"".join(docker_client.export(created))
    docker_client.remove_container(created)
    docker_client.import_image_from_data(rootfs, "unseen", "1")
    reference = registry.push(docker_client, "unseen:1", "team/box:1")
    docker_client.remove_image("unseen:1")
    return reference


@pytest.mark.parametrize(
    "step", ["remove_container main", "create_container main", "start_container main", "verify_running"]
)
async def test_killed_in_the_middle_of_a_swap(
    step: str,
    client: Client,
    engine: OwnEngine,
    name: str,
    docker_client: docker.APIClient,
    settings: Settings,
    foreign: str,
) -> None:
    await client.done(await client.upload(chute_tar(small_chute(name, f"echo first; {IDLE}"))))
    data = settings.home / "chutes" / "data" / name
    (data / "kept").write_text("precious")
    files = small_chute(name, f"echo second; {IDLE}")
    files["paradrop.yaml"] = files["paradrop.yaml"].replace("version: 1", "version: 2")
    change_id = await client.update(name, chute_tar(files))
    await _killed_at(client, engine, change_id, f"Calling {step}")
    # What is installed is the version before, until the new one has proven itself.
    assert (await client.call("GetChute", chute=name)).chute.version.number_value == 1
    await _returns(client, engine, change_id)
    assert await client.chutes() == {name: "running"}
    assert (await client.call("GetChute", chute=name)).chute.version.number_value == 2
    await _only(docker_client, settings, foreign, {name: f"{name}-main:2"})
    assert (data / "kept").read_text() == "precious"
    await _removed(client, name, docker_client, settings, foreign)


async def test_killed_while_nothing_changes(
    client: Client,
    engine: OwnEngine,
    name: str,
    docker_client: docker.APIClient,
    settings: Settings,
    foreign: str,
) -> None:
    await client.done(await client.upload(chute_tar(small_chute(name, IDLE))))
    await asyncio.to_thread(engine.kill)
    await _until_state(client, name, "unknown")
    await asyncio.to_thread(engine.start)
    await _until_state(client, name, "running")
    await _only(docker_client, settings, foreign, {name: f"{name}-main:1"})


async def _until_state(client: Client, name: str, state: str) -> None:
    async with asyncio.timeout(40):
        while (found := await client.chutes()) != {name: state}:
            assert set(found) == {name}
            await asyncio.sleep(0.05)

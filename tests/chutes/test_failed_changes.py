"""Whole changes that meet something wrong on a real engine: what they say, and that all is as before."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from services.common.settings import Settings
from tests.chutes.client import Client
from tests.chutes.on_engine import IDLE, NOTHING, ours
from tests.support.engine import BUSYBOX, chute_tar, small_chute
from tests.support.own_engine import OwnEngine
from tests.support.registry import Registry, serving_registry
from tests.support.settings import settings_in

pytestmark = [pytest.mark.engine, pytest.mark.apart, pytest.mark.timeout(180)]

TAKEN_PORT = 18080
STUBBORN = "trap '' TERM; while true; do sleep 1; done"


@pytest.fixture(scope="module")
def registry(engine: OwnEngine) -> Iterator[Registry]:
    with serving_registry(engine.listen()) as registry:
        yield registry


@pytest.fixture
def settings(tmp_path: Path, engine: OwnEngine) -> Iterator[Settings]:
    with settings_in(tmp_path / "home", DOCKER_HOST=engine.address, PARADROP_GRACE_S="0.5") as settings:
        yield settings


def _chute(name: str, version: int, *, service: str = "type: normal", command: str = IDLE) -> bytes:
    """Returns a chute of one service."""
    described = f"name: {name}\nversion: {version}\nservices:\n  main:\n    {service}\n"
    return chute_tar({**small_chute(name, command), "paradrop.yaml": described})


class Around:
    """Looks before a change and after it: the same containers, images, networks, files and data."""

    def __init__(self, client: Client, docker_client: docker.APIClient, settings: Settings) -> None:
        self._client = client
        self._docker = docker_client
        self._home = settings.home / "chutes"
        self._settings = settings

    async def look(self) -> Any:
        """Returns all of it, without what differs each time a container is made."""
        folders = ("data", "system", "work", "uploads", "trash", "kept")
        files = sorted(
            (str(path.relative_to(self._home)), path.read_bytes() if path.is_file() else b"")
            for folder in folders
            for path in (self._home / folder).rglob("*")
        )
        found = await asyncio.to_thread(ours, self._docker, self._settings)
        return files, found, await self._client.chutes()


@pytest.fixture
def around(client: Client, docker_client: docker.APIClient, settings: Settings) -> Around:
    return Around(client, docker_client, settings)


@contextmanager
def _foreign(docker_client: docker.APIClient) -> Iterator[None]:
    """Somebody else's container has a port of the node; the same one has it afterwards."""
    created = docker_client.create_container(
        BUSYBOX,
        ["sleep", "1000000"],
        ports=[80],
        host_config=docker_client.create_host_config(port_bindings={80: TAKEN_PORT}, init=True),
    )["Id"]
    docker_client.start(created)
    began = docker_client.inspect_container(created)["State"]["StartedAt"]
    try:
        yield
        state = docker_client.inspect_container(created)["State"]
        assert (state["Running"], state["StartedAt"]) == (True, began)
    finally:
        docker_client.remove_container(created, force=True)


def _wrong_services(registry: Registry) -> dict[str, tuple[str, str]]:
    """Returns descriptions of a service that cannot be, and the reasons."""
    return {
        "port": (f'requests: {{port-bindings: {{"80/tcp": {TAKEN_PORT}}}}}', "PORT_TAKEN"),
        "unknown image": (f"{{type: image, image: '{registry.address}/team/none:1'}}", "IMAGE_NOT_FOUND"),
        "unreachable registry": ("{type: image, image: '127.0.0.1:1/team/box:1'}", "IMAGE_PULL_FAILED"),
    }


@pytest.mark.parametrize("wrong", ["port", "unknown image", "unreachable registry"])
async def test_what_cannot_be_is_told_and_leaves_all_as_it_was(
    wrong: str,
    client: Client,
    name: str,
    docker_client: docker.APIClient,
    registry: Registry,
    around: Around,
    settings: Settings,
) -> None:
    service, reason = _wrong_services(registry)[wrong]
    described = f"services: {{main: {service}}}" if service.startswith("{") else None
    with _foreign(docker_client):
        before = await around.look()
        _, failure = await client.failed(await client.upload(_described(name, 1, service, described)))
        assert failure.reason == reason, failure
        assert await asyncio.to_thread(ours, docker_client, settings) == NOTHING
        assert await around.look() == before
        # And as an update of a chute that runs, which goes on.
        await client.done(await client.upload(_chute(name, 1)))
        (settings.home / "chutes" / "data" / name / "kept").write_text("precious")
        before = await around.look()
        _, failure = await client.failed(await client.update(name, _described(name, 2, service, described)))
        assert failure.reason == reason, failure
        assert await around.look() == before
        assert await client.chutes() == {name: "running"}


def _described(name: str, version: int, service: str, whole: str | None) -> bytes:
    if whole is None:
        return _chute(name, version, service=service)
    return chute_tar({"paradrop.yaml": f"name: {name}\nversion: {version}\n{whole}\n"})


async def test_an_update_that_exits_at_once_is_taken_back(client: Client, name: str, around: Around) -> None:
    await client.done(await client.upload(_chute(name, 1)))
    before = await around.look()
    lines, failure = await client.failed(
        await client.update(name, _chute(name, 2, command="echo cannot go on; exit 3"))
    )
    assert failure.reason == "SERVICE_EXITED"
    assert "ended with status 3" in failure.message
    assert f"{name}-main: cannot go on" in lines
    assert await around.look() == before


async def test_an_update_of_what_ignores_sigterm_takes_no_longer_than_its_limit(
    client: Client, name: str, docker_client: docker.APIClient, settings: Settings
) -> None:
    await client.done(await client.upload(_chute(name, 1, command=STUBBORN)))
    started_s = time.monotonic()
    await client.done(await client.update(name, _chute(name, 2, command=STUBBORN)))
    # The engine asks for ten seconds before it kills; nothing waits longer.
    assert 10 <= time.monotonic() - started_s < 30
    assert await client.chutes() == {name: "running"}
    assert (await asyncio.to_thread(ours, docker_client, settings))["images"] == {f"{name}-main:2"}


async def test_an_image_whose_name_is_taken_off_meanwhile_is_there_after_a_failed_update(
    client: Client, name: str, docker_client: docker.APIClient, around: Around
) -> None:
    await client.done(await client.upload(_chute(name, 1)))
    before = await around.look()

    def take_name_off() -> None:
        docker_client.remove_image(f"{name}-main:1", force=True)

    await asyncio.to_thread(take_name_off)
    _, failure = await client.failed(await client.update(name, _chute(name, 2, command="exit 3")))
    assert failure.reason == "SERVICE_EXITED"
    assert await around.look() == before
    # Another configuration makes the image anew as well, whether it fails or not.
    await asyncio.to_thread(take_name_off)
    change_id = await client.call_id(
        "SetChuteConfig", chute=name, config={"services": {"main": {"command": ["sh", "-c", "exit 3"]}}}
    )
    _, failure = await client.failed(change_id)
    assert failure.reason == "SERVICE_EXITED"
    assert await around.look() == before

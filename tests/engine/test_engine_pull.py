"""Images of a registry on the real engine."""

from collections.abc import Iterator
from contextlib import suppress

import docker
import pytest
from docker.errors import APIError, ImageNotFound

from services.chutes.adapters.docker_engine import DockerEngine
from services.chutes.domain.spec import Credentials
from services.common.errors import DomainError
from tests.engine.conftest import IDLE, Node, state
from tests.support.engine import BUSYBOX
from tests.support.registry import Registry, serving_registry

pytestmark = pytest.mark.engine


@pytest.fixture
def registry(client: docker.APIClient) -> Iterator[Registry]:
    with serving_registry() as registry:
        yield registry
        for image in client.images():
            for tag in image["RepoTags"] or ():
                if tag.startswith(registry.address):
                    with suppress(APIError):
                        client.remove_image(tag, force=True)


@pytest.fixture
def reference(registry: Registry, node: Node) -> str:
    """The name of an image that no engine has seen: its only layer is of today's test alone."""
    node.client.import_image_from_data(_layer(node), f"unseen-{node.chute}", "1")
    name = registry.push(node.client, f"unseen-{node.chute}:1", "team/box:1")
    node.client.remove_image(f"unseen-{node.chute}:1")
    return name


def _layer(node: Node) -> bytes:
    created = node.client.create_container(BUSYBOX, command="true", labels={"io.paradrop.node": node.id})[
        "Id"
    ]
    try:
        return b"".join(node.client.export(created)) + node.chute.encode()
    finally:
        node.client.remove_container(created)


async def _pull(
    engine: DockerEngine, node: Node, reference: str, credentials: Credentials | None = None
) -> list[str]:
    lines: list[str] = []
    await engine.pull_image(node.tag, node.chute, reference, lines.append, credentials)
    return lines


async def _failure(
    engine: DockerEngine, node: Node, reference: str, credentials: Credentials | None = None
) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await _pull(engine, node, reference, credentials)
    assert node.things() == {}
    return caught.value


def _has(client: docker.APIClient, image: str) -> bool:
    with suppress(ImageNotFound):
        return bool(client.inspect_image(image))
    return False


async def test_an_image_is_fetched_and_runs(
    engine: DockerEngine, node: Node, registry: Registry, reference: str
) -> None:
    lines = await _pull(engine, node, reference)
    assert any("Pulling from team/box" in line for line in lines)
    assert any(line.startswith("Downloaded 100 %") for line in lines)
    assert len(lines) < 12
    labels = node.client.inspect_image(node.tag)["Config"]["Labels"]
    assert labels == {"io.paradrop.node": node.id, "io.paradrop.chute": node.chute}
    assert not _has(node.client, reference)  # Only the chute holds on to it.
    await engine.ensure_network(node.chute, node.chute)
    await engine.create_container(node.plan(image=node.tag, command=("sh", "-c", IDLE)))
    await engine.start_container(node.container)
    await state(engine, node.container, "running")
    await engine.remove_container(node.container)
    await engine.remove_image(node.tag)
    assert not node.things().get("images")


async def test_a_private_registry_wants_credentials(
    engine: DockerEngine, node: Node, registry: Registry, reference: str
) -> None:
    registry.credentials = ("alice", "hunter2")
    for credentials in (None, Credentials("alice", "hunter3")):
        error = await _failure(engine, node, reference, credentials)
        assert error.reason == "REGISTRY_DENIED"
        assert "hunter" not in str(error) + str(error.facts)
    lines = await _pull(engine, node, reference, Credentials("alice", "hunter2"))
    assert "hunter2" not in str(lines)
    assert await engine.has_image(node.tag)


async def test_what_is_not_there_is_told(
    engine: DockerEngine, node: Node, registry: Registry, reference: str
) -> None:
    missing = f"{registry.address}/team/box:2"
    error = await _failure(engine, node, missing)
    assert error.reason == "IMAGE_NOT_FOUND"
    assert missing in str(error)


async def test_a_registry_that_is_gone_is_done_without_if_the_image_is_here(
    engine: DockerEngine, node: Node, registry: Registry, reference: str
) -> None:
    gone = "127.0.0.1:1/team/box:1"
    assert (await _failure(engine, node, gone)).reason == "IMAGE_PULL_FAILED"
    node.client.tag(BUSYBOX, "127.0.0.1:1/team/box", "1")
    try:
        assert (await _failure(engine, node, gone, Credentials("a", "b"))).reason == "IMAGE_PULL_FAILED"
        lines = await _pull(engine, node, gone)
        assert "cannot be reached" in lines[-1]
        assert await engine.has_image(node.tag)
        assert _has(node.client, gone)  # It was there before.
    finally:
        node.client.remove_image(gone)


async def test_a_layer_that_does_not_come_whole_fails(
    engine: DockerEngine, node: Node, registry: Registry, reference: str
) -> None:
    registry.cut_blobs = True
    error = await _failure(engine, node, reference)
    assert error.reason == "IMAGE_PULL_FAILED"
    registry.cut_blobs = False
    await _pull(engine, node, reference)
    assert await engine.has_image(node.tag)


async def test_an_image_by_its_digest(
    engine: DockerEngine, node: Node, registry: Registry, reference: str
) -> None:
    digest = next(name.partition(":")[2] for name in registry.manifests if "sha256" in name)
    await _pull(engine, node, f"{registry.address}/team/box@{digest}")
    assert await engine.has_image(node.tag)

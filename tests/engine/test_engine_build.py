"""Builds on the real engine."""

import asyncio
import re

import docker
import pytest

from services.chutes.adapters.docker_engine import DockerEngine
from services.common.errors import AlreadyExists, DomainError, FailedPrecondition, InvalidArgument
from tests.engine.conftest import DEADLINE_S, Node, finished
from tests.support.engine import BUSYBOX

pytestmark = pytest.mark.engine


async def build(engine: DockerEngine, node: Node, dockerfile: str, **files: str) -> list[str]:
    lines: list[str] = []
    await engine.build_image(node.tag, node.chute, node.context(dockerfile, **files), lines.append)
    return lines


async def failure(engine: DockerEngine, node: Node, dockerfile: str, **files: str) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await build(engine, node, dockerfile, **files)
    return caught.value


async def test_a_folder_becomes_an_image(engine: DockerEngine, node: Node) -> None:
    assert not await engine.has_image(node.tag)
    lines = await build(
        engine, node, f"FROM {BUSYBOX}\nRUN echo hello from the build\nCOPY . /app\n", a__txt="x"
    )
    assert "hello from the build" in lines
    assert any(line.startswith("Step ") for line in lines)
    assert await engine.has_image(node.tag)
    labels = node.client.inspect_image(node.tag)["Config"]["Labels"]
    assert labels == {"io.paradrop.node": node.id, "io.paradrop.chute": node.chute}


async def test_every_layer_has_the_labels(engine: DockerEngine, node: Node) -> None:
    await build(
        engine,
        node,
        f"ARG BASE={BUSYBOX}\nfrom $BASE as first\nRUN echo 1 > /one\n"
        f"FROM {BUSYBOX}\nCOPY --from=first /one /two\nRUN cat /two\n",
    )
    chain = node.client.history(node.tag)
    labelled = set(node.things()["images"])
    made = [layer["Id"] for layer in chain if layer["Id"] not in ("<missing>",)]
    base = node.client.inspect_image(BUSYBOX)["Id"]
    assert {image for image in made if image != base} <= labelled
    assert len(labelled - set(made)) == 1  # The RUN of the first stage is not in the history.


async def test_a_dockerfile_with_another_escape_character(engine: DockerEngine, node: Node) -> None:
    lines = await build(engine, node, f"# escape=`\nFROM `\n# comment\n  {BUSYBOX}\nRUN echo one `\n  two\n")
    assert "one   two" in lines or "one two" in lines
    assert node.client.inspect_image(node.tag)["Config"]["Labels"]["io.paradrop.node"] == node.id


async def test_an_image_is_removed_with_all_layers(engine: DockerEngine, node: Node) -> None:
    await build(engine, node, f"FROM {BUSYBOX}\nRUN echo 1\nRUN echo 2\n")
    await engine.remove_image(node.tag)
    assert not await engine.has_image(node.tag)
    assert node.things() == {}
    await engine.remove_image(node.tag)


async def test_the_context_is_what_dockerignore_leaves(engine: DockerEngine, node: Node) -> None:
    context = node.context(
        f"FROM {BUSYBOX}\nCOPY . /app\nCMD cd /app && find . | sort && readlink link && cat script\n",
        kept__txt="1",
        dropped__txt="2",
        script="#!/bin/sh",
        __dockerignore="# comment\ndropped*\n**/deep\n!sub/deep/spared.txt\n",
    )
    (context / "sub/deep").mkdir(parents=True)
    (context / "sub/deep/spared.txt").write_text("3")
    (context / "sub/deep/lost.txt").write_text("4")
    (context / "link").symlink_to("kept.txt")
    (context / "script").chmod(0o755)
    (context / "big").write_bytes(bytes(3_000_001))
    await engine.build_image(node.tag, node.chute, context, lambda _: None)
    await engine.ensure_network(node.chute, node.chute)
    await engine.create_container(node.plan(image=node.tag, command=None))
    await engine.start_container(node.container)
    lines = await finished(engine, node.container)
    assert lines == [
        ".",
        "./.dockerignore",
        "./Dockerfile",
        "./big",
        "./kept.txt",
        "./link",
        "./script",
        "./sub",
        "./sub/deep",
        "./sub/deep/spared.txt",
        "kept.txt",
        "#!/bin/sh",
    ]


async def test_a_linked_dockerfile_inside_of_the_chute(engine: DockerEngine, node: Node) -> None:
    context = node.context()
    (context / "docker").mkdir()
    (context / "Dockerfile").rename(context / "docker/real")
    (context / "Dockerfile").symlink_to("docker/real")
    await engine.build_image(node.tag, node.chute, context, lambda _: None)
    assert await engine.has_image(node.tag)


async def test_a_dockerfile_outside_is_not_read(engine: DockerEngine, node: Node) -> None:
    context = node.context()
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").symlink_to("/etc/hostname")
    with pytest.raises(InvalidArgument) as caught:
        await engine.build_image(node.tag, node.chute, context, lambda _: None)
    assert caught.value.reason == "DOCKERFILE_MISSING"


async def test_a_failing_command_tells_its_last_words(engine: DockerEngine, node: Node) -> None:
    error = await failure(engine, node, f"FROM {BUSYBOX}\nRUN echo before; echo the reason >&2; exit 7\n")
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "IMAGE_BUILD_FAILED"
    assert "returned a non-zero code: 7" in error.facts["error"]
    assert "the reason" in error.facts["output"].splitlines()
    assert not await engine.has_image(node.tag)


@pytest.mark.parametrize(
    "dockerfile",
    ["", "FROM\n", "NONSENSE\n", "RUN ls\n", f"FROM {BUSYBOX}\nCOPY absent /\n", "FROM UPPER:bad:name\n"],
)
async def test_dockerfiles_that_cannot_be_built(engine: DockerEngine, node: Node, dockerfile: str) -> None:
    error = await failure(engine, node, dockerfile)
    assert error.reason == "IMAGE_BUILD_FAILED"
    assert error.facts["error"]


async def test_labels_of_the_node_cannot_be_forged(engine: DockerEngine, node: Node) -> None:
    error = await failure(engine, node, f"FROM {BUSYBOX}\nLABEL a=b \\\n  io.paradrop.node=other\n")
    assert error.reason == "DOCKERFILE_INVALID"
    assert node.things() == {}


async def test_leftovers_of_a_failed_build_are_swept(engine: DockerEngine, node: Node) -> None:
    await failure(engine, node, f"FROM {BUSYBOX}\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN false\n")
    assert node.things()["images"]
    await engine.sweep({}, chutes=[node.chute])
    assert node.things() == {}


async def test_a_cancelled_build_stops_and_leaves_nothing(engine: DockerEngine, node: Node) -> None:
    reached = asyncio.Event()

    def note(line: str) -> None:
        if line == "reached":
            reached.set()

    context = node.context(f"FROM {BUSYBOX}\nRUN echo 1 > /1\nRUN echo reached; sleep 3600\n")
    task = asyncio.create_task(engine.build_image(node.tag, node.chute, context, note))
    async with asyncio.timeout(DEADLINE_S):
        await reached.wait()
        assert node.client.containers(all=True, filters=node.filters)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        while node.client.containers(
            all=True, filters=node.filters
        ):  # The engine kills it in the background.
            await asyncio.sleep(0.05)
    await engine.sweep({}, chutes=[node.chute])
    assert node.things() == {}


async def test_a_build_cancelled_during_the_upload_leaves_nothing(engine: DockerEngine, node: Node) -> None:
    context = node.context()
    with (context / "big").open("wb") as big:
        big.truncate(2 * 1024**3)
    task = asyncio.create_task(engine.build_image(node.tag, node.chute, context, lambda _: None))
    await asyncio.sleep(0.1)
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled()
    assert node.things() == {}


async def test_a_flood_of_output_is_taken_in_order(engine: DockerEngine, node: Node) -> None:
    lines = await build(engine, node, f"FROM {BUSYBOX}\nRUN seq 1 50000\n")
    numbers = [int(line) for line in lines if re.fullmatch(r"\d+", line)]
    assert numbers == list(range(1, 50001))


async def test_carriage_returns_and_colours_do_not_show(engine: DockerEngine, node: Node) -> None:
    lines = await build(
        engine, node, f"FROM {BUSYBOX}\nRUN printf '10%%\\r50%%\\r100%%\\n\\033[1;31mred\\033[0m\\n' >&2\n"
    )
    assert "100%" in lines
    assert "red" in lines
    assert not any("\x1b" in line or "\r" in line for line in lines)


async def test_a_foreign_image_with_the_tag_is_left_alone(engine: DockerEngine, node: Node) -> None:
    repository, version = node.tag.split(":")
    node.client.tag(BUSYBOX, repository, version)
    before = node.client.inspect_image(node.tag)["Id"]
    try:
        with pytest.raises(AlreadyExists) as caught:
            await build(engine, node, f"FROM {BUSYBOX}\n")
        assert caught.value.reason == "IMAGE_NAME_TAKEN"
        assert not await engine.has_image(node.tag)
        await engine.remove_image(node.tag)
        await engine.sweep({})
        assert node.client.inspect_image(node.tag)["Id"] == before
    finally:
        node.client.remove_image(node.tag)


async def test_a_foreign_tag_that_comes_during_the_build_is_left_alone(
    engine: DockerEngine, node: Node, client: docker.APIClient
) -> None:
    repository, version = node.tag.split(":")

    late = asyncio.Event()

    def note(line: str) -> None:
        if line == "late":
            late.set()

    context = node.context(f"FROM {BUSYBOX}\nRUN echo late; sleep 1\n")
    task = asyncio.create_task(engine.build_image(node.tag, node.chute, context, note))
    async with asyncio.timeout(DEADLINE_S):
        await late.wait()
    client.tag(BUSYBOX, repository, version)
    try:
        with pytest.raises(AlreadyExists):
            await task
        assert client.inspect_image(node.tag)["Id"] == client.inspect_image(BUSYBOX)["Id"]
    finally:
        client.remove_image(node.tag)


async def test_the_image_of_another_chute_is_not_replaced(engine: DockerEngine, node: Node) -> None:
    await build(engine, node, f"FROM {BUSYBOX}\n")
    with pytest.raises(AlreadyExists):
        await engine.build_image(node.tag, f"{node.chute}-main", node.context(), lambda _: None)


async def test_an_image_in_use_by_a_stranger_loses_only_its_tag(engine: DockerEngine, node: Node) -> None:
    await build(engine, node, f"FROM {BUSYBOX}\nCMD sleep 3600\n")
    stranger = node.client.create_container(node.tag)["Id"]
    node.client.start(stranger)
    try:
        await engine.remove_image(node.tag)
        assert not await engine.has_image(node.tag)
        await engine.sweep({})
        assert node.client.inspect_container(stranger)["State"]["Running"]
    finally:
        node.client.remove_container(stranger, force=True)
    await engine.sweep({})
    assert node.things() == {}

"""Disks of the node and of its engine run full: what fails says so, leaves nothing, works with room again."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import grpc
import pytest

from services.chutes.adapters import disk as disk_checks
from services.common.settings import Settings
from tests.chutes.client import Client, refusal
from tests.chutes.on_engine import IDLE, NOTHING, ours, serving_node
from tests.support.engine import BUSYBOX, chute_tar, small_chute
from tests.support.own_engine import OwnEngine, client_of, own_engine
from tests.support.registry import serving_registry
from tests.support.settings import settings_in
from tests.support.small_disk import MEBIBYTE, fill, small_disk

pytestmark = [pytest.mark.engine, pytest.mark.apart, pytest.mark.timeout(180)]

ENGINE_DISK_BYTES = 130 * MEBIBYTE
NODE_DISK_BYTES = 160 * MEBIBYTE
SLACK_BYTES = 2 * MEBIBYTE
"""What an engine's databases may grow by meanwhile."""


@pytest.fixture
def engine_disk(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "engine").mkdir()
    with small_disk(tmp_path / "engine", ENGINE_DISK_BYTES) as disk:
        yield disk


@pytest.fixture
def engine(engine_disk: Path) -> Iterator[OwnEngine]:
    with own_engine(disk=engine_disk) as engine:
        yield engine


@pytest.fixture
def docker_client(engine: OwnEngine) -> Iterator[docker.APIClient]:
    with client_of(engine) as client:
        yield client


@pytest.fixture
def node_disk(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "node").mkdir()
    with small_disk(tmp_path / "node", NODE_DISK_BYTES) as disk:
        yield disk


@pytest.fixture
def settings(node_disk: Path, engine: OwnEngine) -> Iterator[Settings]:
    with settings_in(node_disk / "home", DOCKER_HOST=engine.address, PARADROP_GRACE_S="0.3") as settings:
        yield settings


@pytest.fixture
async def client(settings: Settings, docker_client: docker.APIClient) -> AsyncIterator[Client]:
    async with serving_node(settings) as client:
        yield client


def _free_bytes(disk: Path) -> int:
    return shutil.disk_usage(disk).free


def _files(settings: Settings) -> list[Path]:
    chutes = settings.home / "chutes"
    return [
        path
        for folder in ("data", "system", "work", "uploads", "trash")
        for path in (chutes / folder).iterdir()
    ]


async def _failed_for_lack_of_room(client: Client, change_id: int) -> list[str]:
    lines, failure = await client.failed(change_id)
    assert failure.reason == "DISK_FULL", failure
    assert "try again" in failure.message
    return lines


@pytest.mark.parametrize("min_free_bytes", [disk_checks.MIN_FREE_BYTES, 0], ids=["seen before", "met"])
async def test_in_the_middle_of_an_upload(
    min_free_bytes: int,
    client: Client,
    name: str,
    settings: Settings,
    node_disk: Path,
    docker_client: docker.APIClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk_checks, "MIN_FREE_BYTES", min_free_bytes)
    tar = chute_tar({**small_chute(name, IDLE), "large": bytes(8 * MEBIBYTE)})
    pieces = [tar[start : start + MEBIBYTE] for start in range(0, len(tar), MEBIBYTE)]

    def slowly() -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number == len(pieces) // 2:
                fill(node_disk)
            yield piece

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await client.upload(slowly())
    assert refusal(raised.value)[:2] == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    assert _files(settings) == []
    assert await client.chutes() == {}
    (node_disk / "filler").unlink()
    await client.done(await client.upload(pieces))
    assert await client.chutes() == {name: "running"}


@pytest.mark.parametrize(
    "dockerfile",
    [
        f"FROM {BUSYBOX}\nRUN dd if=/dev/zero of=/large bs=1M count=400\n",
        f"FROM {BUSYBOX}\n" + "".join(f"COPY large /large{number}\n" for number in range(20)),
    ],
    ids=["by what is run", "by what is copied"],
)
async def test_in_the_middle_of_a_build(
    dockerfile: str,
    client: Client,
    name: str,
    settings: Settings,
    engine_disk: Path,
    docker_client: docker.APIClient,
) -> None:
    free_bytes = _free_bytes(engine_disk)
    files = {**small_chute(name), "Dockerfile": dockerfile, "large": bytes(10 * MEBIBYTE)}
    await _failed_for_lack_of_room(client, await client.upload(chute_tar(files)))
    assert await asyncio.to_thread(ours, docker_client, settings) == NOTHING
    assert _files(settings) == []
    assert _free_bytes(engine_disk) > free_bytes - SLACK_BYTES
    await client.done(await client.upload(chute_tar(small_chute(name, IDLE))))
    assert await client.chutes() == {name: "running"}


async def test_in_the_middle_of_a_pull(
    client: Client,
    name: str,
    settings: Settings,
    engine: OwnEngine,
    engine_disk: Path,
    docker_client: docker.APIClient,
) -> None:
    free_bytes = _free_bytes(engine_disk)
    with serving_registry(engine.listen()) as registry:
        # It comes as little, and becomes much.
        reference = registry.put(chute_tar({"large": bytes(200 * MEBIBYTE)}), "team/large:1")
        described = f"name: {name}\nservices:\n  main:\n    type: image\n    image: {reference}\n"
        await _failed_for_lack_of_room(client, await client.upload(chute_tar({"paradrop.yaml": described})))
    assert await asyncio.to_thread(ours, docker_client, settings) == NOTHING
    assert _files(settings) == []
    assert _free_bytes(engine_disk) > free_bytes - SLACK_BYTES
    await client.done(await client.upload(chute_tar(small_chute(name, IDLE))))
    assert await client.chutes() == {name: "running"}


async def test_filled_by_the_data_of_a_chute(
    settings: Settings, name: str, node_disk: Path, docker_client: docker.APIClient
) -> None:
    greedy = f"cat /dev/zero > /data/large; echo full; {IDLE}"
    other = f"{name}-b"
    async with serving_node(settings) as client:
        await client.done(await client.upload(chute_tar(small_chute(other, IDLE))))
        await client.done(await client.upload(chute_tar(small_chute(name, greedy))))
        async with asyncio.timeout(60):
            while _free_bytes(node_disk) > 65536:
                await asyncio.sleep(0.05)
        # To the last block, which the file of the chute was too coarse for.
        await asyncio.to_thread(fill, node_disk)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.upload(chute_tar(small_chute(f"{name}-c", IDLE)))
        assert refusal(raised.value)[:2] == ("RESOURCE_EXHAUSTED", "DISK_FULL")
        assert await client.chutes() == {name: "running", other: "running"}
    # It starts on a full disk as well, and the chute can be removed: what else would make room?
    async with serving_node(settings) as client:
        assert await client.chutes() == {name: "running", other: "running"}
        await client.done(await client.call_id("DeleteChute", chute=name))
        assert await client.chutes() == {other: "running"}
        await client.done(await client.upload(chute_tar(small_chute(f"{name}-c", IDLE))))
        assert await client.chutes() == {f"{name}-c": "running", other: "running"}

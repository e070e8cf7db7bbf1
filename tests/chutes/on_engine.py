"""The whole chute service on a real engine, with the real auth service beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import docker
import grpc
from paradrop.auth.v1 import auth_pb2, auth_pb2_grpc

from services.auth.app import running as auth_running
from services.chutes.app import running as chutes_running
from services.common.settings import Settings
from tests.chutes.client import Client
from tests.support.engine import BUSYBOX, chute_tar
from tests.support.settings import PASSWORD

IDLE = "trap exit TERM; while true; do sleep 0.1; done"
NOTHING: dict[str, Any] = {"containers": set(), "networks": set(), "images": set()}


@asynccontextmanager
async def logged_in(settings: Settings) -> AsyncIterator[Client]:
    """Yields a client of the node that runs with these settings."""
    async with grpc.aio.insecure_channel(settings.addresses["auth"]) as auth:
        request = auth_pb2.LoginLocalRequest(username="paradrop", password=PASSWORD)
        token = (await auth_pb2_grpc.AuthServiceStub(auth).LoginLocal(request)).token
    async with grpc.aio.insecure_channel(settings.addresses["chutes"]) as channel:
        yield Client(channel, token)


@asynccontextmanager
async def serving_node(settings: Settings) -> AsyncIterator[Client]:
    """Serves for the time of the context."""
    async with auth_running(settings), chutes_running(settings), logged_in(settings) as client:
        yield client


async def remove_chutes(client: Client) -> None:
    """Leaves nothing on the engine, whatever a test has left unfinished."""
    for change in (await client.call("ListChanges")).changes:
        # One that is past its commit ends by itself.
        with suppress(grpc.aio.AioRpcError):
            await client.call("CancelChange", change_id=change.id)
    async with asyncio.timeout(60):
        for chute in await client.chutes():
            await client.done(await client.call_id("DeleteChute", chute=chute, force=True))


@contextmanager
def foreign_container(docker_client: docker.APIClient) -> Iterator[str]:
    """Yields the id of somebody else's container, named "foreign", which nothing may touch meanwhile."""
    created: str = docker_client.create_container(
        BUSYBOX,
        ["sleep", "1000000"],
        name="foreign",
        host_config=docker_client.create_host_config(restart_policy={"Name": "always"}, init=True),
    )["Id"]
    docker_client.put_archive(created, "/", chute_tar({"kept": "precious"}))
    docker_client.start(created)
    before = b"".join(docker_client.get_archive(created, "/kept")[0])
    yield created
    found = docker_client.inspect_container("foreign")
    assert found["Id"] == created
    assert found["State"]["Running"]
    assert b"".join(docker_client.get_archive(created, "/kept")[0]) == before


def ours(docker_client: docker.APIClient, settings: Settings) -> dict[str, Any]:
    """Returns the names of everything on the engine with the labels of the node."""
    node_id = (settings.home / "chutes" / "node-id").read_text()
    filters = {"label": f"io.paradrop.node={node_id}"}
    return {
        "containers": {c["Names"][0][1:] for c in docker_client.containers(all=True, filters=filters)},
        "networks": {network["Name"] for network in docker_client.networks(filters=filters)},
        "images": {
            tag for image in docker_client.images(filters=filters) for tag in image["RepoTags"] or [""]
        },
    }


async def until(true: Callable[[], bool]) -> None:
    """Waits until something is true."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)

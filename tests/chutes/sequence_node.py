"""A chute service that is killed and started again under its callers, and what they ask of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from grpc_status import rpc_status

from tests.chutes.archives import entry, make_archive
from tests.chutes.client import Client
from tests.chutes.model import SERVICES, UPLOADS, Action
from tests.support.engine import BUSYBOX, chute_tar
from tests.support.own_engine import OwnEngine
from tests.support.part import PartProcess

Reply = TypeVar("Reply")

COMMANDS = {"start": "StartChute", "stop": "StopChute", "restart": "RestartChute", "delete": "DeleteChute"}
ILLS = {
    0: ("RUN false", "IMAGE_BUILD_FAILED"),
    1: ("HEALTHCHECK --interval=200ms --timeout=1s --retries=1 CMD false", "SERVICE_UNHEALTHY"),
    2: ("CMD exit 3", "SERVICE_EXITED"),
}
"""What is wrong with a version by its number: a line of a Dockerfile, and the reason that is told."""


def ill_reason(version: int) -> str:
    """Returns why a version that is ill cannot be installed."""
    return ILLS[version % len(ILLS)][1]


def files_of(action: Action, version: int) -> dict[str, str]:
    """Returns the files of a version of a chute."""
    services = {service: {"type": "normal", "source": service} for service in SERVICES[action.chute]}
    described = (
        f"name: {action.chute}\nversion: {version}\nenvironment: {{COLOUR: green}}\nservices: {services}\n"
    )
    if action.chute == "web":
        described += "web: {service: front, port: 80}\n"
    files = {"paradrop.yaml": described}
    for service in services:
        line = ""
        command = f"trap exit TERM; echo version {version}; sleep 1000000 & wait"
        if action.kind == "ill" and service == SERVICES[action.chute][0]:
            line = ILLS[version % len(ILLS)][0]
        files[f"{service}/Dockerfile"] = f"FROM {BUSYBOX}\nENV VERSION={version}\nCMD {command}\n{line}\n"
    return files


def archive_of(action: Action, version: int) -> bytes:
    """Returns a version of a chute as another node exports it, with data."""
    files, data = files_of(action, version), f"data {version}".encode()
    description = files.pop("paradrop.yaml").encode()
    sources = [entry(f"sources/{name}", content.encode()) for name, content in files.items()]
    return make_archive(
        *sources[1:],
        entry("data/kept", data),
        manifest={"format": 1, "name": action.chute, "data_bytes": len(data)},
        description=description,
        sources=sources[0],
    )


class SequenceNode:
    """Chutes in a process of its own, and its engine; both may go away at any moment."""

    def __init__(self, part: PartProcess, engine: OwnEngine, channel: grpc.aio.Channel, token: str) -> None:
        self._part, self._engine = part, engine
        self._channel, self._token = channel, token

    async def start(self) -> None:
        """Starts the service and waits until it answers."""
        await asyncio.to_thread(self._part.start)
        await self.call("ListChutes")

    async def kill(self) -> None:
        """Ends the service in the middle of whatever it does."""
        await asyncio.to_thread(self._part.kill)

    async def stop(self) -> None:
        """Ends the service as an operator does."""
        assert await asyncio.to_thread(self._part.stop) == 0

    async def kill_engine(self, pause_s: float) -> None:
        """Ends the engine in the middle of whatever it does, and starts it again."""
        await asyncio.to_thread(self._engine.kill)
        await asyncio.sleep(pause_s)
        await asyncio.to_thread(self._engine.start)

    def client(self, key: str = "") -> Client:
        """Returns a client of the node's admin, with an idempotency key if there is one."""
        client = Client(self._channel, self._token)
        if key:
            client.metadata += (("idempotency-key", key),)
        return client

    async def call(self, rpc: str, **fields: Any) -> Any:
        """Calls an RPC, and calls it again if the service went away before it answered."""
        return await self._insist(lambda client: client.call(rpc, **fields))

    async def _insist(self, call: Callable[[Client], Awaitable[Reply]], key: str = "") -> Reply:
        async with asyncio.timeout(90):
            while True:
                try:
                    return await call(self.client(key=key))
                except grpc.aio.AioRpcError as error:
                    # What the service itself answers has details.
                    cut_off = rpc_status.from_call(error) is None
                    if error.code() is not grpc.StatusCode.UNAVAILABLE or not cut_off:
                        raise
                await asyncio.sleep(0.05)

    async def ask(self, action: Action, version: int, key: str) -> int:
        """Asks for a change and returns its id."""

        async def ask(client: Client) -> int:
            name, force = action.chute, action.forced
            if action.kind == "import":
                archive = archive_of(action, version)
                return int((await client.import_(archive, name=name, replace=True, force=force)).change_id)
            if action.kind in UPLOADS:
                tar = chute_tar(files_of(action, version))
                if action.kind == "install":
                    return await client.upload(tar)
                return int((await client.send(tar, chute=name, force=force)).change_id)
            if action.kind == "configure":
                config = ParseDict({"environment": {"COLOUR": "red"}}, Struct())
                return await client.call_id("SetChuteConfig", chute=name, config=config, force=force)
            terms: dict[str, Any] = {} if action.kind == "start" else {"force": force}
            return await client.call_id(COMMANDS[action.kind], chute=name, **terms)

        return await self._insist(ask, key)

    async def set_lock(self, chute: str, locked: bool) -> None:
        """Locks a chute or ends its lock."""
        if locked:
            await self.call("LockChute", chute=chute, reason="measuring")
        else:
            await self.call("UnlockChute", chute=chute)

"""A node service beside a controller on a real socket that does what the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from paradrop.chutes.v1 import changes_pb2, chutes_pb2
from paradrop.controller.v1 import controller_pb2 as pb
from paradrop.controller.v1 import controller_pb2_grpc
from paradrop.node.v1 import node_pb2, node_pb2_grpc
from paradrop.type.v1 import stream_pb2

from services.common.settings import Settings
from services.node import app
from tests.gateway.doubles import Doubles, Keys
from tests.support.settings import settings_in

TOKEN = "t0ken"
CHANGES = "paradrop.chutes.v1.ChangeService"
CHUTES = "paradrop.chutes.v1.ChuteService"


@dataclass
class Connection:
    """One connection of the node."""

    hello: pb.Hello
    received: "asyncio.Queue[pb.ConnectRequest]"
    outgoing: "asyncio.Queue[pb.ConnectResponse | None]"

    async def next(self, kind: str) -> Any:
        """Returns the next message of a kind."""
        async with asyncio.timeout(10):
            while True:
                message = await self.received.get()
                if message.WhichOneof("message") == kind:
                    return getattr(message, kind)

    async def call(
        self, method: str, message: bytes = b"", call_id: str = "1", **options: Any
    ) -> pb.CallAnswer:
        """Makes a call and returns the last part of its answer, the reply before it as its message."""
        call = pb.Call(call_id=call_id, method=method, message=message, **options)
        await self.outgoing.put(pb.ConnectResponse(call=call))
        replies = []
        while True:
            answer = await self.next("answer")
            assert answer.call_id == call_id
            if answer.HasField("end"):
                return replies, answer.end
            replies.append(answer.message)


class Controller(controller_pb2_grpc.ControllerServiceServicer):
    def __init__(self) -> None:
        self.connections: asyncio.Queue[Connection] = asyncio.Queue()
        self.stored = 0
        self.refused = 0

    async def Connect(self, requests: Any, context: Any) -> AsyncIterator[pb.ConnectResponse]:
        metadata = dict(context.invocation_metadata())
        if metadata["authorization"] != f"Bearer {TOKEN}" or metadata["paradrop-node"] != "r1":
            self.refused += 1
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
        received: asyncio.Queue[pb.ConnectRequest] = asyncio.Queue()
        connection = Connection((await anext(requests)).hello, received, asyncio.Queue())
        yield pb.ConnectResponse(welcome=pb.Welcome(acknowledged_sequence=self.stored))

        async def read() -> None:
            async for request in requests:
                await received.put(request)

        reading = asyncio.create_task(read())
        await self.connections.put(connection)
        try:
            while (message := await connection.outgoing.get()) is not None:
                yield message
        finally:
            reading.cancel()

    async def connected(self) -> Connection:
        async with asyncio.timeout(15):
            return await self.connections.get()


@asynccontextmanager
async def listening(controller: Controller, port: int = 0, credentials: Any = None) -> AsyncIterator[int]:
    server = grpc.aio.server()
    controller_pb2_grpc.add_ControllerServiceServicer_to_server(controller, server)
    address = f"127.0.0.1:{port}"
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0)


@dataclass
class World:
    settings: Settings
    doubles: Doubles
    controller: Controller
    port: int
    metadata: Any
    ended: list[changes_pb2.Change] = field(default_factory=list)
    stub: Any = None

    async def provision(self, scheme: str = "grpc", token: str = TOKEN) -> Any:
        host = "localhost" if scheme == "grpcs" else "127.0.0.1"
        request = node_pb2.SetProvisionRequest(
            router_id="r1", apitoken=token, pdserver=f"{scheme}://{host}:{self.port}"
        )
        return await self.stub.SetProvision(request, metadata=self.metadata, timeout=20)

    async def told(self) -> Any:
        """Returns what the node says of its connection."""
        return await self.stub.GetController(node_pb2.GetControllerRequest(), metadata=self.metadata)

    async def until(self, reason: str) -> Any:
        """Waits until the node says that it has no connection for this reason, and returns all it says."""
        async with asyncio.timeout(10):
            while (told := await self.told()).reason != reason:
                await asyncio.sleep(0.02)
        return told


@asynccontextmanager
async def linked(home: Path, **environment: str) -> AsyncIterator[World]:
    """Runs a node that is not yet provisioned, and a controller without TLS."""
    controller = Controller()
    with settings_in(home, **environment) as settings:
        settings.prepare()
        doubles = Doubles(Keys(settings.public_dir))
        settings.service_token_file.write_text(doubles.keys.token("node", kind="service"))
        async with (
            doubles.serving_one("chutes", settings),
            app.running(settings),
            grpc.aio.insecure_channel(settings.addresses["node"]) as channel,
            listening(controller) as port,
        ):
            metadata = (("authorization", f"Bearer {doubles.keys.token()}"),)
            found = World(settings, doubles, controller, port, metadata)
            found.stub = node_pb2_grpc.NodeServiceStub(channel)

            tell_news(doubles, lambda: found.ended)
            yield found


def tell_news(doubles: Doubles, ended: Callable[[], Sequence[changes_pb2.Change]]) -> None:
    """Lets the chute service tell of changes that have ended, newest first, and of what it lists."""

    async def list_changes(request: Any, _: Any) -> Any:
        return changes_pb2.ListChangesResponse(changes=ended())

    async def watch_changes(request: Any, _: Any) -> AsyncIterator[Any]:
        told = {change.id for change in ended()}
        yield changes_pb2.WatchChangesResponse(synced=stream_pb2.Synced())
        while True:
            for change in reversed(ended()):
                if change.id not in told:
                    told.add(change.id)
                    yield changes_pb2.WatchChangesResponse(change=change)
            await asyncio.sleep(0.02)

    async def watch_chutes(request: Any, _: Any) -> AsyncIterator[Any]:
        told = None
        while True:
            now = doubles.replies.get(f"{CHUTES}.ListChutes", chutes_pb2.ListChutesResponse())
            if now != told:
                told = now
                yield chutes_pb2.WatchChutesResponse(list=now)
            await asyncio.sleep(0.02)

    doubles.replies[f"{CHANGES}.ListChanges"] = list_changes
    doubles.replies[f"{CHANGES}.WatchChanges"] = watch_changes
    doubles.replies[f"{CHUTES}.WatchChutes"] = watch_chutes

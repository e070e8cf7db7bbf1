"""The link to a controller, against a controller on a real socket that does what the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from paradrop.chutes.v1 import changes_pb2, chutes_pb2
from paradrop.controller.v1 import controller_pb2 as pb
from paradrop.controller.v1 import controller_pb2_grpc
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from services.common.ring import RING, LogLine
from services.common.settings import Settings
from services.node import app
from services.node.adapters import link as link_module
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
    authority: Any = None

    async def provision(self, scheme: str = "grpc", token: str = TOKEN) -> Any:
        host = "localhost" if scheme == "grpcs" else "127.0.0.1"
        request = node_pb2.SetProvisionRequest(
            router_id="r1", apitoken=token, pdserver=f"{scheme}://{host}:{self.port}"
        )
        return await self.stub.SetProvision(request, metadata=self.metadata, timeout=20)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(link_module, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(link_module, "LONGEST_PAUSE_S", 0.3)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    environment = {"PARADROP_CONTROLLER_CA": str(tmp_path / "ca.pem")}
    controller = Controller()
    with settings_in(tmp_path / "home", **environment) as settings:
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

            async def list_changes(request: Any, _: Any) -> Any:
                return changes_pb2.ListChangesResponse(changes=found.ended)

            doubles.replies[f"{CHANGES}.ListChanges"] = list_changes
            found.authority = authority
            yield found


def ended(number: int) -> changes_pb2.Change:
    return changes_pb2.Change(id=number, update_class="CHUTE", status="succeeded", name="hello")


async def test_a_provisioned_node_connects_and_says_so(world: World) -> None:
    reply = await world.provision()
    assert (reply.success, reply.provisioned, reply.http_connected) == (True, True, True)
    connection = await world.controller.connected()
    assert connection.hello.node_id == "r1"
    assert connection.hello.queue_id
    again = await world.provision()
    assert (again.success, again.message) == (False, "No change on the provision parameters")
    told = await world.stub.GetProvision(node_pb2.GetProvisionRequest(), metadata=world.metadata)
    assert (told.router_id.string_value, told.http_connected) == ("r1", True)
    update = await world.stub.StartUpdate(node_pb2.StartUpdateRequest(), metadata=world.metadata)
    assert update.success


async def test_ends_of_changes_and_states_come_once_and_only_new_ones(world: World) -> None:
    world.ended = [ended(1)]
    world.doubles.replies[f"{CHUTES}.ListChutes"] = chutes_pb2.ListChutesResponse(
        chutes=[chutes_pb2.Chute(name="hello", state="running")]
    )
    await world.provision()
    connection = await world.controller.connected()
    state = await connection.next("record")
    assert state.state.chutes[0].name == "hello"
    world.ended = [ended(2), ended(1)]
    record = await connection.next("record")
    assert (record.change_ended.id, record.change_ended.status) == (2, "succeeded")
    await asyncio.sleep(1.5)
    assert connection.received.empty()


async def test_what_happens_while_the_controller_is_away_is_told_afterwards_and_once(world: World) -> None:
    await world.provision()
    first = await world.controller.connected()
    await first.next("record")
    world.ended = [ended(1)]
    record = await first.next("record")
    # Not acknowledged: it must come again.
    await first.outgoing.put(None)
    world.ended = [ended(3), ended(2), ended(1)]
    second = await world.controller.connected()
    assert second.hello.queue_id == first.hello.queue_id
    numbers = []
    while len([n for n in numbers if n]) < 3:
        again = await second.next("record")
        numbers.append(again.change_ended.id)
        last = again.sequence
    assert [n for n in numbers if n] == [1, 2, 3]
    assert record.sequence < last
    await second.outgoing.put(pb.ConnectResponse(acknowledgement=pb.Acknowledgement(sequence=last)))
    await asyncio.sleep(0.3)
    world.controller.stored = last
    await second.outgoing.put(None)
    third = await world.controller.connected()
    await asyncio.sleep(1.5)
    assert third.received.empty()


async def test_a_controller_calls_the_nodes_methods(world: World) -> None:
    await world.provision()
    connection = await world.controller.connected()
    replies, end = await connection.call("/paradrop.node.v1.NodeService/GetFeatures")
    assert end.code == 0
    assert list(node_pb2.GetFeaturesResponse.FromString(replies[0]).features) == ["audio", "hostapd-control"]
    request = node_pb2.StreamLogsRequest(stop_at_end=True).SerializeToString()
    replies, end = await connection.call("/paradrop.node.v1.NodeService/StreamLogs", request, call_id="2")
    assert (len(replies), end.code) == (1, 0)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("/paradrop.node.v1.NodeService/Nothing", grpc.StatusCode.NOT_FOUND),
        ("nonsense", grpc.StatusCode.NOT_FOUND),
        ("/paradrop.auth.v1.AuthService/LoginLocal", grpc.StatusCode.PERMISSION_DENIED),
        ("/paradrop.auth.v1.AuthService/IssueChuteToken", grpc.StatusCode.PERMISSION_DENIED),
        ("/paradrop.node.v1.NodeService/FixIssue", grpc.StatusCode.NOT_FOUND),
        ("/paradrop.network.v1.NetworkService/ListDevices", grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_calls_that_cannot_be_end_with_their_status(world: World, method: str, code: Any) -> None:
    await world.provision()
    connection = await world.controller.connected()
    replies, end = await connection.call(method)
    assert replies == []
    assert end.code == code.value[0]
    assert end.details


async def test_a_call_with_a_key_is_done_once(world: World) -> None:
    restart = f"/{CHUTES}/RestartChute"
    count = 0

    async def reply(request: Any, _: Any) -> Any:
        nonlocal count
        count += 1
        return chutes_pb2.RestartChuteResponse(change_id=count)

    world.doubles.replies[f"{CHUTES}.RestartChute"] = reply
    await world.provision()
    first = await world.controller.connected()
    answers = [await first.call(restart, call_id="1", key="abc")]
    await first.outgoing.put(None)
    second = await world.controller.connected()
    answers.append(await second.call(restart, call_id="7", key="abc"))
    for replies, end in answers:
        assert end.code == 0
        assert chutes_pb2.RestartChuteResponse.FromString(replies[0]).change_id == 1
    assert count == 1
    replies, end = await second.call(restart, call_id="8", key="x" * 101)
    assert end.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_a_stream_of_requests_goes_through(world: World) -> None:
    async def take(requests: Any, _: Any) -> Any:
        from paradrop.chutes.v1 import uploads_pb2

        return uploads_pb2.UploadChuteResponse(change_id=len([piece async for piece in requests]))

    world.doubles.replies["paradrop.chutes.v1.ChuteUploadService.UploadChute"] = take
    await world.provision()
    connection = await world.controller.connected()
    for number in range(1, 40):
        more = pb.CallInput(call_id="1", message=b"", last=number == 39)
        if number == 1:
            call = pb.Call(
                call_id="1", method="/paradrop.chutes.v1.ChuteUploadService/UploadChute", more=True
            )
            await connection.outgoing.put(pb.ConnectResponse(call=call))
        await connection.outgoing.put(pb.ConnectResponse(input=more))
    from paradrop.chutes.v1 import uploads_pb2

    answer = await connection.next("answer")
    assert uploads_pb2.UploadChuteResponse.FromString(answer.message).change_id == 40


async def test_live_messages_come_as_they_were_asked_for(world: World) -> None:
    await world.provision()
    connection = await world.controller.connected()
    wanted = pb.Subscription(telemetry_interval_s=1, log_level="warning")
    await connection.outgoing.put(pb.ConnectResponse(subscription=wanted))
    live = await connection.next("live")
    assert live.telemetry.system.cpu_count > 0
    wanted = pb.Subscription(log_level="warning")
    await connection.outgoing.put(pb.ConnectResponse(subscription=wanted))
    await asyncio.sleep(2.5)
    while not connection.received.empty():
        connection.received.get_nowait()
    RING.add(LogLine(1.0, "chutes", "info", "too quiet"))
    RING.add(LogLine(1.0, "chutes", "error", "loud"))
    live = await connection.next("live")
    assert [line.message for line in live.log.lines] == ["loud"]


async def test_tls_is_checked_with_the_given_authority(world: World) -> None:
    certificate = world.authority.issue_cert("localhost")
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    async with listening(world.controller, credentials=grpc.ssl_server_credentials([pair])) as port:
        world.port = port
        assert (await world.provision("grpcs")).http_connected
    stranger = trustme.CA().issue_cert("localhost")
    pair = (stranger.private_key_pem.bytes(), stranger.cert_chain_pems[0].bytes())
    async with listening(world.controller, credentials=grpc.ssl_server_credentials([pair])) as port:
        world.port = port
        assert not (await world.provision("grpcs")).http_connected


async def test_a_refused_node_says_so_and_does_not_knock_all_the_time(world: World) -> None:
    reply = await world.provision(token="wrong")
    assert not reply.http_connected
    # gRPC may lose the words of the first refusal; then the node asks once more.
    assert world.controller.refused in (1, 2)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await world.stub.StartUpdate(node_pb2.StartUpdateRequest(), metadata=world.metadata, timeout=20)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    issues = await world.stub.ListIssues(node_pb2.ListIssuesRequest(), metadata=world.metadata)
    assert "controller-unreachable" in [issue.id for issue in issues.issues]

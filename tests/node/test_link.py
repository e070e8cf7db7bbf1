"""The link to a controller, against a controller on a real socket that does what the test says."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from paradrop.airshark.v1 import airshark_pb2
from paradrop.chutes.v1 import changes_pb2, chutes_pb2, uploads_pb2
from paradrop.controller.v1 import controller_pb2 as pb
from paradrop.node.v1 import node_pb2
from paradrop.type.v1 import stream_pb2

from services.common.database import Database
from services.common.ring import RING, LogLine
from services.node.adapters import controllers, link
from services.node.adapters.live import Sources
from services.node.adapters.outbox import MIGRATIONS, Outbox
from services.node.adapters.tls import Credentials
from services.node.domain.provision import Provision
from tests.node.linked import CHUTES, TOKEN, World, linked


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(link, "INITIAL_BACKOFF_S", 0.1)
    monkeypatch.setattr(link, "MAX_BACKOFF_S", 0.3)
    monkeypatch.setattr(controllers, "WAIT_S", 1.0)
    async with linked(tmp_path / "home") as world:
        yield world


@pytest.fixture
def impatient(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not wait for a connection that will not be."""
    monkeypatch.setattr(controllers, "WAIT_S", 0.1)


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
    controller = await world.told()
    assert controller.state == controller.STATE_CONNECTED
    assert (controller.address, controller.reason) == (f"grpc://127.0.0.1:{world.port}", "")
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
    await asyncio.sleep(0.3)
    assert connection.received.empty()


@pytest.mark.thorough
async def test_nobody_is_asked_while_nothing_happens(world: World) -> None:
    await world.provision()
    connection = await world.controller.connected()
    await connection.next("record")
    await connection.outgoing.put(pb.ConnectResponse(subscription=pb.Subscription(progress=True)))
    await asyncio.sleep(0.5)
    calls = [call.rpc for call in world.doubles.calls]
    assert "paradrop.chutes.v1.ChangeService.WatchChanges" in calls
    await asyncio.sleep(2.5)
    assert [call.rpc for call in world.doubles.calls] == calls


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
    await asyncio.sleep(0.3)
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
    await asyncio.sleep(1.2)
    while not connection.received.empty():
        connection.received.get_nowait()
    RING.add(LogLine(1.0, "chutes", "info", "too quiet"))
    RING.add(LogLine(1.0, "chutes", "error", "loud"))
    live = await connection.next("live")
    assert [line.message for line in live.log.lines] == ["loud"]


async def test_detections_and_progress_come_to_a_controller_that_wants_them(world: World) -> None:
    async def analyze(request: Any, _: Any) -> AsyncIterator[Any]:
        found = airshark_pb2.SubscribeAnalyzerResponse()
        found.detection.update({"event": "begin", "device": "microwave"})
        yield airshark_pb2.SubscribeAnalyzerResponse(synced=stream_pb2.Synced())
        yield found
        await asyncio.Event().wait()

    async def watch(request: Any, _: Any) -> AsyncIterator[Any]:
        progress = changes_pb2.Progress(time=1.0, message=f"Calling step of {request.change_id}")
        yield changes_pb2.WatchChangeResponse(progress=progress)
        yield changes_pb2.WatchChangeResponse(ended=ended(request.change_id))

    world.doubles.replies["paradrop.airshark.v1.AirsharkService.SubscribeAnalyzer"] = analyze
    world.doubles.replies["paradrop.chutes.v1.ChangeService.WatchChange"] = watch
    async with world.doubles.serving_one("airshark", world.settings):
        await world.provision()
        connection = await world.controller.connected()
        wanted = pb.Subscription(detections=True, progress=True)
        await connection.outgoing.put(pb.ConnectResponse(subscription=wanted))
        live = await connection.next("live")
        assert live.detection.detection["device"] == "microwave"
        world.ended = [ended(4)]
        live = await connection.next("live")
        assert (live.progress.change_id, live.progress.progress.message) == (4, "Calling step of 4")


@pytest.mark.thorough
async def test_tries_grow_rarer_and_nodes_do_not_come_back_in_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "INITIAL_BACKOFF_S", 0.2)
    monkeypatch.setattr(link, "MAX_BACKOFF_S", 0.8)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"grpc://127.0.0.1:{nobody.getsockname()[1]}"
        tried: list[list[float]] = [[] for _ in range(4)]

        class Counted(link.Link):
            def __init__(self, number: int, database: Database) -> None:
                nothing: Any = None
                sources = Sources({}, tmp_path, nothing, nothing, nothing)
                around = link.Surroundings(sources, Outbox(database), Credentials())
                super().__init__(Provision(address, "", f"r{number}", TOKEN), around)
                self._number = number

            async def _try(self) -> Any:
                tried[self._number].append(asyncio.get_running_loop().time())
                return await super()._try()

        files = [tmp_path / f"{number}.sqlite3" for number in range(4)]
        databases = [await asyncio.to_thread(Database, file, MIGRATIONS) for file in files]
        tasks = [asyncio.create_task(Counted(*one).run()) for one in enumerate(databases)]
        await asyncio.sleep(3.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for database in databases:
            await asyncio.to_thread(database.close)
    for times in tried:
        # Pauses of 0.1 to 0.2 s, twice that, and 0.4 to 0.8 s from then on.
        assert 5 <= len(times) <= 12
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert pauses[0] < min(pauses[2:])
        assert min(pauses[2:]) >= 0.4
    thirds = sorted(times[3] for times in tried)
    assert thirds[-1] - thirds[0] > 0.02


@pytest.mark.usefixtures("impatient")
async def test_a_refused_node_says_so_and_does_not_knock_all_the_time(world: World) -> None:
    reply = await world.provision(token="wrong")
    assert not reply.http_connected
    await world.until("CREDENTIALS_REFUSED")
    # gRPC may lose the words of the first refusal; then the node asks once more.
    assert world.controller.refused in (1, 2)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await world.stub.StartUpdate(node_pb2.StartUpdateRequest(), metadata=world.metadata, timeout=20)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    issues = await world.stub.ListIssues(node_pb2.ListIssuesRequest(), metadata=world.metadata)
    (issue,) = [issue for issue in issues.issues if issue.id == "controller-unreachable"]
    assert "does not know the id and token" in issue.message
    told = await world.told()
    assert (told.state, told.reason) == (told.STATE_DISCONNECTED, "CREDENTIALS_REFUSED")
    file = world.settings.home / "node" / "provision.json"
    assert (file.stat().st_mode & 0o777, b"wrong" in file.read_bytes()) == (0o600, True)


async def test_a_node_without_a_controller_says_so(world: World) -> None:
    told = await world.told()
    assert (told.address, told.state, told.reason) == ("", told.STATE_UNPROVISIONED, "")


@pytest.mark.usefixtures("impatient")
async def test_what_is_no_controller_is_told_apart_from_silence(world: World) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port, world.port = world.port, silent.getsockname()[1]
        await world.provision()
        assert "does not answer" in (await world.until("CONTROLLER_UNREACHABLE")).message
    async with grpc_server_without_services() as world.port:
        await world.provision()
        await world.until("CONTROLLER_INCOMPATIBLE")
    world.port = port
    await world.provision()
    connection = await world.controller.connected()
    await connection.outgoing.put(None)
    assert (await world.controller.connected()).hello.node_id == "r1"


@asynccontextmanager
async def grpc_server_without_services() -> AsyncIterator[int]:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)

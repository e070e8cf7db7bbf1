"""WebSockets through Envoy and the bridge."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from socket import SHUT_RDWR, create_connection
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from paradrop.airshark.v1 import airshark_pb2
from paradrop.chutes.v1 import changes_pb2, chutes_pb2
from paradrop.network.v1 import network_pb2
from paradrop.node.v1 import node_pb2
from paradrop.type.v1 import stream_pb2
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway.bridge import app
from services.common.errors import NotFound, NotImplementedYet, PermissionDenied, Unavailable
from tests.gateway.conftest import ORIGIN, Gateway, basic, make_settings, run_gateway

pytestmark = pytest.mark.gateway

WATCH = "paradrop.chutes.v1.ChangeService.WatchChange"
LOGS = "paradrop.chutes.v1.ChuteService.StreamLogs"
STATUS = "paradrop.node.v1.NodeService.GetStatus"
HOSTAPD = "/api/v1/chutes/web/networks/wifi/hostapd_control/ws"
END = stream_pb2.End(status=status_pb2.Status())
RPCS = {
    "/ws/changes/1/stream": WATCH,
    "/sockjs/logs/web": LOGS,
    "/sockjs/logs/web/websocket": LOGS,
    "/sockjs/logs/web/123/abc/websocket": LOGS,
    "/ws/chute_logs/web": LOGS,
    "/sockjs/status": STATUS,
    "/sockjs/status/websocket": STATUS,
    "/ws/paradrop_logs": "paradrop.node.v1.NodeService.StreamLogs",
    "/ws/airshark/spectrum": "paradrop.airshark.v1.AirsharkService.SubscribeRaw",
    "/ws/airshark/analyzer": "paradrop.airshark.v1.AirsharkService.SubscribeAnalyzer",
    HOSTAPD: "paradrop.network.v1.NetworkService.ControlHostapd",
}


def open_socket(gateway: Gateway, path: str, headers: dict[str, str] | None = None) -> ClientConnection:
    headers = gateway.bearer if headers is None else headers
    return connect(f"ws://{gateway.address}{path}", additional_headers=headers, open_timeout=10, proxy=None)


def refused(gateway: Gateway, path: str, headers: dict[str, str] | None = None) -> Any:
    with pytest.raises(InvalidStatus) as raised:
        open_socket(gateway, path, headers).__enter__()
    return raised.value.response


def read_all(socket: ClientConnection) -> list[Any]:
    return list(socket)


def progress(message: str) -> changes_pb2.WatchChangeResponse:
    return changes_pb2.WatchChangeResponse(progress=changes_pb2.Progress(time=1795335311.42, message=message))


class TestChange:
    def test_a_finished_change_is_replayed_and_closed_cleanly(self, gateway: Gateway) -> None:
        gateway.doubles.replies[WATCH] = [
            progress("Calling getHostConfig"),
            changes_pb2.WatchChangeResponse(synced=stream_pb2.Synced()),
            changes_pb2.WatchChangeResponse(heartbeat=stream_pb2.Heartbeat()),
            progress("failed: no such image"),
            changes_pb2.WatchChangeResponse(ended=changes_pb2.Change(id=17, status="failed")),
            changes_pb2.WatchChangeResponse(end=END),
        ]

        with open_socket(gateway, "/ws/changes/17/stream") as socket:
            frames = [json.loads(frame) for frame in read_all(socket)]

        assert frames == [
            {"time": 1795335311.42, "message": "Calling getHostConfig"},
            {"time": 1795335311.42, "message": "failed: no such image"},
        ]
        assert socket.close_code == 1000
        assert gateway.doubles.last.request.change_id == 17

    def test_new_lines_arrive_as_they_come(self, gateway: Gateway) -> None:
        go_on = asyncio.Event()

        async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
            yield progress("first")
            await go_on.wait()
            yield progress("second")

        gateway.doubles.replies[WATCH] = talk

        with open_socket(gateway, "/ws/changes/1/stream") as socket:
            assert "first" in socket.recv(5)
            gateway.loop.call_soon_threadsafe(go_on.set)
            assert "second" in socket.recv(5)
            assert read_all(socket) == []

    @pytest.mark.parametrize("change", ["abc", "-1", "1.5", "99999999999", "%32x", "²"])
    def test_an_id_that_is_no_number_is_404(self, gateway: Gateway, change: str) -> None:
        response = refused(gateway, f"/ws/changes/{change}/stream")

        assert response.status_code == 404
        assert json.loads(response.body)["details"][0]["reason"] == "CHANGE_NOT_FOUND"
        assert not gateway.doubles.calls

    def test_an_end_with_a_reason_is_told(self, gateway: Gateway) -> None:
        reason = "the service stops " + "é" * 200
        end = stream_pb2.End(status=status_pb2.Status(code=14, message=reason))
        gateway.doubles.replies[WATCH] = [progress("one"), changes_pb2.WatchChangeResponse(end=end)]

        with open_socket(gateway, "/ws/changes/1/stream") as socket:
            assert len(read_all_until_closed(socket)) == 1

        assert socket.close_code == 1011
        assert socket.close_reason.startswith("the service stops é")

    def test_a_service_that_goes_is_told(self, gateway: Gateway) -> None:
        async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
            yield progress("one")
            raise Unavailable("The engine is gone.")

        gateway.doubles.replies[WATCH] = talk

        with open_socket(gateway, "/ws/changes/1/stream") as socket:
            assert len(read_all_until_closed(socket)) == 1

        assert (socket.close_code, socket.close_reason) == (1012, "The engine is gone.")


def read_all_until_closed(socket: ClientConnection) -> list[Any]:
    frames = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            frames.append(socket.recv(5))
    return frames


class TestLogs:
    @pytest.mark.parametrize("path", [path for path, rpc in RPCS.items() if rpc == LOGS])
    def test_a_line_is_one_object(self, gateway: Gateway, path: str) -> None:
        lines = [
            chutes_pb2.LogLine(
                service="main",
                timestamp=Timestamp(seconds=1485791183, nanos=9397536),
                message='é "quoted"\ttab',
            ),
            chutes_pb2.LogLine(service="main", timestamp=Timestamp(seconds=1485791184), message=""),
        ]
        gateway.doubles.replies[LOGS] = [
            chutes_pb2.StreamLogsResponse(lines=chutes_pb2.LogLines(lines=lines)),
            chutes_pb2.StreamLogsResponse(synced=stream_pb2.Synced()),
        ]

        with open_socket(gateway, path) as socket:
            frames = [json.loads(frame) for frame in read_all(socket)]

        assert frames == [
            {"service": "main", "timestamp": "2017-01-30T15:46:23.009397536Z", "message": 'é "quoted"\ttab'},
            {"service": "main", "timestamp": "2017-01-30T15:46:24.000000000Z", "message": ""},
        ]
        request = gateway.doubles.last.request
        assert (request.chute, request.tail, request.follow) == ("web", 200, True)

    def test_lost_lines_are_told(self, gateway: Gateway) -> None:
        line = chutes_pb2.LogLine(service="main", message="after")
        gateway.doubles.replies[LOGS] = [
            chutes_pb2.StreamLogsResponse(lines=chutes_pb2.LogLines(lines=[line]), dropped_count=12)
        ]

        with open_socket(gateway, "/sockjs/logs/web") as socket:
            frames = [json.loads(frame) for frame in read_all(socket)]

        assert "12 lines" in frames[0]["message"]
        assert frames[0]["timestamp"].endswith("Z")
        assert frames[1]["message"] == "after"

    def test_an_unknown_chute_is_404(self, gateway: Gateway) -> None:
        gateway.doubles.replies[LOGS] = NotFound("none", reason="CHUTE_NOT_FOUND", chute="web")

        response = refused(gateway, "/sockjs/logs/web")

        assert response.status_code == 404
        assert json.loads(response.body)["details"][0]["metadata"] == {"chute": "web"}

    def test_a_silent_stream_is_accepted(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.bridge.sockets.FIRST_MESSAGE_TIMEOUT_S", 0.2)
        go_on = asyncio.Event()

        async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
            await go_on.wait()
            line = chutes_pb2.LogLine(service="main", message="late")
            yield chutes_pb2.StreamLogsResponse(lines=chutes_pb2.LogLines(lines=[line]))

        gateway.doubles.replies[LOGS] = talk

        with open_socket(gateway, "/sockjs/logs/web") as socket:
            gateway.loop.call_soon_threadsafe(go_on.set)
            assert "late" in socket.recv(5)


class TestStatus:
    def test_each_refresh_is_answered(self, gateway: Gateway) -> None:
        status = node_pb2.GetStatusResponse(cpu_load=[17, 28])
        status.mem.total = 2065195008
        status.disk["/"].total = 5
        status.network["eth0"].isup = True
        gateway.doubles.replies[STATUS] = status

        with open_socket(gateway, "/sockjs/status") as socket:
            socket.send("hello")
            socket.send("refresh")
            first = json.loads(socket.recv(5))
            socket.send("refresh")
            second = json.loads(socket.recv(5))
            with pytest.raises(TimeoutError):
                socket.recv(0.2)

        assert first == second
        assert first["cpu_load"] == [17, 28]
        assert first["mem"]["total"] == 2065195008
        assert first["disk"]["/"] == {"total": 5, "used": 0}
        assert first["network"]["eth0"]["isup"] is True


class TestOthers:
    def test_the_nodes_log_is_plain_text(self, gateway: Gateway) -> None:
        lines = node_pb2.LogLines(lines=[node_pb2.LogLine(message="one"), node_pb2.LogLine(message="two")])
        gateway.doubles.replies[RPCS["/ws/paradrop_logs"]] = [node_pb2.StreamLogsResponse(lines=lines)]

        with open_socket(gateway, "/ws/paradrop_logs") as socket:
            assert read_all(socket) == ["one", "two"]

    def test_samples_are_binary(self, gateway: Gateway) -> None:
        batch = airshark_pb2.SampleBatch(interface="wlan0", data=b"\x02\x00\x4c" * 500)
        gateway.doubles.replies[RPCS["/ws/airshark/spectrum"]] = [
            airshark_pb2.SubscribeRawResponse(synced=stream_pb2.Synced()),
            airshark_pb2.SubscribeRawResponse(batch=batch),
        ]

        with open_socket(gateway, "/ws/airshark/spectrum") as socket:
            assert read_all(socket) == [batch.data]

    def test_detections_are_json(self, gateway: Gateway) -> None:
        detection = Struct()
        detection.update({"type": "microwave", "channels": [1, 6]})
        gateway.doubles.replies[RPCS["/ws/airshark/analyzer"]] = [
            airshark_pb2.SubscribeAnalyzerResponse(detection=detection)
        ]

        with open_socket(gateway, "/ws/airshark/analyzer") as socket:
            assert [json.loads(frame) for frame in read_all(socket)] == [
                {"type": "microwave", "channels": [1, 6]}
            ]

    def test_hostapd_speaks_both_ways(self, gateway: Gateway) -> None:
        async def control(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
            first = await anext(aiter(requests))
            assert (first.target.chute, first.target.network) == ("web", "wifi")
            yield network_pb2.ControlHostapdResponse(synced=stream_pb2.Synced())
            async for request in requests:
                yield network_pb2.ControlHostapdResponse(datagram=b"re: " + request.datagram)

        gateway.doubles.replies[RPCS[HOSTAPD]] = control

        with open_socket(gateway, HOSTAPD) as socket:
            socket.send("PING")
            assert socket.recv(5) == "re: PING"
            socket.send(b"STATUS")
            assert socket.recv(5) == "re: STATUS"


@pytest.mark.parametrize("path", RPCS)
class TestEverySocket:
    def test_reaches_its_rpc(self, gateway: Gateway, path: str) -> None:
        bearer = gateway.bearer
        with open_socket(gateway, path, bearer):
            pass

        assert gateway.doubles.last.rpc == RPCS[path]
        assert gateway.doubles.last.metadata["authorization"] == bearer["authorization"]

    @pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer None"}, basic(password="wrong")])
    def test_needs_credentials(self, gateway: Gateway, path: str, headers: dict[str, str]) -> None:
        response = refused(gateway, path, headers)

        assert response.status_code == 401
        assert response.headers["www-authenticate"] == 'Basic realm="Login Required"'
        assert not gateway.doubles.calls

    def test_takes_basic(self, gateway: Gateway, path: str) -> None:
        with open_socket(gateway, path, basic()):
            pass

        assert gateway.doubles.last.metadata["authorization"].startswith("Bearer ey")

    def test_what_is_not_there_yet_says_so(self, gateway: Gateway, path: str) -> None:
        gateway.doubles.replies[RPCS[path]] = NotImplementedYet("later")

        response = refused(gateway, path)

        assert response.status_code == 501
        assert response.headers["content-type"] == "application/json"
        assert json.loads(response.body)["details"][0]["reason"] == "NOT_IMPLEMENTED_YET"

    @pytest.mark.parametrize(
        ("error", "status"), [(PermissionDenied("x"), 403), (NotFound("x"), 404), (Unavailable("x"), 503)]
    )
    def test_a_refusal_is_an_http_status(
        self, gateway: Gateway, path: str, error: Exception, status: int
    ) -> None:
        gateway.doubles.replies[RPCS[path]] = error

        assert refused(gateway, path).status_code == status

    def test_a_page_of_elsewhere_is_refused(self, gateway: Gateway, path: str) -> None:
        for origin in ("https://evil.example", "null"):
            response = refused(gateway, path, {**gateway.bearer, "origin": origin})
            assert response.status_code == 403
            assert json.loads(response.body)["details"][0]["reason"] == "ORIGIN_NOT_ALLOWED"
        assert not gateway.doubles.calls
        for origin in (ORIGIN, f"http://{gateway.address}"):
            with open_socket(gateway, path, {**gateway.bearer, "origin": origin}):
                pass

    def test_without_an_upgrade_says_what_is_wanted(self, gateway: Gateway, path: str) -> None:
        answer = gateway.request("GET", path)

        assert (answer.status, answer.reason) == (426, "UPGRADE_REQUIRED")
        assert gateway.request("GET", path, token=False).status == 401


@pytest.mark.parametrize("path", ["/ws/none", "/sockjs/none", "/ws/changes/1", "/ws/"])
def test_an_unknown_socket_is_404(gateway: Gateway, path: str, caplog: pytest.LogCaptureFixture) -> None:
    assert refused(gateway, path).status_code == 404
    # What a client asks in vain is no trouble of the node.
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_the_rpc_ends_with_its_reader(gateway: Gateway, ending: str) -> None:
    ended = asyncio.Event()

    async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
        try:
            yield progress("one")
            await asyncio.Event().wait()
        finally:
            ended.set()

    gateway.doubles.replies[WATCH] = talk
    with open_socket(gateway, "/ws/changes/1/stream") as socket:
        socket.recv(5)
        if ending == "reset":
            socket.socket.shutdown(SHUT_RDWR)

    gateway.run(asyncio.wait_for(ended.wait(), 5))


def test_a_close_takes_no_second(gateway: Gateway) -> None:
    gateway.doubles.replies[WATCH] = [progress("one")]
    began_s = time.monotonic()

    for _ in range(3):
        with open_socket(gateway, "/ws/changes/1/stream") as socket:
            read_all(socket)

    assert time.monotonic() - began_s < 1.5


def test_a_reader_that_stops_reading_holds_up_the_service(gateway: Gateway) -> None:
    sent = 0

    async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
        nonlocal sent
        while True:
            yield progress("x" * 10_000)
            sent += 1

    gateway.doubles.replies[WATCH] = talk
    with open_socket(gateway, "/ws/changes/1/stream") as socket:
        before = -1
        while before != sent:
            before = sent
            time.sleep(0.3)
        socket.socket.shutdown(SHUT_RDWR)

    assert sent < 1500


def test_a_frame_that_is_too_large_closes(gateway: Gateway) -> None:
    async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
        yield progress("one")
        await asyncio.Event().wait()

    gateway.doubles.replies[WATCH] = talk

    with open_socket(gateway, "/ws/changes/1/stream") as socket:
        socket.send("x" * 100_000)
        read_all_until_closed(socket)

    assert socket.close_code == 1009


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr(app, "PING_INTERVAL_S", 0.3)
    monkeypatch.setattr(app, "PING_TIMEOUT_S", 0.3)
    yield from run_gateway(make_settings(tmp_path))


def test_a_reader_that_answers_no_ping_is_given_up(impatient: Gateway) -> None:
    ended = asyncio.Event()

    async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
        try:
            yield progress("one")
            await asyncio.Event().wait()
        finally:
            ended.set()

    impatient.doubles.replies[WATCH] = talk
    head = f"GET /ws/changes/1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {impatient.token}\r\n"
    head += "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    head += "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with create_connection((impatient.settings.listen_host, impatient.settings.listen_port)) as silent:
        silent.sendall(head.encode())
        assert silent.recv(100).startswith(b"HTTP/1.1 101")

        impatient.run(asyncio.wait_for(ended.wait(), 5))

    impatient.doubles.replies[WATCH] = talk
    with open_socket(impatient, "/ws/changes/1/stream") as answering:
        answering.recv(5)
        with pytest.raises(TimeoutError):
            answering.recv(1.5)


def test_the_bridge_itself_asks_for_a_token(gateway: Gateway) -> None:
    """Whoever reaches its socket past Envoy is not let in either."""
    from websockets.sync.client import unix_connect

    with pytest.raises(InvalidStatus) as raised:
        unix_connect(
            gateway.settings.bridge_address.removeprefix("unix:"), "ws://node/ws/changes/1/stream"
        ).__enter__()

    assert raised.value.response.status_code == 401
    assert Path(gateway.settings.bridge_address.removeprefix("unix:")).stat().st_mode & 0o777 == 0o600

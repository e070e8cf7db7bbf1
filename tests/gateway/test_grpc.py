"""gRPC and gRPC-Web pass through the same port."""

import base64
import re
import struct

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from paradrop.auth.v1 import auth_pb2, auth_pb2_grpc
from paradrop.chutes.v1 import (
    changes_pb2,
    changes_pb2_grpc,
    chutes_pb2,
    chutes_pb2_grpc,
    uploads_pb2,
    uploads_pb2_grpc,
)
from paradrop.network.v1 import network_pb2, network_pb2_grpc
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from services.common.errors import NotFound
from tests.gateway.conftest import Gateway, basic

pytestmark = pytest.mark.gateway

CHUTES = "paradrop.chutes.v1.ChuteService"
PATH = f"/{CHUTES}/GetChute"


@pytest.fixture
def channel(gateway: Gateway):
    with grpc.insecure_channel(gateway.address) as channel:
        yield channel


@pytest.fixture
def metadata(gateway: Gateway) -> tuple[tuple[str, str], ...]:
    return tuple(gateway.bearer.items())


def test_a_call(gateway: Gateway, channel: grpc.Channel, metadata) -> None:
    gateway.doubles.replies[f"{CHUTES}.GetChute"] = chutes_pb2.GetChuteResponse(
        chute=chutes_pb2.Chute(name="web")
    )

    reply = chutes_pb2_grpc.ChuteServiceStub(channel).GetChute(
        chutes_pb2.GetChuteRequest(chute="web"), metadata=metadata
    )

    assert reply.chute.name == "web"
    assert gateway.doubles.last.request.chute == "web"


def test_a_message_that_cannot_be_read_is_refused_with_a_reason(
    gateway: Gateway, channel: grpc.Channel, metadata
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(PATH)(b"\xff", metadata=metadata)

    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error.value).details[0].Unpack(info)
    assert (error.value.code(), info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    assert not gateway.doubles.calls


def test_every_service_answers(gateway: Gateway, channel: grpc.Channel, metadata) -> None:
    auth_pb2_grpc.AuthServiceStub(channel).ListUsers(auth_pb2.ListUsersRequest(), metadata=metadata)
    network_pb2_grpc.NetworkServiceStub(channel).ListDevices(
        network_pb2.ListDevicesRequest(), metadata=metadata
    )
    node_pb2_grpc.NodeServiceStub(channel).GetPdid(node_pb2.GetPdidRequest(), metadata=metadata)

    assert [call.rpc.rpartition(".")[2] for call in gateway.doubles.calls] == [
        "ListUsers",
        "ListDevices",
        "GetPdid",
    ]


def test_an_error_keeps_its_details(gateway: Gateway, channel: grpc.Channel, metadata) -> None:
    gateway.doubles.replies[f"{CHUTES}.GetChute"] = NotFound("none", reason="CHUTE_NOT_FOUND", chute="web")

    with pytest.raises(grpc.RpcError) as raised:
        chutes_pb2_grpc.ChuteServiceStub(channel).GetChute(chutes_pb2.GetChuteRequest(), metadata=metadata)

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(raised.value).details[0].Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("CHUTE_NOT_FOUND", {"chute": "web"})


@pytest.mark.parametrize("credentials", [{}, {"authorization": "Bearer None"}, basic(password="wrong")])
def test_without_a_token_it_is_unauthenticated(
    gateway: Gateway, channel: grpc.Channel, credentials: dict[str, str]
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        chutes_pb2_grpc.ChuteServiceStub(channel).ListChutes(
            chutes_pb2.ListChutesRequest(), metadata=tuple(credentials.items())
        )

    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "token" in raised.value.details()
    assert "{" not in raised.value.details()
    assert not gateway.doubles.calls


def test_basic_works_for_grpc_too(gateway: Gateway, channel: grpc.Channel) -> None:
    chutes_pb2_grpc.ChuteServiceStub(channel).ListChutes(
        chutes_pb2.ListChutesRequest(), metadata=tuple(basic().items())
    )

    assert gateway.doubles.last.rpc == f"{CHUTES}.ListChutes"


def test_a_login_needs_no_token(gateway: Gateway, channel: grpc.Channel) -> None:
    auth_pb2_grpc.AuthServiceStub(channel).LoginLocal(auth_pb2.LoginLocalRequest(username="al"))

    assert gateway.doubles.last.request.username == "al"
    assert not gateway.doubles.checks


def test_health_needs_no_token(gateway: Gateway, channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)

    watch = stub.Watch(health_pb2.HealthCheckRequest(service="paradrop.node.v1.NodeService"))

    assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_envoys_own_protocol_is_not_offered(gateway: Gateway, channel: grpc.Channel, metadata) -> None:
    check = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")

    with pytest.raises(grpc.RpcError) as raised:
        check(b"", metadata=metadata)

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "{" not in raised.value.details()
    assert not gateway.doubles.checks


def test_a_stream_of_the_server(gateway: Gateway, channel: grpc.Channel, metadata) -> None:
    gateway.doubles.replies["paradrop.chutes.v1.ChangeService.WatchChange"] = [
        changes_pb2.WatchChangeResponse(progress=changes_pb2.Progress(time=1.5, message=str(number)))
        for number in range(100)
    ]

    stream = changes_pb2_grpc.ChangeServiceStub(channel).WatchChange(
        changes_pb2.WatchChangeRequest(change_id=1), metadata=metadata
    )

    assert [message.progress.message for message in stream] == [str(number) for number in range(100)]


def test_a_stream_of_the_client(gateway: Gateway, channel: grpc.Channel, metadata) -> None:
    piece = uploads_pb2.UploadChuteUpdateRequest()
    piece.content.data = b"x" * 100_000
    pieces = [uploads_pb2.UploadChuteUpdateRequest(chute="web"), *[piece] * 50]

    uploads_pb2_grpc.ChuteUploadServiceStub(channel).UploadChuteUpdate(iter(pieces), metadata=metadata)

    assert len(gateway.doubles.last.request) == 51
    assert gateway.doubles.last.request[0].chute == "web"


def test_the_clients_deadline_holds(gateway: Gateway, channel: grpc.Channel, metadata) -> None:
    import asyncio

    ended = asyncio.Event()

    async def never(_: object, __: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    gateway.doubles.replies[f"{CHUTES}.GetChute"] = never

    with pytest.raises(grpc.RpcError) as raised:
        chutes_pb2_grpc.ChuteServiceStub(channel).GetChute(
            chutes_pb2.GetChuteRequest(), metadata=metadata, timeout=0.3
        )

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    gateway.run(asyncio.wait_for(ended.wait(), 5))


def _frame(message: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(message)) + message


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_grpc_web(gateway: Gateway, text: bool) -> None:
    gateway.doubles.replies[f"{CHUTES}.GetChute"] = chutes_pb2.GetChuteResponse(
        chute=chutes_pb2.Chute(name="web")
    )
    content_type = "application/grpc-web-text" if text else "application/grpc-web+proto"
    body = _frame(chutes_pb2.GetChuteRequest(chute="web").SerializeToString())
    headers = {"content-type": content_type, "accept": content_type, "x-grpc-web": "1"}

    answer = gateway.request("POST", PATH, base64.b64encode(body) if text else body, headers)

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/grpc-web")
    # As text each frame is encoded by itself: padding may stand in the middle.
    reply = b"".join(map(base64.b64decode, re.findall(rb"[^=]+=*", answer.body))) if text else answer.body
    length = struct.unpack(">I", reply[1:5])[0]
    assert chutes_pb2.GetChuteResponse.FromString(reply[5 : 5 + length]).chute.name == "web"
    assert b"grpc-status:0" in reply[5 + length :]


def test_grpc_web_without_a_token(gateway: Gateway) -> None:
    answer = gateway.request(
        "POST", PATH, _frame(b""), {"content-type": "application/grpc-web+proto"}, token=False
    )

    assert answer.headers.get("grpc-status") == "16" or b"grpc-status:16" in answer.body


def test_json_on_a_grpc_path_is_nothing(gateway: Gateway) -> None:
    answer = gateway.send_json("POST", PATH, {"chute": "web"})

    assert (answer.status, answer.reason) == (404, "PATH_NOT_FOUND")
    assert not gateway.doubles.calls

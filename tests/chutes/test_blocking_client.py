"""The chute service as a blocking client sees it, with the fixtures of pytest-grpc around our own server."""

import tempfile
from collections.abc import Iterator

import grpc
import pytest
from paradrop.chutes.v1 import changes_pb2, chutes_pb2, uploads_pb2
from paradrop.chutes.v1.changes_pb2_grpc import ChangeServiceStub
from paradrop.chutes.v1.chutes_pb2_grpc import ChuteServiceStub
from paradrop.chutes.v1.uploads_pb2_grpc import ChuteUploadServiceStub

from tests.chutes.bench import Bench
from tests.chutes.client import TAR, refusal
from tests.chutes.served import serving_bench
from tests.support.aio_server import run_in_thread
from tests.support.engine import chute_tar, small_chute
from tests.support.publisher import Publisher

Metadata = list[tuple[str, str]]


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    return Publisher(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def grpc_addr(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    bench = Bench(tmp_path_factory.mktemp("node"))
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        address = f"unix:{folder}/chutes.sock"
        with run_in_thread(serving_bench(bench, publisher, address), address):
            yield address


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[ChuteServiceStub]:
    return ChuteServiceStub


@pytest.fixture(scope="module")
def metadata(publisher: Publisher) -> Metadata:
    return [("authorization", f"Bearer {publisher.token('admin')}")]


@pytest.fixture(scope="module")
def changes(grpc_channel: grpc.Channel) -> ChangeServiceStub:
    return ChangeServiceStub(grpc_channel)


@pytest.fixture(scope="module")
def installed(grpc_channel: grpc.Channel, changes: ChangeServiceStub, metadata: Metadata) -> str:
    request = uploads_pb2.UploadChuteRequest()
    request.content.content_type, request.content.data = TAR, chute_tar(small_chute("web"))
    change_id = ChuteUploadServiceStub(grpc_channel).UploadChute(iter([request]), metadata=metadata).change_id
    _end(changes, change_id, metadata)
    return "web"


def _end(changes: ChangeServiceStub, change_id: int, metadata: Metadata) -> None:
    watch = changes.WatchChange(changes_pb2.WatchChangeRequest(change_id=change_id), metadata=metadata)
    events = list(watch)
    assert events[-1].HasField("end")
    assert events[-2].ended.status == "succeeded", events


def test_an_uploaded_chute_is_listed(installed: str, grpc_stub: ChuteServiceStub, metadata: Metadata) -> None:
    chutes = grpc_stub.ListChutes(chutes_pb2.ListChutesRequest(), metadata=metadata).chutes
    assert [(chute.name, chute.state) for chute in chutes] == [(installed, "running")]


def test_a_chute_stops_and_starts(
    installed: str, grpc_stub: ChuteServiceStub, changes: ChangeServiceStub, metadata: Metadata
) -> None:
    request = chutes_pb2.StopChuteRequest(chute=installed)
    _end(changes, grpc_stub.StopChute(request, metadata=metadata).change_id, metadata)
    chute = grpc_stub.GetChute(chutes_pb2.GetChuteRequest(chute=installed), metadata=metadata).chute
    assert (chute.state, chute.services["main"].state) == ("stopped", "missing")
    start = chutes_pb2.StartChuteRequest(chute=installed)
    _end(changes, grpc_stub.StartChute(start, metadata=metadata).change_id, metadata)


def test_logs_end_by_themselves(installed: str, grpc_stub: ChuteServiceStub, metadata: Metadata) -> None:
    request = chutes_pb2.StreamLogsRequest(chute=installed)
    kinds = [event.WhichOneof("event") for event in grpc_stub.StreamLogs(request, metadata=metadata)]
    assert kinds == ["synced", "end"]


def test_a_follower_that_leaves_frees_its_stream(
    installed: str, grpc_stub: ChuteServiceStub, metadata: Metadata
) -> None:
    request = chutes_pb2.StreamLogsRequest(chute=installed, follow=True)
    stream = grpc_stub.StreamLogs(request, metadata=metadata)
    assert next(stream).HasField("synced")
    stream.cancel()
    assert grpc_stub.ListChutes(chutes_pb2.ListChutesRequest(), metadata=metadata).chutes


def test_errors_carry_a_reason(grpc_stub: ChuteServiceStub, metadata: Metadata) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        grpc_stub.StopChute(chutes_pb2.StopChuteRequest(chute="nobody"), metadata=metadata)
    assert refusal(raised.value) == ("NOT_FOUND", "CHUTE_NOT_FOUND", "")


def test_a_call_without_a_token_is_refused(grpc_stub: ChuteServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        grpc_stub.ListChutes(chutes_pb2.ListChutesRequest())
    assert refusal(raised.value)[0] == "UNAUTHENTICATED"

"""Network, airshark and node the way a blocking controller drives them, with the fixtures of pytest-grpc.

Auth and chutes have files of their own, because more of them is driven so.
"""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import grpc
import pytest
from paradrop.airshark.v1 import airshark_pb2, airshark_pb2_grpc
from paradrop.network.v1 import network_pb2, network_pb2_grpc
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from tests.support.aio_server import run_in_thread
from tests.support.identity import Issuer
from tests.support.settings import settings_in

STUBS = {
    "network": network_pb2_grpc.NetworkServiceStub,
    "airshark": airshark_pb2_grpc.AirsharkServiceStub,
    "node": node_pb2_grpc.NodeServiceStub,
}
Metadata = list[tuple[str, str]]
TIMEOUT_S = 30

of_network, of_airshark, of_node = (pytest.mark.parametrize("part", [part], indirect=True) for part in STUBS)


@pytest.fixture(scope="module", params=STUBS)
def part(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def served(part: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of the service, and a token of its administrator."""
    with settings_in(tmp_path_factory.mktemp(part)) as settings:
        settings.prepare()
        token = Issuer(settings.public_dir).token()
        settings.service_token_file.write_text(token)
        running = import_module(f"services.{part}.app").running(settings)
        with run_in_thread(running, settings.addresses[part]) as address:
            yield address, token


@pytest.fixture(scope="module")
def grpc_addr(served: tuple[str, str]) -> str:
    return served[0]


@pytest.fixture(scope="module")
def grpc_stub_cls(part: str) -> Any:
    return STUBS[part]


@pytest.fixture(scope="module")
def metadata(served: tuple[str, str]) -> Metadata:
    return [("authorization", f"Bearer {served[1]}")]


@of_network
def test_the_configuration_of_the_network_is_read(grpc_stub: Any, metadata: Metadata) -> None:
    request = network_pb2.GetHostConfigRequest()
    answer = grpc_stub.GetHostConfig(request, metadata=metadata, timeout=TIMEOUT_S)
    assert "lan" in answer.config
    listed = grpc_stub.ListDevices(network_pb2.ListDevicesRequest(), metadata=metadata, timeout=TIMEOUT_S)
    assert not listed.devices


@of_airshark
def test_a_source_is_chosen_and_its_samples_are_streamed(grpc_stub: Any, metadata: Metadata) -> None:
    scenario = "seconds: 1\ndevices:\n  - {device: cw, level_dbm: -50}\n"
    source = airshark_pb2.SourceSettings(kind=airshark_pb2.SOURCE_KIND_SIMULATED, scenario=scenario)
    request = airshark_pb2.SetSourceRequest(settings=source)
    grpc_stub.SetSource(request, metadata=metadata, timeout=TIMEOUT_S)
    stream = grpc_stub.SubscribeRaw(airshark_pb2.SubscribeRawRequest(), metadata=metadata, timeout=TIMEOUT_S)
    assert next(message.batch.data for message in stream if message.HasField("batch"))
    stream.cancel()


@of_node
def test_a_node_is_described_and_its_log_read_to_the_end(grpc_stub: Any, metadata: Metadata) -> None:
    features = grpc_stub.GetFeatures(node_pb2.GetFeaturesRequest(), metadata=metadata, timeout=TIMEOUT_S)
    assert features.features
    request = node_pb2.StreamLogsRequest(tail=10, stop_at_end=True)
    events = [
        message.WhichOneof("event")
        for message in grpc_stub.StreamLogs(request, metadata=metadata, timeout=TIMEOUT_S)
    ]
    assert events[-1] == "end"


def test_a_call_without_a_token_is_refused(part: str, grpc_stub: Any) -> None:
    calls = {
        "network": ("GetHostConfig", network_pb2.GetHostConfigRequest()),
        "airshark": ("GetSource", airshark_pb2.GetSourceRequest()),
        "node": ("GetHardware", node_pb2.GetHardwareRequest()),
    }
    rpc, request = calls[part]
    with pytest.raises(grpc.RpcError) as raised:
        getattr(grpc_stub, rpc)(request, timeout=TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED

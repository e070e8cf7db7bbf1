"""Drives the services whose work is not built yet the way a blocking controller does."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from paradrop.network.v1 import network_pb2, network_pb2_grpc

from services.network import app as network
from tests.support.aio_server import run_in_thread
from tests.support.identity import Issuer
from tests.support.settings import settings_in

SERVICES: list[Any] = [
    (
        "network",
        network,
        network_pb2_grpc.NetworkServiceStub,
        "ListDevices",
        network_pb2.ListDevicesRequest(),
    ),
]


@pytest.fixture(scope="module", params=SERVICES, ids=lambda param: f"{param[0]}-{param[3]}")
def service(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def tokens() -> list[str]:
    """The token that the running server accepts; set when it starts."""
    return []


@pytest.fixture(scope="module")
def grpc_addr(service: Any, tokens: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name, app = service[:2]
    with settings_in(tmp_path_factory.mktemp(name)) as settings:
        tokens[:] = [Issuer(settings.public_dir).token()]
        running: AbstractAsyncContextManager[None] = app.running(settings)
        with run_in_thread(running, settings.addresses[name]) as address:
            yield address


@pytest.fixture(scope="module")
def grpc_server(grpc_addr: str) -> str:
    """Stands for a server that is running already; pytest-grpc's own cannot run async servicers."""
    return grpc_addr


@pytest.fixture(scope="module")
def grpc_stub_cls(service: Any) -> Any:
    return service[2]


def _refusal(call: Any, request: Any, metadata: Any = None) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(request, metadata=metadata, timeout=10)
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(raised.value)
    assert status is not None
    assert status.details[0].Unpack(info)
    return raised.value.code(), info.reason


def test_a_blocking_client_is_told_what_is_not_there(service: Any, grpc_stub: Any, tokens: list[str]) -> None:
    _, _, _, rpc, request = service
    metadata = [("authorization", f"Bearer {tokens[0]}")]
    assert _refusal(getattr(grpc_stub, rpc), request, metadata) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "NOT_IMPLEMENTED_YET",
    )


def test_a_blocking_client_without_a_token_is_refused(service: Any, grpc_stub: Any) -> None:
    _, _, _, rpc, request = service
    assert _refusal(getattr(grpc_stub, rpc), request) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "CREDENTIALS_MISSING",
    )

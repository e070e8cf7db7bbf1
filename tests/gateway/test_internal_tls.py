"""Envoy, the bridge and the services on a network, where each shows the others a certificate."""

import json
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from paradrop.chutes.v1 import chutes_pb2, chutes_pb2_grpc
from websockets.sync.client import connect

from gateway.config import admin_socket
from services.auth.adapters.authority import Authority
from services.common.settings import SERVICES
from services.launcher.http import get
from services.launcher.probe import part_status
from tests.gateway.conftest import Gateway, basic, make_settings, run_gateway
from tests.gateway.doubles import as_part
from tests.support.node import free_port

pytestmark = pytest.mark.gateway

PARTS = (*SERVICES, "bridge", "gateway")
PRETENDED = "airshark"
"""The service that shows the certificate of another one."""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("authority")
    folders = [root / "tls" / name for name in PARTS]
    for folder in folders:
        folder.mkdir(parents=True)
    Authority(root, time.time).issue(folders)
    shutil.copytree(root / "tls" / "network", root / "tls" / PRETENDED, dirs_exist_ok=True)
    return root / "tls"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, tls: Path) -> Iterator[Gateway]:
    settings = make_settings(
        tmp_path_factory.mktemp("gateway"),
        addresses={name: f"127.0.0.1:{free_port()}" for name in SERVICES},
        bridge_address=f"127.0.0.1:{free_port()}",
        internal_tls=tls / "auth",
    )
    yield from run_gateway(settings)


def test_json_reaches_the_services(gateway: Gateway) -> None:
    reply = chutes_pb2.ListChutesResponse(chutes=[chutes_pb2.Chute(name="hello")])
    gateway.doubles.replies["paradrop.chutes.v1.ChuteService.ListChutes"] = reply
    answer = gateway.request("GET", "/api/v1/chutes/")
    assert answer.status == 200
    assert [chute["name"] for chute in answer.json] == ["hello"]


def test_passwords_reach_auth(gateway: Gateway) -> None:
    assert gateway.request("GET", "/api/v1/chutes/", None, basic(), token=False).status == 200
    wrong = basic(password="not this one")
    assert gateway.request("GET", "/api/v1/chutes/", None, wrong, token=False).status == 401


def test_grpc_passes_through(gateway: Gateway) -> None:
    with grpc.insecure_channel(gateway.address) as channel:
        chutes_pb2_grpc.ChuteServiceStub(channel).ListChutes(
            chutes_pb2.ListChutesRequest(), metadata=tuple(gateway.bearer.items())
        )


def test_pages_and_sockets_reach_the_bridge_and_it_the_services(gateway: Gateway) -> None:
    health = gateway.request("GET", "/healthz", token=False)
    states = health.json["services"]
    # Envoy and the bridge alike do not take one part for another.
    assert states.pop(PRETENDED) != "SERVING"
    assert set(states.values()) == {"SERVING"}
    address = f"ws://{gateway.address}/ws/changes/1/stream"
    with connect(address, additional_headers=gateway.bearer) as websocket:
        assert websocket.protocol.state.name == "OPEN"


def test_a_service_that_passes_for_another_gets_no_requests(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/api/v1/airshark/status")
    assert (answer.status, answer.reason) == (503, "SERVICE_UNAVAILABLE")


def test_the_bridge_refuses_who_shows_nothing(gateway: Gateway, tls: Path) -> None:
    host, _, port = gateway.settings.bridge_address.rpartition(":")
    request = b"GET /healthz HTTP/1.0\r\nhost: bridge\r\n\r\n"
    context = ssl.create_default_context(cafile=str(tls / "auth" / "ca.pem"))
    answers = []
    for wrap in (lambda plain: plain, lambda plain: context.wrap_socket(plain, server_hostname="bridge")):
        # A refusal comes as an alert, as a reset or as the end of the stream.
        with (
            suppress(ssl.SSLError, ConnectionError),
            socket.create_connection((host, int(port)), 10) as plain,
            wrap(plain) as connection,
        ):
            connection.sendall(request)
            answers.append(connection.recv(100))
    assert not any(b"HTTP" in answer for answer in answers)


@pytest.mark.parametrize("part", ["auth", "chutes", "bridge", "gateway"])
def test_health_checks_show_their_certificate(gateway: Gateway, part: str) -> None:
    found = part_status(part, as_part(gateway.settings, part))
    assert found.ok, found.detail


def test_renewed_certificates_are_used_without_a_restart(gateway: Gateway, tls: Path) -> None:
    folder = tls / "gateway"
    before = _serial(folder)
    assert _serials_of_envoy(gateway) >= {before}
    later = Authority(tls.parent, lambda: time.time() + 300 * 86400)
    assert later.issue([folder]) == ["gateway"]
    deadline = time.monotonic() + 20
    while before in _serials_of_envoy(gateway):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert _serials_of_envoy(gateway) >= {_serial(folder)}
    assert gateway.request("GET", "/api/v1/chutes/").status == 200


def _serial(folder: Path) -> int:
    return x509.load_pem_x509_certificate((folder / "part.pem").read_bytes()).serial_number


def _serials_of_envoy(gateway: Gateway) -> set[int]:
    """Returns the numbers of the certificates that Envoy shows and believes."""
    _, body = get(f"unix:{admin_socket(gateway.settings)}", "/certs")
    shown = [entry for each in json.loads(body)["certificates"] for entry in each.get("cert_chain", [])]
    return {int(entry["serial_number"], 16) for entry in shown}

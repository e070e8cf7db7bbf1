"""What clients of Paradrop 0.13 find at a node: the keys, JSON types and statuses of its own paths."""

import json
import os
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from grpc_health.v1 import health_pb2, health_pb2_grpc
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from services.common.access import ACCESS
from services.common.settings import load_settings
from tests.support.node import NodeProcess
from tests.support.shape import (
    HARDWARE,
    NUMBER,
    PROVISION,
    SETTINGS,
    SOFTWARE,
    STATUS,
    STATUS_CARD,
    TELEMETRY,
    Each,
    faults,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("node")
    # None of these paths needs an engine.
    node = NodeProcess(folder / "home", environment={"DOCKER_HOST": f"unix://{folder}/no-engine.sock"})
    node.start()
    node.login()
    yield node
    node.stop()


def get(node: NodeProcess, path: str) -> Any:
    answer = node.request("GET", f"/api/v1/{path}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), (path, answer)
    return answer.json


def post(node: NodeProcess, path: str, document: Any = None) -> Any:
    answer = node.request("POST", f"/api/v1/{path}", json_body=document)
    assert answer.status == 200, (path, answer)
    return answer.json


def socket(node: NodeProcess, path: str) -> ClientConnection:
    headers = {"Authorization": f"Bearer {node.token}"}
    return connect(f"ws://{node.target}{path}", additional_headers=headers)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("info/hardware", HARDWARE),
        ("info/software", SOFTWARE),
        ("info/environment", Each(str)),
        ("info/features", [str]),
        ("info/telemetry", TELEMETRY),
        ("config/pdid", {"pdid": str}),
        ("config/provision", PROVISION),
        ("config/settings", SETTINGS),
        ("config/sshKeys/root", [str]),
        ("changes/", [dict]),
    ],
)
def test_documents_have_their_keys_and_types(node: NodeProcess, path: str, shape: Any) -> None:
    assert list(faults(shape, get(node, path))) == []


def test_the_host_configuration_is_the_whole_document(node: NodeProcess) -> None:
    stored = get(node, "config/hostconfig")
    assert {"firewall", "lan", "wan", "wifi", "wifi-interfaces", "system", "telemetry", "zerotier"} == set(
        stored
    )
    assert stored["telemetry"] == {"enabled": True, "interval": 60}
    assert get(node, "config/new-config") == get(node, "config/new_config") == stored


def test_sections_of_pdconf_have_texts_and_ages(node: NodeProcess) -> None:
    documented = {"type": str, "name": str, "comment": str, "success": bool, "age": int}
    listed = get(node, "config/pdconf")
    reloaded = node.request("PUT", "/api/v1/config/pdconf").json
    for section in (*listed, *reloaded):
        assert list(faults(documented, section)) == []
    assert "__PARADROP__" in {section["comment"] for section in listed}


def test_sections_that_are_not_in_force_say_why_to_those_who_ask(node: NodeProcess) -> None:
    bare = {section["type"]: section for section in get(node, "config/pdconf")}
    for answer in (
        get(node, "config/pdconf?explain=true"),
        node.request("PUT", "/api/v1/config/pdconf", json_body={"explain": True}).json,
    ):
        for section in answer:
            assert section.keys() - bare[section["type"]].keys() == (
                set() if section["success"] else {"reason", "message"}
            )
        assert "HOST_NOT_MANAGED" in {section.get("reason") for section in answer}


def test_provisioning_answers_one_document_or_the_other(node: NodeProcess) -> None:
    wanted = {"routerId": "r1", "apitoken": "secret", "pdserver": UNREACHABLE, "wampRouter": None}
    told = post(node, "config/provision", wanted)
    assert told == {"provisioned": True, "httpConnected": False, "wampConnected": False}
    told = post(node, "config/provision", wanted)
    assert told == {"success": False, "message": "No change on the provision parameters"}
    provision = get(node, "config/provision")
    assert list(faults(PROVISION, provision)) == []
    assert provision == {
        "routerId": "r1", "pdserver": UNREACHABLE, "wampRouter": "wss://paradrop.org/ws",
        "provisioned": True, "httpConnected": False, "wampConnected": False,
    }  # fmt: skip
    assert get(node, "config/pdid") == {"pdid": "r1"}
    missing = node.request("POST", "/api/v1/config/provision", json_body={"routerId": "r2"})
    assert (missing.status, missing.reason) == (400, "PROVISION_INVALID")
    assert get(node, "config/pdid") == {"pdid": "r1"}
    # There is a controller, and it does not answer.
    started = node.request("POST", "/api/v1/config/startUpdate")
    assert (started.status, started.reason) == (503, "CONTROLLER_UNREACHABLE")


def test_ssh_keys_are_echoed_and_refused_with_a_message(node: NodeProcess) -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    key = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    path = "/api/v1/config/sshKeys/root"
    try:
        assert post(node, "config/sshKeys/root", {"key": key}) == {"key": key}
        assert key in get(node, "config/sshKeys/root")
        again = node.request("POST", path, json_body={"key": key})
        assert (again.status, again.json["message"]) == (409, "Key already exists.")
    finally:
        node.request("DELETE", path, json_body={"key": key})
    nobody = node.request("GET", "/api/v1/config/sshKeys/nobody-of-this-name")
    assert nobody.status == 404
    assert nobody.json["message"] == "No home directory found for user nobody-of-this-name"


def test_a_factory_reset_says_success_and_message(node: NodeProcess) -> None:
    told = post(node, "config/factoryReset", {"dry_run": True})
    assert told["success"] is True
    assert isinstance(told["message"], str)


@pytest.mark.parametrize("path", ["info", "info/", "config", "config/", "config/nothing", "info/Hardware"])
def test_other_paths_are_404(node: NodeProcess, path: str) -> None:
    assert node.request("GET", f"/api/v1/{path}").status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "info/hardware"), ("DELETE", "config/provision"), ("GET", "config/startUpdate")],
)
def test_other_methods_are_405_and_named(node: NodeProcess, method: str, path: str) -> None:
    answer = node.request(method, f"/api/v1/{path}")
    assert answer.status == 405
    assert method not in answer.headers["allow"]


def test_head_is_as_get_and_strangers_get_a_challenge(node: NodeProcess) -> None:
    assert node.request("HEAD", "/api/v1/info/hardware").status == 200
    stranger = node.request("GET", "/api/v1/info/hardware", token="")
    assert (stranger.status, stranger.headers["www-authenticate"]) == (401, 'Basic realm="Login Required"')


@pytest.mark.parametrize("path", ["/sockjs/status", "/sockjs/status/websocket", "/sockjs/status/a/b"])
def test_the_status_socket_answers_each_refresh_with_the_document(node: NodeProcess, path: str) -> None:
    with socket(node, path) as status:
        for sent in ("nonsense", "refresh", "refresh"):
            status.send(sent)
        for _ in range(2):
            told = json.loads(status.recv(timeout=5))
            for card in told["network"].values():
                # Cards without an address have none.
                card.update({name: "" for name in ("ipv4", "netmask") if name not in card})
            assert list(faults(STATUS, told)) == []
            assert set(STATUS_CARD) == set(next(iter(told["network"].values())))
            assert not [
                n for n in told["network"] if n in ("lo", "br-lan", "docker0") or n.startswith("veth")
            ]
        with pytest.raises(TimeoutError):
            status.recv(timeout=0.3)


def test_the_stream_of_a_change_ends_with_a_clean_close_and_can_be_read_again(node: NodeProcess) -> None:
    document = {"name": "__PARADROP__", "updateClass": "ROUTER", "updateType": "reboot"}
    told = post(node, "changes/", document)
    assert list(faults({"change_id": int}, told)) == []
    for _ in range(2):
        with socket(node, f"/ws/changes/{told['change_id']}/stream") as stream:
            # Iteration ends with a clean close, and raises after any other.
            messages = [json.loads(message) for message in stream]
        assert list(faults([{"time": NUMBER, "message": str}], messages)) == []
        assert messages[-1]["message"] == "Completed reboot operation on chute __PARADROP__: failure"


@pytest.mark.parametrize(
    "path",
    [
        "/ws/changes/999999/stream",
        "/ws/changes/word/stream",
        "/sockjs/logs/none",
        "/sockjs/logs/none/websocket",
        "/ws/chute_logs/none",
        "/api/v1/chutes/none/networks/x/hostapd_control/ws",
    ],
)
def test_sockets_of_what_is_not_there_are_404_at_the_handshake(node: NodeProcess, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused, socket(node, path):
        pass
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("path", ["/ws/paradrop_logs", "/ws/airshark/spectrum", "/ws/airshark/analyzer"])
def test_sockets_need_a_login(node: NodeProcess, path: str) -> None:
    with socket(node, path):
        pass
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{node.target}{path}"):
        pass
    assert refused.value.response.status_code == 401
    # Without an upgrade it is no socket, and nothing hangs.
    assert node.request("GET", path).status == 426


def test_the_log_socket_sends_plain_messages(node: NodeProcess) -> None:
    with socket(node, "/ws/paradrop_logs") as log:
        (node.home / "node" / "provision.json").chmod(0o644)
        post(node, "info/issues/secrets-readable/fix", {})
        line = log.recv(timeout=10)
    assert isinstance(line, str)
    assert "made private" in line
    assert not line.startswith("{")


def test_every_part_tells_the_health_of_each_of_its_services(node: NodeProcess) -> None:
    settings = load_settings(os.environ | node.environment | {"PARADROP_HOME": str(node.home)})
    asked = 0
    for name, methods in by_part().items():
        with grpc.insecure_channel(settings.addresses[name]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for service in ("", *methods):
                told = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
                assert told.status == health_pb2.HealthCheckResponse.SERVING, service
                asked += 1
            with pytest.raises(grpc.RpcError) as unknown:
                stub.Check(health_pb2.HealthCheckRequest(service="paradrop.Nothing"), timeout=5)
            assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    assert asked > 10


def by_part() -> dict[str, set[str]]:
    """Returns the gRPC services of each part, as the table of rights knows them."""
    found: dict[str, set[str]] = {}
    for method in ACCESS:
        service = method.split("/")[1]
        package = service.split(".")
        if package[0] == "paradrop" and package[1] not in ("controller", "process"):
            found.setdefault(package[1], set()).add(service)
    return found

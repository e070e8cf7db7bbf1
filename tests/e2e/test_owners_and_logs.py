"""Owners, a chute's own token and its output, over REST and WebSockets on a whole node."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.engine import BUSYBOX, chute_tar
from tests.support.node import PASSWORD, Answer, NodeProcess, running_node

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SCRIPT = "trap exit TERM; for i in 1 2 3; do echo $0 $i; sleep 0.1; done; while true; do sleep 0.2; done"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    with running_node(tmp_path_factory.mktemp("owners") / "home") as node:
        yield node


def user(node: NodeProcess, role: str) -> str:
    """Adds a user and returns its token."""
    name = f"u{uuid.uuid4().hex[:6]}"
    body = {"username": name, "password": PASSWORD, "role": f"ROLE_{role.upper()}"}
    assert node.request("POST", "/api/v1/users", json_body=body).status == 200
    login = {"username": name, "password": PASSWORD}
    return str(node.request("POST", "/api/v1/auth/local", json_body=login, token="").json["token"])


def tar(name: str) -> bytes:
    return chute_tar(
        {
            "paradrop.yaml": f"name: {name}\nservices:\n"
            + "".join(
                f"  {service}:\n    type: normal\n    command: {json.dumps(['sh', '-c', SCRIPT, service])}\n"
                for service in ("one", "two")
            ),
            "Dockerfile": f"FROM {BUSYBOX}\n",
        }
    )


def sent(node: NodeProcess, method: str, path: str, token: str, body: bytes | None = None) -> Answer:
    headers = {"Content-Type": "application/x-tar"} if body else None
    return node.request(method, path, body, headers, token=token)


def done(node: NodeProcess, answer: Answer) -> None:
    assert answer.status == 200, answer
    change = node.ended(answer.json["change_id"])
    assert change["status"] == "succeeded", change


@pytest.fixture(scope="module")
def author(node: NodeProcess) -> str:
    return user(node, "trusted")


@pytest.fixture(scope="module")
def chute(node: NodeProcess, author: str) -> str:
    name = f"own-{uuid.uuid4().hex[:6]}"
    done(node, sent(node, "POST", "/api/v1/chutes/", author, tar(name)))
    return name


def own_token(engine: docker.DockerClient, chute: str) -> str:
    variables = engine.containers.get(f"{chute}-one").attrs["Config"]["Env"]
    return next(text.split("=", 1)[1] for text in variables if text.startswith("PARADROP_API_TOKEN="))


def test_an_owner_is_kept_through_all_that_others_do(node: NodeProcess, author: str, chute: str) -> None:
    path = f"/api/v1/chutes/{chute}"
    owner = node.request("GET", path, token=author).json["owner"]
    assert (owner["domain"], owner["role"]) == ("localhost", "trusted")
    done(node, node.request("POST", f"{path}/restart"))
    done(node, node.request("POST", f"{path}/stop"))
    done(node, node.request("POST", f"{path}/start"))
    done(node, node.upload(tar(chute), "PUT", path))
    node.stop()
    node.start()
    node.login()
    assert node.request("GET", path).json["owner"] == owner
    # The one who installed it can still do everything with it, and nobody else of the same role can.
    done(node, node.request("POST", f"{path}/restart", token=author))
    stranger = user(node, "trusted")
    for method, below in (
        *(("GET", below) for below in ("", "/config", "/cache", "/usage", "/logs", "/usage/watch")),
        *(("POST", below) for below in ("/start", "/stop", "/restart")),
        *(("DELETE", below) for below in ("", "/token")),
    ):
        refused = node.request(method, path + below, token=stranger)
        assert (refused.status, refused.reason) == (403, "CHUTE_NOT_YOURS"), below
    assert sent(node, "PUT", path, stranger, tar(chute)).reason == "CHUTE_NOT_YOURS"
    reader = user(node, "user")
    assert node.request("POST", f"{path}/restart", token=reader).reason == "ROLE_TOO_LOW"
    listed = {one["name"]: one for one in node.request("GET", "/api/v1/chutes/", token=reader).json}
    assert listed[chute]["owner"] == owner
    assert node.request("GET", "/api/v1/chutes/", token=user(node, "guest")).reason == "ROLE_TOO_LOW"


def test_a_chutes_token_reads_the_chute_and_changes_with_its_containers(
    node: NodeProcess, author: str, chute: str, engine: docker.DockerClient
) -> None:
    other = f"other-{uuid.uuid4().hex[:6]}"
    done(node, node.upload(tar(other)))
    token = own_token(engine, chute)
    assert token != own_token(engine, other)
    path = f"/api/v1/chutes/{chute}"
    for below in ("", "/config", "/cache", "/usage", "/logs?tail=1"):
        assert node.request("GET", path + below, token=token).status == 200, below
        strange = node.request("GET", f"/api/v1/chutes/{other}{below}", token=token)
        assert (strange.status, strange.reason) == (403, "CHUTE_NOT_YOURS"), below
    assert [one["name"] for one in node.request("GET", "/api/v1/chutes/", token=token).json] == [chute]
    for method, forbidden in (
        *(("DELETE", below) for below in (path, f"{path}/token")),
        *(("GET", f"/api/v1/{below}") for below in ("changes/", "info/environment", "users")),
        *(("GET", f"/api/v1/{below}") for below in ("config/hostconfig", "airshark/status")),
        *(("POST", f"/api/v1/{below}") for below in ("changes/", "password/change")),
        ("POST", f"{path}/restart"),
    ):
        refused = node.request(method, forbidden, token=token)
        assert (refused.status, refused.reason) == (403, "CHUTE_TOKEN_NOT_ENOUGH"), forbidden
    headers = {"Authorization": f"Bearer {token}"}
    logs = f"ws://{node.target}/sockjs/logs"
    with connect(f"{logs}/{chute}", additional_headers=headers, proxy=None) as socket:
        assert json.loads(socket.recv(20))["service"] in ("one", "two")
    with pytest.raises(InvalidStatus) as refusal:
        connect(f"{logs}/{other}", additional_headers=headers, proxy=None).__enter__()
    assert refusal.value.response.status_code == 403
    done(node, node.request("POST", f"{path}/restart", token=author))
    assert node.request("GET", path, token=token).status == 401
    token = own_token(engine, chute)
    assert node.request("GET", path, token=token).status == 200
    assert node.request("DELETE", f"{path}/token", token=author).status == 200
    assert node.request("GET", path, token=token).status == 401
    done(node, node.request("POST", f"{path}/restart", token=author))
    assert node.request("GET", path, token=own_token(engine, chute)).status == 200


def lines(answer: Answer) -> list[Any]:
    events = [json.loads(line) for line in answer.body.splitlines()]
    assert events[-1]["end"]["status"]["code"] == 0
    return [line for event in events for line in event.get("lines", {}).get("lines", [])]


def test_history_is_merged_by_time_and_cut_by_time_service_and_number(node: NodeProcess, chute: str) -> None:
    path = f"/api/v1/chutes/{chute}/logs"
    deadline = time.monotonic() + 10
    while len(past := lines(node.request("GET", path))) < 6:
        assert time.monotonic() < deadline, past
        time.sleep(0.1)
    assert [line["timestamp"] for line in past] == sorted(line["timestamp"] for line in past)
    assert {line["service"] for line in past} == {"one", "two"}
    ones = [line for line in past if line["service"] == "one"]
    assert [line["message"] for line in ones] == ["one 1", "one 2", "one 3"]
    assert lines(node.request("GET", f"{path}?service=one")) == ones
    assert lines(node.request("GET", f"{path}?service=one&tail=2")) == ones[1:]
    since = ones[1]["timestamp"]
    assert lines(node.request("GET", f"{path}?service=one&since={since}")) == ones[1:]
    assert lines(node.request("GET", f"{path}?service=one&until={since}&tail=1")) == ones[1:2]
    assert node.request("GET", f"{path}?until={since}&follow=true").reason == "UNTIL_WITH_FOLLOW"
    assert node.request("GET", f"{path}?service=three").reason == "SERVICE_UNKNOWN"


@pytest.mark.parametrize("form", ["/sockjs/logs/{}", "/sockjs/logs/{}/websocket", "/ws/chute_logs/{}"])
def test_each_websocket_tells_time_and_service_of_each_line(node: NodeProcess, chute: str, form: str) -> None:
    headers = {"Authorization": f"Bearer {node.token}"}
    path = form.format(chute)
    with connect(f"ws://{node.target}{path}", additional_headers=headers, proxy=None) as socket:
        found = [json.loads(socket.recv(20)) for _ in range(6)]
        assert all(set(line) == {"service", "timestamp", "message"} for line in found)
        assert sorted(line["message"] for line in found) == sorted(
            f"{s} {i}" for s in ("one", "two") for i in (1, 2, 3)
        )
        done(node, node.request("POST", f"/api/v1/chutes/{chute}/restart"))
        again = [json.loads(socket.recv(20)) for _ in range(6)]
    assert min(line["timestamp"] for line in again) > max(line["timestamp"] for line in found)
    assert {line["service"] for line in again} == {"one", "two"}

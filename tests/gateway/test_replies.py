"""Replies have the documented form: bare arrays, maps, JSON errors, and nothing of gRPC."""

import re

import pytest
from paradrop.chutes.v1 import changes_pb2, chutes_pb2
from paradrop.network.v1 import network_pb2

from services.common.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotImplementedYet,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from tests.gateway.conftest import Gateway

pytestmark = pytest.mark.gateway

CHUTES = "paradrop.chutes.v1.ChuteService"
NETWORK = "paradrop.network.v1.NetworkService"


def test_a_list_is_a_bare_array(gateway: Gateway) -> None:
    gateway.doubles.replies[f"{CHUTES}.ListChutes"] = chutes_pb2.ListChutesResponse(
        chutes=[chutes_pb2.Chute(name="a"), chutes_pb2.Chute(name='é "]}')], next_page_token="more"
    )

    answer = gateway.request("GET", "/api/v1/chutes/")

    assert [chute["name"] for chute in answer.json] == ["a", 'é "]}']
    assert answer.headers["content-length"] == str(len(answer.body))


def test_where_the_next_page_begins_is_in_a_header(gateway: Gateway) -> None:
    gateway.doubles.replies[f"{CHUTES}.ListChutes"] = chutes_pb2.ListChutesResponse(next_page_token="3:é&")
    answer = gateway.request("GET", "/api/v1/chutes/")
    assert answer.headers["next-page-token"] == "3:%C3%A9%26"
    gateway.request("GET", f"/api/v1/chutes/?page_token={answer.headers['next-page-token']}")
    assert gateway.doubles.last.request.page_token == "3:é&"
    gateway.doubles.replies[f"{CHUTES}.ListChutes"] = chutes_pb2.ListChutesResponse()
    assert "next-page-token" not in gateway.request("GET", "/api/v1/chutes/").headers


def test_an_empty_list_is_an_empty_array(gateway: Gateway) -> None:
    assert gateway.request("GET", "/api/v1/changes/").body == b"[]"


def test_a_long_list_is_whole(gateway: Gateway) -> None:
    chutes = [chutes_pb2.Chute(name=f"chute-{number}", description="d" * 1000) for number in range(3000)]
    gateway.doubles.replies[f"{CHUTES}.ListChutes"] = chutes_pb2.ListChutesResponse(chutes=chutes)

    answer = gateway.request("GET", "/api/v1/chutes")

    assert len(answer.body) > 3_000_000
    assert len(answer.json) == 3000


def test_a_map_keeps_its_keys(gateway: Gateway) -> None:
    gateway.doubles.replies[f"{NETWORK}.GetHostapdStatus"] = network_pb2.GetHostapdStatusResponse(
        status={"bssid[0]": "02:00:08:24:03:dd", "num_sta[0]": "1"}
    )

    answer = gateway.request("GET", "/api/v1/chutes/web/networks/wifi/hostapd_status")

    assert answer.json == {"bssid[0]": "02:00:08:24:03:dd", "num_sta[0]": "1"}


def test_what_is_not_there_is_an_empty_object(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/api/v1/chutes/web/networks/wifi/stations/00:11:22:33:44:55")

    assert answer.body == b"{}"


def test_a_document_comes_out_as_it_went_in(gateway: Gateway) -> None:
    document = {"a": 250, "b": None, "wifi-interfaces": [{"x": "1", "y": 1.5}], "c": True, "d": {}, "e": []}
    gateway.send_json("PUT", "/api/v1/config/hostconfig", document)
    stored = gateway.doubles.last.request.config
    gateway.doubles.replies[f"{NETWORK}.GetHostConfig"] = network_pb2.GetHostConfigResponse(config=stored)

    answer = gateway.request("GET", "/api/v1/config/hostconfig")

    assert answer.json == document
    assert re.search(rb'"a": ?250[,}]', answer.body)


def test_an_array_goes_in_and_comes_out(gateway: Gateway) -> None:
    from paradrop.node.v1 import audio_pb2

    gateway.doubles.replies["paradrop.node.v1.AudioService.SetSinkVolume"] = audio_pb2.SetSinkVolumeResponse(
        volume=[1.0, 0.5]
    )

    answer = gateway.send_json("PUT", "/api/v1/audio/sinks/alsa_output.pci-0/volume", [1.0, 0.5])

    assert list(gateway.doubles.last.request.volume) == [1.0, 0.5]
    assert gateway.doubles.last.request.name == "alsa_output.pci-0"
    assert answer.json == [1, 0.5]


def test_the_change_of_a_call_keeps_its_name(gateway: Gateway) -> None:
    gateway.doubles.replies["paradrop.chutes.v1.ChangeService.CreateChange"] = (
        changes_pb2.CreateChangeResponse(change_id=3)
    )

    assert gateway.send_json("POST", "/api/v1/changes/", {"updateClass": "ROUTER"}).json == {"change_id": 3}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidArgument("x", field="chute"), 400, 3),
        (FailedPrecondition("x"), 409, 9),
        (Unauthenticated("x"), 401, 16),
        (PermissionDenied("x"), 403, 7),
        (NotFound("x"), 404, 5),
        (Aborted("x"), 409, 10),
        (AlreadyExists("x"), 409, 6),
        (ResourceExhausted("x"), 429, 8),
        (DomainError("x"), 500, 13),
        (NotImplementedYet("x"), 501, 12),
        (Unavailable("x"), 503, 14),
        (DeadlineExceeded("x"), 504, 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, DomainError) else "",
)
def test_an_error_of_a_service_is_json(gateway: Gateway, error: DomainError, status: int, code: int) -> None:
    error.facts = {"chute": "web"}
    gateway.doubles.replies[f"{CHUTES}.GetChute"] = error

    answer = gateway.request("GET", "/api/v1/chutes/web")

    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["code"] == code
    assert answer.json["message"] == "x"
    assert answer.json["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.reason,
        "domain": "paradrop",
        "metadata": {"chute": "web"},
    }
    if error.field:
        assert answer.json["details"][1]["fieldViolations"][0]["field"] == "chute"
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize("error", [None, NotFound("x"), ResourceExhausted("x", retry_after_s=29.5)])
@pytest.mark.parametrize("path", ["/api/v1/chutes/web", "/api/v1/config/pdid"])
def test_no_header_of_grpc_or_envoy_comes_out(gateway: Gateway, error: DomainError | None, path: str) -> None:
    gateway.doubles.replies[f"{CHUTES}.GetChute"] = error

    headers = gateway.request("GET", path).headers

    assert not [name for name in headers if name.startswith(("grpc-", "x-envoy"))]
    assert headers["server"] == "paradrop"


def test_a_refusal_for_a_while_says_for_how_long(gateway: Gateway) -> None:
    gateway.doubles.replies[f"{CHUTES}.GetChute"] = ResourceExhausted("x", retry_after_s=29.5)

    assert gateway.request("GET", "/api/v1/chutes/web").headers["retry-after"] == "30"


def test_a_status_without_details_is_json_too(gateway: Gateway) -> None:
    async def reply(_: object, context: object) -> None:
        import grpc

        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, 'bare "text"')  # type: ignore[attr-defined]

    gateway.doubles.replies[f"{CHUTES}.GetChute"] = reply

    answer = gateway.request("GET", "/api/v1/chutes/web")

    assert (answer.status, answer.json["code"], answer.json["message"]) == (409, 9, 'bare "text"')


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v1/", "/api/v2/chutes", "/nothing", "/api/v1/Chutes"]
)
def test_an_unknown_path_is_404_with_a_token_and_401_without(gateway: Gateway, path: str) -> None:
    known, unknown = gateway.request("GET", path), gateway.request("GET", path, token=False)

    assert (known.status, known.reason, known.json["code"]) == (404, "PATH_NOT_FOUND", 5)
    assert unknown.status == 401


def test_headers_that_are_too_large_are_refused_as_json(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/api/v1/chutes", headers={"x-long": "x" * 20_000})

    assert (answer.status, answer.reason) == (431, "HEADERS_TOO_LARGE")


def test_an_upgrade_elsewhere_is_refused_as_json(gateway: Gateway) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}

    answer = gateway.request("GET", "/api/v1/chutes", headers=upgrade)

    assert (answer.status, answer.reason) == (403, "UPGRADE_REFUSED")

"""What clients send: odd paths, query parameters, bodies of all kinds."""

import json
from typing import Any

import pytest

from tests.gateway.conftest import ORIGIN, Gateway

pytestmark = pytest.mark.gateway

CHUTES = "paradrop.chutes.v1.ChuteService"
START = "/api/v1/chutes/web/start"
HOSTCONFIG = "/api/v1/config/hostconfig"
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("path", "chute"),
    [
        ("/api/v1//chutes///web", "web"),
        ("//api/v1/chutes/web//", "web"),
        ("/api/v1/chutes/web%20one", "web one"),
        ("/api/v1/chutes/web%2Fone", "web/one"),
        ("/api/v1/chutes/%77eb", "web"),
        ("/api/v1/chutes/%C3%A9", "é"),
        ("/api/v1/chutes/..%2f..%2fetc", "../../etc"),
        ("/api/v1/chutes/a:b", "a:b"),
        ("/api/v1/chutes/a+b", "a+b"),
        ("/api/v1/chutes/x/../web", "web"),
    ],
)
def test_a_path_is_read_like_this(gateway: Gateway, path: str, chute: str) -> None:
    assert gateway.request("GET", path).status == 200
    assert gateway.doubles.last.rpc == f"{CHUTES}.GetChute"
    assert gateway.doubles.last.request.chute == chute


def test_dots_do_not_lead_out_of_the_api(gateway: Gateway) -> None:
    assert gateway.request("GET", "/api/v1/../../etc/passwd").status == 404


@pytest.mark.parametrize(
    "query",
    ["chute=other", "%63hute=other", "chute=a&chute=b", "unknown=1", "_=17", "a&&=&%", "chute.x=1", "?"],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_no_query_parameter_stands_in_for_the_path(gateway: Gateway, query: str, slash: str) -> None:
    assert gateway.request("GET", f"/api/v1/chutes/web{slash}?{query}").status == 200
    assert gateway.doubles.last.request.chute == "web"


@pytest.mark.parametrize("query", ["environment=x", "environment.a=b", "chute=other"])
def test_no_query_parameter_stands_in_for_the_body(gateway: Gateway, query: str) -> None:
    answer = gateway.send_json("POST", f"{START}?{query}", {"environment": {"k": "v"}})

    assert answer.status == 200
    assert gateway.doubles.last.request.chute == "web"
    assert dict(gateway.doubles.last.request.environment) == {"k": "v"}


def test_a_known_query_parameter_arrives(gateway: Gateway) -> None:
    gateway.request("GET", "/api/v1/changes/?chute=web&page_size=5&other=1&includeEnded=true")

    request = gateway.doubles.last.request
    assert (request.chute, request.page_size, request.include_ended) == ("web", 5, True)


def test_a_query_parameter_of_the_wrong_type_is_400(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/api/v1/changes?page_size=many")

    assert (answer.status, answer.reason) == (400, "REQUEST_INVALID")
    assert "page_size" in answer.json["message"]


def test_an_id_that_is_no_number_is_400(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/api/v1/changes/abc")

    assert (answer.status, answer.reason, answer.json["code"]) == (400, "REQUEST_INVALID", 3)
    assert not gateway.doubles.calls


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}, {"content-length": "0"}])
@pytest.mark.parametrize("path", [START, "/api/v1/chutes/web/stop", "/api/v1/password/clear"])
def test_an_empty_body_is_fine(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    assert gateway.request("POST", path, None, headers).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/x-www-form-urlencoded",
        "application/merge-patch+json",
        None,
    ],
)
def test_json_is_taken_under_these_types(gateway: Gateway, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}

    answer = gateway.request("POST", START, '{"environment": {"k": "v"}}', headers)

    assert answer.status == 200
    assert dict(gateway.doubles.last.request.environment) == {"k": "v"}


@pytest.mark.parametrize("content_type", ["text/xml", "multipart/form-data; boundary=x", "application/x-tar"])
@pytest.mark.parametrize(("method", "path"), [("POST", START), ("PUT", HOSTCONFIG)])
def test_other_types_are_415(gateway: Gateway, content_type: str, method: str, path: str) -> None:
    answer = gateway.request(method, path, "{}", {"content-type": content_type})

    assert (answer.status, answer.reason) == (415, "CONTENT_TYPE_NOT_SUPPORTED")
    assert not gateway.doubles.calls


NO_OBJECTS = ["[1]", '"text"', "12", "null", "true", "{", "{}}", "nonsense", " ", "\x00", "{}{}", '{"k']
WRONG_OBJECTS = [
    '{"environment":',
    '{"environment": 5}',
    '{"environment"}',
    '{"password": ""} x',
    '{"k": "\\',
]
LAX_OBJECTS = ["{'environment': {}}", "{environment: {}}", "{password: 'x'}", '{"environment": {\'a\': "b"}}']


@pytest.mark.parametrize("body", [*NO_OBJECTS, *WRONG_OBJECTS, *LAX_OBJECTS])
@pytest.mark.parametrize("path", [START, "/api/v1/auth/local"])
def test_a_body_that_is_not_the_object_wanted_is_400(gateway: Gateway, body: str, path: str) -> None:
    answer = gateway.request("POST", path, body, {"content-type": "application/json"})

    assert answer.status == 400, answer
    assert answer.json["code"] == 3
    assert answer.reason in ("JSON_INVALID", "REQUEST_INVALID", "FIELD_UNKNOWN")
    assert not gateway.doubles.calls


@pytest.mark.parametrize("body", ["[1]", '"text"', "12", "{", "{}}", "nonsense", '{"a":', '{"a":1}}'])
def test_a_document_that_is_no_object_is_400(gateway: Gateway, body: str) -> None:
    answer = gateway.request("PUT", HOSTCONFIG, body, {"content-type": "application/json"})

    assert (answer.status, answer.reason) == (400, "REQUEST_INVALID")
    assert not gateway.doubles.calls


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"enviroment": {}}', "enviroment"),
        ('{"chute": "other"}', "chute"),
        ('{"environment": {"chute": "fine"}, "chute": "other"}', "chute"),
        ('{"environment": {}, "a": [1, {"b": "}"}]}', "a"),
        ('{"\\u0063hute": "other"}', "\\u0063hute"),
        ('{"": 1}', ""),
        ('{"quote\\"d": 1}', 'quote\\"d'),
    ],
)
def test_an_unknown_field_is_400_and_named(gateway: Gateway, body: str, field: str) -> None:
    answer = gateway.request("POST", START, body)

    assert (answer.status, answer.reason) == (400, "FIELD_UNKNOWN")
    assert answer.json["details"][0]["metadata"] == {"field": field}
    assert answer.json["details"][1]["fieldViolations"][0]["field"] == field
    assert not gateway.doubles.calls


@pytest.mark.parametrize("value", ["}", '"', "\\", '\\"', "{[,:", "é", "\\\\"])
def test_a_value_may_hold_what_looks_like_structure(gateway: Gateway, value: str) -> None:
    answer = gateway.send_json("POST", START, {"environment": {"k": value, value: "k"}})

    assert answer.status == 200, answer
    assert dict(gateway.doubles.last.request.environment) == {"k": value, value: "k"}


def test_a_free_document_may_have_any_key(gateway: Gateway) -> None:
    gateway.send_json("PUT", "/api/v1/chutes/web/config", {"chute": "x", "anything": 1})

    assert gateway.doubles.last.request.chute == "web"
    assert dict(gateway.doubles.last.request.config) == {"chute": "x", "anything": 1}


def test_the_body_of_a_call_without_one_is_ignored(gateway: Gateway) -> None:
    assert gateway.send_json("POST", "/api/v1/chutes/web/stop", {"reason": "none"}).status == 200
    assert gateway.request("GET", "/api/v1/chutes/web", '{"chute": "other"}').status == 200
    assert gateway.doubles.last.request.chute == "web"


@pytest.mark.parametrize(
    ("method", "path", "key"), [("POST", START, "environment"), ("PUT", HOSTCONFIG, "a")]
)
class TestSize:
    def document(self, key: str, size: int) -> bytes:
        empty: Any = json.dumps({key: {"k": ""}})
        return json.dumps({key: {"k": "x" * (size - len(empty))}}).encode()

    def test_a_mebibyte_is_fine(self, gateway: Gateway, method: str, path: str, key: str) -> None:
        assert gateway.request(method, path, self.document(key, MIB)).status == 200

    @pytest.mark.parametrize("size", [MIB + 1, 5 * MIB, 50 * MIB])
    def test_more_is_413_and_the_client_gets_to_know(
        self, gateway: Gateway, method: str, path: str, key: str, size: int
    ) -> None:
        answer = gateway.request(method, path, self.document(key, size))

        assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")
        assert not gateway.doubles.calls

    def test_more_without_a_token_is_401(self, gateway: Gateway, method: str, path: str, key: str) -> None:
        answer = gateway.request(method, path, self.document(key, 20 * MIB), token=False)

        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="Login Required"'

    def test_more_in_chunks_is_413(self, gateway: Gateway, method: str, path: str, key: str) -> None:
        body = self.document(key, MIB + 1000)
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

        answer = gateway.request(method, path, chunked, {"transfer-encoding": "chunked"})

        assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")


def test_a_login_takes_little(gateway: Gateway) -> None:
    body = json.dumps({"username": "x" * 700_000, "password": "x"})

    assert gateway.request("POST", "/api/v1/auth/local", body, token=False).status == 413


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_elsewhere_cannot_act(gateway: Gateway, origin: str) -> None:
    answer = gateway.request("POST", "/api/v1/chutes/web/stop", None, {"origin": origin})

    assert (answer.status, answer.reason) == (403, "ORIGIN_NOT_ALLOWED")
    assert not gateway.doubles.calls
    assert gateway.request("GET", "/api/v1/chutes/web", None, {"origin": origin}).status == 200


def test_pages_of_the_node_and_of_configured_origins_act(gateway: Gateway) -> None:
    for origin in (f"http://{gateway.address}", ORIGIN):
        assert gateway.request("POST", "/api/v1/chutes/web/stop", None, {"origin": origin}).status == 200


class TestCors:
    preflight = {  # noqa: RUF012
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization, content-type, x-grpc-web",
    }

    @pytest.mark.parametrize(
        "path", ["/api/v1/chutes/web", "/api/v1/auth/local", "/paradrop.chutes.v1.ChuteService/ListChutes"]
    )
    def test_a_preflight_of_a_configured_origin_is_answered_without_a_token(
        self, gateway: Gateway, path: str
    ) -> None:
        answer = gateway.request("OPTIONS", path, None, {"origin": ORIGIN, **self.preflight}, token=False)

        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "PUT" in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"]
        assert {"authorization", "content-type", "x-grpc-web"} <= set(allowed.split(", "))
        assert not gateway.doubles.checks

    def test_other_origins_get_no_word_of_it(self, gateway: Gateway) -> None:
        headers = {"origin": "https://evil.example", **self.preflight}

        answer = gateway.request("OPTIONS", "/api/v1/chutes/web", None, headers, token=False)

        assert "access-control-allow-origin" not in answer.headers

    @pytest.mark.parametrize("token", [True, False])
    def test_replies_name_the_origin(self, gateway: Gateway, token: bool) -> None:
        answer = gateway.request("GET", "/api/v1/chutes", None, {"origin": ORIGIN}, token=token)

        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in answer.headers

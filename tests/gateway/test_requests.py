"""What clients send: odd paths, query parameters, bodies of all kinds."""

import json
import socket
import tarfile
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans, characters, dictionaries, lists, sampled_from, text

from services.common.documents import from_struct
from tests.gateway.conftest import ORIGIN, Gateway

pytestmark = pytest.mark.gateway

CHUTES = "paradrop.chutes.v1.ChuteService"
START = "/api/v1/chutes/web/start"
HOSTCONFIG = "/api/v1/config/hostconfig"
MIB = 1024 * 1024
TEXT = characters(exclude_categories=("Cs",))


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


@pytest.mark.parametrize(
    ("body", "variables"),
    [
        ('{"environment":{}}', {}),
        (
            '{ "environment" : {"PORT": 8080, "environment": "x"} , "dry_run": true}',
            {"PORT": 8080, "environment": "x"},
        ),
        (
            '{"dry_run": true, "environment": {"a": "\\"environment\\":", "b": null}}',
            {"a": '"environment":', "b": None},
        ),
        ('{"variables": {"a": 1.5}}', {"a": 1.5}),
    ],
)
def test_the_environment_of_a_chute_may_be_of_numbers_or_of_nothing(
    gateway: Gateway, body: str, variables: dict[str, Any]
) -> None:
    assert gateway.request("POST", START, body).status == 200
    request = gateway.doubles.last.request
    assert request.HasField("variables")
    assert (from_struct(request.variables), dict(request.environment)) == (variables, {})


def test_no_environment_is_none(gateway: Gateway) -> None:
    for body in (None, "{}", '{"environment": null}'):
        assert gateway.request("POST", START, body).status == 200
        assert not gateway.doubles.last.request.HasField("variables")


@pytest.mark.parametrize("query", ["environment=x", "environment.a=b", "chute=other"])
def test_no_query_parameter_stands_in_for_the_body(gateway: Gateway, query: str) -> None:
    answer = gateway.send_json("POST", f"{START}?{query}", {"environment": {"k": "v"}})

    assert answer.status == 200
    assert gateway.doubles.last.request.chute == "web"
    assert from_struct(gateway.doubles.last.request.variables) == {"k": "v"}


def test_a_known_query_parameter_arrives(gateway: Gateway) -> None:
    gateway.request("GET", "/api/v1/changes/?chute=web&page_size=5&other=1&includeEnded=true")

    request = gateway.doubles.last.request
    assert (request.chute, request.page_size, request.include_ended) == ("web", 5, True)


CHANGES = "paradrop.chutes.v1.ChangeService"


def test_changes_are_controlled_through_paths_parameters_and_one_header(gateway: Gateway) -> None:
    document = {"updateClass": "CHUTE", "updateType": "stop", "name": "web"}
    headers = {"Idempotency-Key": "key-1"}
    answer = gateway.send_json("POST", "/api/v1/changes/?dry_run=true", document, headers=headers)
    assert answer.status == 200
    last = gateway.doubles.last
    assert (last.rpc, last.request.dry_run) == (f"{CHANGES}.CreateChange", True)
    assert dict(last.request.change) == document
    assert last.metadata["idempotency-key"] == "key-1"

    assert gateway.request("POST", "/api/v1/changes/7/cancel").status == 200
    assert (gateway.doubles.last.rpc, gateway.doubles.last.request.change_id) == (
        f"{CHANGES}.CancelChange",
        7,
    )

    assert gateway.send_json("PUT", "/api/v1/chutes/web/lock", {"reason": "busy"}).status == 200
    assert gateway.doubles.last.rpc == f"{CHUTES}.LockChute"
    assert (gateway.doubles.last.request.chute, gateway.doubles.last.request.reason) == ("web", "busy")
    assert gateway.request("DELETE", "/api/v1/chutes/web/lock").status == 200
    assert gateway.doubles.last.rpc == f"{CHUTES}.UnlockChute"

    assert gateway.request("DELETE", "/api/v1/chutes/web?keep_data=true&force=true").status == 200
    request = gateway.doubles.last.request
    assert (request.chute, request.keep_data, request.force) == ("web", True, True)
    assert gateway.request("POST", "/api/v1/chutes/web/stop?force=true").status == 200
    assert gateway.doubles.last.request.force


BY_QUERY = [
    ("POST", "/api/v1/chutes/", {"config": {"name": "web"}}, "InstallChute", False),
    ("PUT", "/api/v1/chutes/web", {"config": {}}, "UpdateChute", True),
    ("PUT", "/api/v1/chutes/web/config", {"net": {}}, "SetChuteConfig", True),
    ("POST", "/api/v1/chutes/web/start", {"environment": {}}, "StartChute", False),
    ("POST", "/api/v1/chutes/web/stop", {}, "StopChute", True),
    ("POST", "/api/v1/chutes/web/restart", {}, "RestartChute", True),
    ("DELETE", "/api/v1/chutes/web", None, "DeleteChute", True),
    ("PUT", HOSTCONFIG, {}, "SetHostConfig", False),
    ("POST", "/api/v1/config/factoryReset", {}, "FactoryReset", False),
]


@pytest.mark.parametrize(("method", "path", "body", "rpc", "forced"), BY_QUERY)
def test_the_terms_of_a_change_may_be_in_the_query(
    gateway: Gateway, method: str, path: str, body: Any, rpc: str, forced: bool
) -> None:
    query = "dry_run=true&force=true" if forced else "dry_run=true"
    headers = {"Idempotency-Key": "key-1"}
    if body is None:
        answer = gateway.request(method, f"{path}?{query}", headers=headers)
    else:
        answer = gateway.send_json(method, f"{path}?{query}", body, headers=headers)
    assert answer.status == 200, answer.body
    last = gateway.doubles.last
    assert last.rpc.endswith(f".{rpc}")
    assert last.request.dry_run
    assert not forced or last.request.force
    assert last.metadata["idempotency-key"] == "key-1"


def test_the_terms_of_a_change_may_be_in_the_body(gateway: Gateway) -> None:
    body = {"config": {"name": "web"}, "dry_run": True, "force": True}
    assert gateway.send_json("PUT", "/api/v1/chutes/web", body).status == 200
    assert (gateway.doubles.last.request.dry_run, gateway.doubles.last.request.force) == (True, True)


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/chutes/"), ("PUT", "/api/v1/chutes/web")])
def test_the_terms_of_an_upload_are_in_the_query(gateway: Gateway, method: str, path: str) -> None:
    answer = gateway.request(
        method,
        f"{path}?dry_run=true&force=true&content=x",
        headers={"Content-Type": "application/x-tar", "Idempotency-Key": "key-1"},
        body=b"tar" * 100_000,
    )
    assert answer.status == 200, answer.body
    last = gateway.doubles.last
    first = last.request[0]
    assert (first.dry_run, first.content.content_type) == (True, "application/x-tar")
    assert method == "POST" or (first.force, first.chute) == (True, "web")
    assert b"".join(piece.content.data for piece in last.request) == b"tar" * 100_000
    assert last.metadata["idempotency-key"] == "key-1"


WRONG_TYPES = [
    ("POST", "/api/v1/password/change", '{"password": 12345678}', "password", "password must be a text."),
    ("POST", "/api/v1/auth/local", '{"password": {"a": 1}}', "password", "password may not be an object."),
    ("POST", START, '{"environment": "x"}', "environment", "environment must be an object."),
    ("POST", START, '{"dry_run": "x"}', "dry_run", "dry_run must be true or false."),
    ("POST", "/api/v1/users", '{"role": "X"}', "role",
     "role must be one of the values of paradrop.auth.v1.Role, see /reference."),
    ("PUT", "/api/v1/audio/sinks/a/volume", '["x"]', "volume[0]", "volume[0] must be a number."),
    ("GET", "/api/v1/changes?page_size=many", None, "page_size", "page_size must be a whole number."),
    ("GET", "/api/v1/chutes/web/logs?since=noon", None, "since",
     "since must be a time such as 2026-01-31T12:00:00Z."),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "field", "message"), WRONG_TYPES)
def test_a_value_of_the_wrong_type_is_told_by_its_field(
    gateway: Gateway, method: str, path: str, body: str | None, field: str, message: str
) -> None:
    answer = gateway.request(method, path, body)

    assert (answer.status, answer.reason, answer.json["message"]) == (400, "REQUEST_INVALID", message)
    assert answer.json["details"][1]["fieldViolations"] == [{"field": field, "description": message}]
    assert answer.headers["content-length"] == str(len(answer.body))
    assert not gateway.doubles.calls


@pytest.mark.parametrize(
    "path", ["airshark/source", "airshark/analysis", "chutes/web/networks/wlan0/access_list"]
)
def test_a_key_of_settings_that_is_not_known_is_told(gateway: Gateway, path: str) -> None:
    answer = gateway.request("PUT", f"/api/v1/{path}", '{"loop_": true}')

    assert (answer.status, answer.reason) == (400, "FIELD_UNKNOWN")
    assert answer.json["details"][1]["fieldViolations"][0]["field"] == "loop_"
    assert not gateway.doubles.calls


def test_a_list_where_none_may_be_is_400(gateway: Gateway) -> None:
    answer = gateway.request("POST", START, '{"environment": []}')

    assert (answer.status, answer.reason) == (400, "REQUEST_INVALID")
    assert answer.json["message"] == "A value of the body is a list where none may be."


def test_a_path_that_no_text_is_says_so(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/api/v1/chutes/%00")

    assert (answer.status, answer.reason) == (400, "PATH_INVALID")
    assert answer.json["message"] == "The path must be text without control characters."


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
    assert from_struct(gateway.doubles.last.request.variables) == {"k": "v"}


@pytest.mark.parametrize("content_type", ["text/xml", "multipart/form-data; boundary=x", "application/x-tar"])
@pytest.mark.parametrize(("method", "path"), [("POST", START), ("PUT", HOSTCONFIG)])
def test_other_types_are_415(gateway: Gateway, content_type: str, method: str, path: str) -> None:
    answer = gateway.request(method, path, "{}", {"content-type": content_type})

    assert (answer.status, answer.reason) == (415, "CONTENT_TYPE_NOT_SUPPORTED")
    assert not gateway.doubles.calls


def test_a_tar_of_another_type_is_told_its_type(gateway: Gateway) -> None:
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("paradrop.yaml"))
    for content_type in ("application/x-www-form-urlencoded", "application/octet-stream", "application/json"):
        answer = gateway.request("POST", "/api/v1/chutes", content.getvalue(), {"content-type": content_type})
        assert (answer.status, answer.reason) == (415, "CONTENT_TYPE_NOT_SUPPORTED")
        assert "application/x-tar" in answer.json["message"]


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

    assert answer.status == 400
    assert answer.reason in ("JSON_INVALID", "REQUEST_INVALID")
    assert not gateway.doubles.calls


@pytest.mark.parametrize("body", ["0", "true", '"text"', "null", "{}", "[", "[1]]", "", None])
def test_a_body_that_is_no_array_is_400_where_one_is_wanted(gateway: Gateway, body: str | None) -> None:
    answer = gateway.request("PUT", "/api/v1/audio/sinks/a.b/volume", body)

    assert (answer.status, answer.reason) == (400, "JSON_INVALID")
    assert not gateway.doubles.calls


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/v1/airshark/source", '{"kind": "SOURCE_KIND_NONE", "hopMhz": [[2412]]}'),
        ("PUT", "/api/v1/airshark/source", '{"kind": 1, "hopMhz": [2412, [null]]}'),
        ("PUT", "/api/v1/airshark/source", '{"kind": 1, "hopMhz": [2412, null]}'),
        ("PUT", "/api/v1/audio/sinks/x/volume", "[ [1.0] ]"),
    ],
)
def test_lists_and_null_within_a_list_are_400_where_there_can_be_none(
    gateway: Gateway, method: str, path: str, body: str
) -> None:
    answer = gateway.request(method, path, body)
    assert (answer.status, answer.reason) == (400, "JSON_INVALID")


OVERLONG = [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"]
NOT_UTF8 = [*OVERLONG, b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x82"]


@pytest.mark.parametrize("text", NOT_UTF8, ids=repr)
@pytest.mark.parametrize(("method", "path"), [("POST", START), ("PUT", HOSTCONFIG)])
def test_a_body_that_is_not_utf8_is_400(gateway: Gateway, text: bytes, method: str, path: str) -> None:
    answer = gateway.request(method, path, b'{"environment": {"k": "a' + text + b'z"}}')

    assert (answer.status, answer.reason) == (400, "JSON_INVALID")
    assert not gateway.doubles.calls


@pytest.mark.parametrize("text", NOT_UTF8, ids=repr)
@pytest.mark.parametrize("path", ["/api/v1/chutes/web", "/api/v1/changes?chute="])
def test_a_path_that_is_not_utf8_is_400(gateway: Gateway, text: bytes, path: str) -> None:
    answer = gateway.request("GET", path + "".join(f"%{byte:02X}" for byte in text))

    assert (answer.status, answer.reason) == (400, "PATH_INVALID")
    assert not gateway.doubles.calls


@pytest.mark.parametrize("name", ["é", "€", "😀", "\U0010ffff", "\ud7ff", "\ue000", "ࠀ", "߿"])
def test_every_letter_arrives(gateway: Gateway, name: str) -> None:
    assert gateway.request("GET", f"/api/v1/chutes/{quote(name)}").status == 200
    assert gateway.doubles.last.request.chute == name
    body = json.dumps({"environment": {name: name}}, ensure_ascii=False).encode()
    assert gateway.request("POST", START, body).status == 200
    assert from_struct(gateway.doubles.last.request.variables) == {name: name}


@pytest.mark.parametrize("opening", ['{"a":', "["])
@pytest.mark.parametrize("depth", [31, 40, 99, 1000, 150_000])
def test_a_document_that_is_too_deep_is_400(gateway: Gateway, opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    body = '{"a":' + opening * depth + "1" + closing * depth + "}"

    answer = gateway.request("PUT", HOSTCONFIG, body)

    assert (answer.status, answer.reason) == (400, "JSON_TOO_DEEP")
    assert not gateway.doubles.calls


def test_a_document_of_thirty_levels_arrives(gateway: Gateway) -> None:
    for opening, closing in (('{"a":', "}"), ("[", "]")):
        body = '{"a":' + opening * 29 + "1" + closing * 29 + "}"

        assert gateway.request("PUT", HOSTCONFIG, body).status == 200


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    environment=dictionaries(text(TEXT, max_size=8), text(TEXT, max_size=20), max_size=4), ascii=booleans()
)
def test_any_text_arrives_as_it_was_sent(gateway: Gateway, environment: dict[str, str], ascii: bool) -> None:
    body = json.dumps({"environment": environment}, ensure_ascii=ascii).encode()

    assert gateway.request("POST", START, body).status == 200
    assert from_struct(gateway.doubles.last.request.variables) == environment


PIECES = ['{"environment":', *'{}[],:"\\ a1', "'", '"a"', "null"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=lists(sampled_from(PIECES)))
def test_any_nonsense_is_400_or_what_the_path_says(gateway: Gateway, body: list[str]) -> None:
    gateway.doubles.reset()

    answer = gateway.request("POST", START, "".join(body).encode(), {"content-type": "application/json"})

    assert answer.status in (200, 400)
    assert [call.request.chute for call in gateway.doubles.calls] == ["web"] * (answer.status == 200)


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
    assert from_struct(gateway.doubles.last.request.variables) == {"k": value, value: "k"}


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


def test_small_json_that_becomes_a_large_message_is_413(gateway: Gateway) -> None:
    answer = gateway.request("PUT", HOSTCONFIG, b'{"a":[' + b"0," * 500_000 + b"0]}")

    assert (answer.status, answer.json["code"]) == (413, 8)
    assert not gateway.doubles.calls


def test_http_1_0_is_spoken(gateway: Gateway) -> None:
    """As small clients in chutes do."""
    with socket.create_connection((gateway.settings.listen_host, gateway.settings.listen_port)) as client:
        client.sendall(
            f"GET /api/v1/chutes/ HTTP/1.0\r\nauthorization: Bearer {gateway.token}\r\n\r\n".encode()
        )
        reply = b"".join(iter(lambda: client.recv(4096), b""))

    assert reply.split(b" ")[1] == b"200"
    assert reply.endswith(b"\r\n\r\n[]")


def test_grpc_on_a_path_of_the_api_is_refused(gateway: Gateway) -> None:
    answer = gateway.request("POST", START, b"", {"content-type": "application/grpc"})

    assert answer.headers["grpc-status"] != "0"
    assert not gateway.doubles.calls


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

"""Every documented path reaches its RPC through Envoy."""

import time

import pytest

from gateway import descriptors
from gateway.descriptors import VARIABLE, HttpBinding
from gateway.routes import ARCHIVE_TYPE, DOWNLOAD_RPCS, SHARED_RPCS
from tests.gateway.conftest import Gateway

pytestmark = pytest.mark.gateway

BINDINGS = descriptors.http_bindings(descriptors.load())
MAC = "5c:59:48:7d:b9:e6"


def values(binding: HttpBinding) -> dict[str, str]:
    known = {"mac": MAC, "change_id": "17", "version": "17"}
    return {name: known.get(name, f"{name}-1.x") for name in binding.variables}


def name(binding: HttpBinding) -> str:
    return f"{binding.method} {binding.template} {binding.rpc.rpartition('.')[2]}"


def body_of(binding: HttpBinding) -> tuple[bytes | None, dict[str, str]]:
    if binding.client_streaming:
        return b"tar" * 1000, {"content-type": "application/x-tar"}
    if not binding.body:
        return None, {}
    return b"[0.5]" if binding.body == "volume" else b"{}", {"content-type": "application/json"}


@pytest.mark.parametrize("binding", BINDINGS, ids=name)
@pytest.mark.parametrize("slash", ["", "/"])
def test_reaches_its_rpc(gateway: Gateway, binding: HttpBinding, slash: str) -> None:
    path = VARIABLE.sub(lambda match: values(binding)[match[1]], binding.template) + slash

    answer = gateway.request(binding.method, path, *body_of(binding))

    assert answer.status == 200, answer
    assert gateway.doubles.last.rpc == binding.rpc
    kind = ARCHIVE_TYPE if binding.rpc in DOWNLOAD_RPCS else "application/json"
    assert answer.headers["content-type"] == kind
    request = gateway.doubles.last.request
    first = request[0] if binding.client_streaming else request
    assert {name: str(getattr(first, name)) for name in binding.variables} == values(binding)


@pytest.mark.parametrize("binding", BINDINGS, ids=name)
def test_needs_a_token_unless_it_gives_one(gateway: Gateway, binding: HttpBinding) -> None:
    path = VARIABLE.sub(lambda match: values(binding)[match[1]], binding.template)
    public = binding.rpc in (
        "paradrop.auth.v1.AuthService.LoginLocal",
        "paradrop.auth.v1.AuthService.LoginCloud",
    )

    answer = gateway.request(binding.method, path, *body_of(binding), token=False)

    assert answer.status == (200 if public else 401)
    assert bool(gateway.doubles.calls) == public


@pytest.mark.parametrize("path", sorted({binding.template for binding in BINDINGS}))
def test_every_path_says_what_it_answers_to(gateway: Gateway, path: str) -> None:
    shape = VARIABLE.sub("{}", path)
    bindings = [binding for binding in BINDINGS if VARIABLE.sub("{}", binding.template) == shape]
    expected = {"OPTIONS"} | {binding.method for binding in bindings}
    if any(binding.method == "GET" and not binding.server_streaming for binding in bindings):
        expected.add("HEAD")
    concrete = VARIABLE.sub("17", path)

    refused = gateway.request("PROPFIND", concrete)
    asked = gateway.request("OPTIONS", concrete)

    assert (refused.status, refused.reason) == (405, "METHOD_NOT_ALLOWED")
    assert set(refused.headers["allow"].split(", ")) == expected
    assert (asked.status, asked.body) == (200, b"")
    assert asked.headers["allow"] == refused.headers["allow"]
    assert not gateway.doubles.calls


@pytest.mark.parametrize("binding", [b for b in BINDINGS if b.method == "GET"], ids=name)
def test_head_is_get_without_the_body(gateway: Gateway, binding: HttpBinding) -> None:
    path = VARIABLE.sub(lambda match: values(binding)[match[1]], binding.template)

    head = gateway.request("HEAD", path)

    if binding.server_streaming:
        assert head.status == 405
        return
    if binding.rpc in SHARED_RPCS:
        time.sleep(0.11)
    get = gateway.request("GET", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(get.body))
    assert [call.rpc for call in gateway.doubles.calls] == [binding.rpc] * 2


def test_a_query_by_method_is_refused_like_any_other_unknown_method(gateway: Gateway) -> None:
    answer = gateway.request("QUERY", "/api/v1/chutes")

    assert (answer.status, answer.reason) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in answer.headers["allow"]

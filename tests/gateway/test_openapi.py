"""The OpenAPI document: valid, complete, and what the gateway serves."""

from typing import Any

import pytest

from gateway import descriptors, openapi
from services.common.access import ACCESS
from tests.gateway.conftest import Gateway

BINDINGS = descriptors.http_bindings(descriptors.load())
METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.build(descriptors.load(), "1.2.3")


def operations(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


@pytest.mark.thorough
def test_it_is_valid(document: dict[str, Any]) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # Other workers need not load it.

    assert not list(OpenAPIV31SpecValidator(document).iter_errors())


def test_every_path_is_there_once(document: dict[str, Any]) -> None:
    assert set(operations(document)) == {(binding.method, binding.template) for binding in BINDINGS}
    assert {method for item in document["paths"].values() for method in item} <= METHODS


def test_everything_is_explained(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        assert operation["summary"], operation["operationId"]
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name


def test_only_public_calls_need_no_token(document: dict[str, Any]) -> None:
    without = {op["operationId"] for op in operations(document).values() if op.get("security") == []}
    public = {
        binding.rpc.rpartition(".")[0].rpartition(".")[2] + "_" + binding.rpc.rpartition(".")[2]
        for binding in BINDINGS
        if ACCESS["/" + "/".join(binding.rpc.rsplit(".", 1))].public
    }
    assert without == public


def test_an_upload_shares_its_path_with_a_document(document: dict[str, Any]) -> None:
    content = document["paths"]["/api/v1/chutes"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-tar"}


def test_keys_are_those_of_the_json(document: dict[str, Any]) -> None:
    change = document["components"]["schemas"]["chutes.Change"]["properties"]
    assert {"updateClass", "create_time"} <= set(change)


def body(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    schema: dict[str, Any] = document["paths"][path][method]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    return schema


def test_null_is_the_same_as_nothing_in_requests_but_where_something_is_required(
    document: dict[str, Any],
) -> None:
    sources = body(document, "/api/v1/airshark/sources", "put")
    assert sources["required"] == ["settings"]
    assert sources["properties"]["settings"]["type"] == "object"
    assert sources["properties"]["settings"]["properties"]["phy"]["type"] == ["string", "null"]
    kinds = sources["properties"]["settings"]["properties"]["kind"]["enum"]
    assert {"SOURCE_KIND_NONE", 1} <= set(kinds)
    assert not {"SOURCE_KIND_UNSPECIFIED", 0} & set(kinds)


def test_limits_and_patterns_of_the_protos_are_told(document: dict[str, Any]) -> None:
    analysis = body(document, "/api/v1/airshark/analysis", "put")["properties"]
    assert analysis["alarm_severity"]["maximum"] == 100
    [user] = document["paths"]["/api/v1/config/sshKeys/{user}"]["post"]["parameters"]
    assert user["schema"] == {"type": "string", "pattern": "^[a-z_][a-z0-9_.-]{0,31}$"}
    removal = document["paths"]["/api/v1/config/sshKeys/{user}"]["delete"]["parameters"]
    assert {parameter["name"]: parameter["required"] for parameter in removal} == {"user": True, "key": True}


def test_what_may_be_in_the_query_is_told_there_alone(document: dict[str, Any]) -> None:
    start = document["paths"]["/api/v1/chutes/{chute}/start"]["post"]
    assert "dry_run" in {parameter["name"] for parameter in start["parameters"]}
    assert "dry_run" not in body(document, "/api/v1/chutes/{chute}/start", "post")["properties"]
    assert "requestBody" not in document["paths"]["/api/v1/chutes/{chute}/stop"]["post"]


@pytest.mark.gateway
def test_it_is_served_to_whoever_has_a_token(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json["openapi"] == "3.1.0"
    assert gateway.request("GET", "/openapi.json", token=False).status == 401

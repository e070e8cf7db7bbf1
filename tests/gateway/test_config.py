"""What is generated from descriptors and settings."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gateway import descriptors
from gateway.bridge.app import KEEP_ALIVE_S
from gateway.config import write_config
from gateway.descriptors import HttpBinding
from gateway.routes import paths
from services.common.settings import SERVICES, load_settings


@pytest.fixture(scope="module")
def files() -> FileDescriptorSet:
    return descriptors.load()


@pytest.fixture(scope="module")
def bindings(files: FileDescriptorSet) -> list[HttpBinding]:
    return descriptors.http_bindings(files)


def binding(bindings: list[HttpBinding], rpc: str) -> HttpBinding:
    return next(item for item in bindings if item.rpc.endswith(f".{rpc}"))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is written when nothing is set."""
    return render(tmp_path_factory.mktemp("home"))


def render(tmp_path: Path, **environment: str) -> dict[str, Any]:
    settings = load_settings({"PARADROP_HOME": str(tmp_path), **environment})
    return parsed(write_config(settings, tmp_path / "out"))


def parsed(file: Path) -> dict[str, Any]:
    # The loader in C: the file is large.
    config: dict[str, Any] = yaml.load(file.read_text(), yaml.CSafeLoader)
    return config


def manager(config: dict[str, Any]) -> dict[str, Any]:
    filters = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    result: dict[str, Any] = filters[0]["typed_config"]
    return result


class TestDescriptors:
    def test_every_service_has_a_process(self, files: FileDescriptorSet) -> None:
        assert set(descriptors.services(files).values()) == set(SERVICES)

    def test_no_method_and_path_is_there_twice(self, bindings: list[HttpBinding]) -> None:
        counts = Counter((b.method, re.sub(r"\{\w+\}", "{}", b.template)) for b in bindings)
        shared = {key for key, count in counts.items() if count > 1}

        assert shared == {("POST", "/api/v1/chutes"), ("PUT", "/api/v1/chutes/{}")}

    def test_what_a_binding_says(self, bindings: list[HttpBinding]) -> None:
        logs = binding(bindings, "ChuteService.StreamLogs")
        start = binding(bindings, "StartChute")
        assert (logs.method, logs.service, logs.server_streaming) == ("GET", "chutes", True)
        assert logs.query_keys == ("service", "tail", "follow", "since", "until")
        taken = ("environment", "dry_run", "variables")
        assert (start.body, start.body_keys, start.query_keys) == ("*", taken, ("dry_run",))
        assert binding(bindings, "ListSshKeys").unwrap == "keys"
        assert binding(bindings, "RemoveStation").variables == ("chute", "network", "mac")

    def test_additional_bindings_count(self, bindings: list[HttpBinding]) -> None:
        templates = [b.template for b in bindings if b.rpc.endswith(".GenerateHostConfig")]

        assert templates == ["/api/v1/config/new-config", "/api/v1/config/new_config"]

    def test_envoys_copy_has_no_response_body_and_one_field_instead(self, files: FileDescriptorSet) -> None:
        copy = descriptors.for_envoy(files)

        rules = [
            rule
            for file in copy.file
            for service in file.service
            for method in service.method
            for option in [method.options.Extensions[annotations_pb2.http]]
            for rule in [option, *option.additional_bindings]
        ]
        assert rules
        assert not any(rule.response_body for rule in rules)
        replies = {m.name: [f.name for f in m.field] for file in copy.file for m in file.message_type}
        assert replies["ListChutesResponse"] == ["chutes"]
        assert replies["LoginLocalResponse"] == ["username", "success", "token"]
        assert not any(file.HasField("source_code_info") for file in copy.file)

    def test_the_original_stays_as_it_is(self, files: FileDescriptorSet) -> None:
        before = files.SerializeToString(deterministic=True)
        descriptors.for_envoy(files)

        assert files.SerializeToString(deterministic=True) == before

    def test_error_details_are_there(self, files: FileDescriptorSet) -> None:
        assert "google/rpc/error_details.proto" in {file.name for file in descriptors.for_envoy(files).file}

    def test_two_fields_to_unwrap_are_a_contradiction(self, files: FileDescriptorSet) -> None:
        broken = FileDescriptorSet()
        broken.CopyFrom(files)
        for file in broken.file:
            for service in file.service:
                for method in service.method:
                    if method.name == "ListChutes":
                        rule = method.options.Extensions[annotations_pb2.http]
                        rule.additional_bindings.add(get="/x", response_body="next_page_token")

        with pytest.raises(ValueError, match="ListChutesResponse"):
            descriptors.for_envoy(broken)


class TestRoutes:
    def test_a_literal_goes_before_a_variable(self, bindings: list[HttpBinding]) -> None:
        regexes = [path.regex for path in paths(bindings)]
        for early, late in [("/api/v1/chutes/?", "/api/v1/chutes/[^/]+/?")]:
            assert regexes.index(early) < regexes.index(late)

    def test_an_upload_goes_before_json(self, bindings: list[HttpBinding]) -> None:
        path = next(path for path in paths(bindings) if path.regex == "/api/v1/chutes/?")
        posts = [route.binding.rpc.rpartition(".")[2] for route in path.routes if "POST" in route.methods]

        assert posts == ["UploadChute", "InstallChute"]
        assert path.allow == "GET, HEAD, POST"

    @pytest.mark.parametrize(
        "path", ["/api/v1/chutes/a:b", "/api/v1/chutes/a.b/", "/api/v1/chutes/a%2fb", "/api/v1/chutes/a-b"]
    )
    def test_one_path_matches_a_name(self, bindings: list[HttpBinding], path: str) -> None:
        matching = [item.regex for item in paths(bindings) if re.fullmatch(item.regex, path)]

        assert matching == ["/api/v1/chutes/[^/]+/?"]

    @pytest.mark.parametrize("path", ["/api/v1/chutes//", "/api/v1/chutesx", "/x/api/v1/chutes", "/api/v1"])
    def test_no_path_matches(self, bindings: list[HttpBinding], path: str) -> None:
        assert not [item.regex for item in paths(bindings) if re.fullmatch(item.regex, path)]


class TestConfig:
    def test_filters_stand_in_their_order(self, config: dict[str, Any]) -> None:
        filters = [item["name"].rpartition(".")[2] for item in manager(config)["http_filters"]]

        assert filters == [
            *("cors", "grpc_web", "basic", "jwt_authn", "ext_authz", "lua"),
            *("shared", "transcoder", "upload_transcoder", "router"),
        ]

    def test_it_listens_where_it_is_told(self, tmp_path: Path) -> None:
        config = render(tmp_path, PARADROP_LISTEN="[::1]:8443")

        address = config["static_resources"]["listeners"][0]["address"]["socket_address"]
        assert address == {"address": "::1", "port_value": 8443}

    def test_no_tcp_port_is_opened_for_administration(self, config: dict[str, Any]) -> None:
        assert config["admin"]["address"].keys() == {"pipe"}

    def test_services_are_found_on_sockets_and_on_other_hosts(self, tmp_path: Path) -> None:
        tls = {"PARADROP_INTERNAL_TLS": "/tls/gateway"}
        config = render(tmp_path, PARADROP_CHUTES_ADDRESS="chutes:50051", **tls)

        clusters = {cluster["name"]: cluster for cluster in config["static_resources"]["clusters"]}
        endpoints = {
            name: cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
            for name, cluster in clusters.items()
        }
        assert set(clusters) == {*SERVICES, "bridge", "web", "snapd"}
        assert endpoints["chutes"] == {"socket_address": {"address": "chutes", "port_value": 50051}}
        assert clusters["chutes"]["type"] == "STRICT_DNS"
        assert endpoints["auth"] == {"pipe": {"path": str(tmp_path / "run" / "auth.sock")}}
        assert [name for name, cluster in clusters.items() if "transport_socket" in cluster] == ["chutes"]

    def test_cors_is_for_configured_origins_only(self, tmp_path: Path, config: dict[str, Any]) -> None:
        without = manager(config)["route_config"]["virtual_hosts"][0]
        origins = "https://a.example,http://b:1"
        with_two = manager(render(tmp_path, PARADROP_CORS_ORIGINS=origins))["route_config"]["virtual_hosts"][
            0
        ]

        assert "typed_per_filter_config" not in without
        policy = with_two["typed_per_filter_config"]["envoy.filters.http.cors"]
        assert policy["allow_origin_string_match"] == [
            {"exact": "https://a.example"},
            {"exact": "http://b:1"},
        ]
        script = (tmp_path / "out" / "filter.lua").read_text()
        assert 'local ORIGINS = {["https://a.example"] = true, ["http://b:1"] = true}\n' in script

    def test_streams_have_no_timeout_and_other_calls_have(self, config: dict[str, Any]) -> None:
        routes = manager(config)["route_config"]["virtual_hosts"][0]["routes"]

        timeouts = {
            (
                route["metadata"]["filter_metadata"]["envoy.filters.http.lua"]["kind"],
                route["route"]["timeout"],
            )
            for route in routes
            if "metadata" in route
        }
        assert timeouts == {
            ("stream", "0s"),
            ("download", "0s"),
            ("call", "60s"),
            ("login", "60s"),
            ("upload", "120s"),
        }

    def test_no_request_meets_the_end_of_an_idle_connection(self, config: dict[str, Any]) -> None:
        bridge = next(c for c in config["static_resources"]["clusters"] if c["name"] == "bridge")

        (options,) = bridge["typed_extension_protocol_options"].values()
        idle_timeout = options["common_http_protocol_options"]["idle_timeout"]
        assert float(idle_timeout.removesuffix("s")) < KEEP_ALIVE_S

    def test_only_logins_health_and_preflights_pass_without_credentials(self, config: dict[str, Any]) -> None:
        routes = manager(config)["route_config"]["virtual_hosts"][0]["routes"]

        def is_open(route: dict[str, Any]) -> bool:
            config = route.get("typed_per_filter_config", {}).get("envoy.filters.http.ext_authz", {})
            return bool(config.get("disabled", False))

        found = {
            match.get("path") or match.get("prefix") or match["safe_regex"]["regex"]
            for route in routes
            for match in [route["match"]]
            if is_open(route)
        }
        assert found == {
            "/api/v1/auth/local/?",
            "/api/v1/auth/cloud/?",
            "/paradrop.auth.v1.AuthService/LoginLocal",
            "/paradrop.auth.v1.AuthService/LoginCloud",
            "/grpc.health.v1.Health/",
            "/healthz",
            # The pages of chutes and a chute's own host name: decided behind, see test_web.py.
            "/chutes/",
            "/",
        }

    def test_what_is_written_is_for_the_owner_alone(self, tmp_path: Path) -> None:
        render(tmp_path)

        assert {path.stat().st_mode & 0o77 for path in [tmp_path / "out", *(tmp_path / "out").iterdir()]} == {
            0
        }

    def test_a_path_with_odd_letters_stays_what_it_is(self, tmp_path: Path) -> None:
        home = tmp_path / 'it\'s "odd" {{ x }}'
        settings = replace(load_settings({"PARADROP_HOME": str(home)}), runtime=home)

        config = parsed(write_config(settings, home / "gateway"))

        assert config["admin"]["address"]["pipe"]["path"] == str(home / "envoy.sock")

"""The pages and the health of the node."""

import re
import time

import pytest

from gateway import descriptors
from gateway.bridge import reference
from gateway.bridge.health import CACHE_S
from gateway.bridge.pages import PORTAL
from tests.gateway.conftest import Gateway


@pytest.mark.gateway
class TestPages:
    def test_the_front_page_says_what_runs_here(self, gateway: Gateway) -> None:
        answer = gateway.request("GET", "/")

        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert b"Paradrop" in answer.body
        assert b'src="/static/portal.js"' in answer.body

    def test_scripts_find_what_they_import(self, gateway: Gateway) -> None:
        wanted = {"portal.js", "header.js", "spectrum.js"}
        read: set[str] = set()
        while missing := wanted - read:
            name = missing.pop()
            answer = gateway.request("GET", f"/static/{name}")
            assert answer.status == 200, name
            assert answer.headers["content-type"].startswith("text/javascript")
            wanted |= set(re.findall(r'from "\./([\w.]+)"', answer.body.decode()))
            read.add(name)
        assert {file.name for file in PORTAL.glob("*.js")} == read

    @pytest.mark.parametrize("path", ["/", "/spectrum", "/reference"])
    def test_a_page_needs_nothing_from_elsewhere(self, gateway: Gateway, path: str) -> None:
        page = gateway.request("GET", path)

        links = set(re.findall(r'(?:href|src)="([^"#]+)"', page.body.decode()))
        assert links
        for link in links:
            assert link.startswith("/"), link
            assert gateway.request("GET", link).status == 200, link
        assert "default-src 'none'" in page.headers["content-security-policy"]

    @pytest.mark.parametrize(
        "name", ["none.css", "x/portal.css", "..%2fgateway%2fconfig.py", "..%2fREADME.md"]
    )
    def test_only_files_of_the_pages_are_served(self, gateway: Gateway, name: str) -> None:
        answer = gateway.request("GET", f"/static/{name}")

        assert answer.status == 404
        assert answer.headers["content-type"] == "application/json"

    def test_the_reference_can_be_downloaded(self, gateway: Gateway) -> None:
        from google.protobuf.descriptor_pb2 import FileDescriptorSet

        answer = gateway.request("GET", "/reference/descriptors.binpb")

        assert FileDescriptorSet.FromString(answer.body) == descriptors.load()

    @pytest.mark.parametrize("path", ["/", "/spectrum", "/reference", "/healthz"])
    def test_head_works(self, gateway: Gateway, path: str) -> None:
        answer = gateway.request("HEAD", path)

        assert (answer.status, answer.body) == (200, b"")

    @pytest.mark.parametrize("path", ["/", "/spectrum", "/reference"])
    def test_a_page_is_only_read(self, gateway: Gateway, path: str) -> None:
        answer = gateway.request("POST", path)

        assert (answer.status, answer.reason) == (405, "METHOD_NOT_ALLOWED")
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}

    def test_health_needs_no_token(self, gateway: Gateway) -> None:
        answer = gateway.request("GET", "/healthz", token=False)

        assert answer.status == 200
        services = {"auth", "network", "airshark", "chutes", "node"}
        assert answer.json == {"status": "ok", "services": dict.fromkeys(services, "SERVING")}
        assert not gateway.doubles.checks

    def test_a_service_that_nobody_can_connect_to_any_more_is_not_well(self, gateway: Gateway) -> None:
        deleted = gateway.settings.runtime / "network.sock"
        kept = deleted.rename(deleted.with_name("kept"))
        try:
            time.sleep(CACHE_S)
            answer = gateway.request("GET", "/healthz", token=False)
        finally:
            kept.rename(deleted)
        assert (answer.status, answer.json["status"]) == (503, "degraded")
        states = answer.json["services"]
        assert states.pop("network") == "SOCKET_MISSING"
        assert set(states.values()) == {"SERVING"}
        time.sleep(CACHE_S)
        assert gateway.request("GET", "/healthz", token=False).status == 200


class TestReference:
    def test_everything_is_in_it_and_explained(self) -> None:
        files = descriptors.load()
        content = reference.build(files)

        rpcs = {f"{service.name}.{rpc.name}": rpc for service in content.services for rpc in service.rpcs}
        assert {binding.rpc for binding in descriptors.http_bindings(files)} <= rpcs.keys()
        assert set(descriptors.services(files)) <= {service.name for service in content.services}
        assert all(rpc.comment for rpc in rpcs.values())
        assert all(entry.comment for type_ in content.types for entry in type_.entries)

    def test_an_rpc_shows_its_paths_and_who_may_call_it(self) -> None:
        content = reference.build(descriptors.load())

        services = {service.name: service for service in content.services}
        start = next(r for r in services["paradrop.chutes.v1.ChuteService"].rpcs if r.name == "StartChute")
        login = next(r for r in services["paradrop.auth.v1.AuthService"].rpcs if r.name == "LoginLocal")
        assert start.http == [("POST", "/api/v1/chutes/{chute}/start")]
        assert start.access == "role trusted"
        assert login.access == "no token"

    def test_types_are_linked(self) -> None:
        content = reference.build(descriptors.load())

        names = {type_.name for type_ in content.types}
        chute = next(type_ for type_ in content.types if type_.name == "paradrop.chutes.v1.Chute")
        entries = {entry.name: entry for entry in chute.entries}
        assert entries["services"].type == "map<string, Chute.Service>"
        assert entries["services"].link == "paradrop.chutes.v1.Chute.Service"
        assert all(entry.link in names for type_ in content.types for entry in type_.entries if entry.link)


def test_a_page_of_the_bridge_has_one_date(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/healthz", token=False)
    assert answer.headers["date"].endswith(" GMT")

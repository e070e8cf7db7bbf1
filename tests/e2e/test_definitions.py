"""Chutes of all kinds on a whole node: by description, from registries, from elsewhere, and altered."""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from services.chutes.domain.chuteschema import SCHEMA
from tests.support.chutes import IDLE, idle_chute
from tests.support.engine import BUSYBOX, chute_tar
from tests.support.files_server import FilesServer, files_server
from tests.support.node import PASSWORD, NodeProcess, free_port, running_node
from tests.support.pdtools import Pdtools, install_pdtools
from tests.support.python_image import python_image
from tests.support.registry import Registry, serving_registry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SECRET = "hunter2-is-the-secret"
COMMAND = json.loads(IDLE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FilesServer]:
    with files_server(tmp_path) as server:
        yield server


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving_registry() as registry:
        yield registry


@pytest.fixture
def node(tmp_path: Path, engine: docker.DockerClient, server: FilesServer) -> Iterator[NodeProcess]:
    environment = {
        "PARADROP_DOWNLOAD_HOSTS": "localhost",
        "PARADROP_DOWNLOAD_CA": str(server.ca_file),
        "PARADROP_BASE_IMAGES": f"python3={python_image(engine.api)}",
    }
    with running_node(tmp_path / "home", **environment) as node:
        yield node


def _install(node: NodeProcess, **config: Any) -> Any:
    answer = node.request("POST", "/api/v1/chutes/", json_body={"config": config})
    assert answer.status == 200, answer
    return node.ended(answer.json["change_id"])


def _messages(node: NodeProcess, change_id: int) -> list[str]:
    body = node.request("GET", f"/api/v1/changes/{change_id}/watch").body.decode()
    events = [json.loads(line) for line in body.splitlines()]
    return [event["progress"]["message"] for event in events if "progress" in event]


def _fetch(port: int) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_the_schema_is_served(node: NodeProcess) -> None:
    answer = node.request("GET", "/api/v1/schemas/chute")
    assert (answer.status, answer.json) == (200, SCHEMA)


def test_services_from_a_private_registry(
    node: NodeProcess, engine: docker.DockerClient, registry: Registry
) -> None:
    registry.credentials = ("alice", SECRET)
    image = registry.push(engine.api, BUSYBOX, "team/box:1")
    service = {"type": "image", "image": image, "command": COMMAND}
    services = {
        "api": {**service, "depends-on": ["store"], "credentials": {"user": "alice", "secret": SECRET}},
        "store": {**service, "credentials": {"user": "alice", "secret": SECRET}},
    }
    wrong = {"user": "alice", "secret": "x"}
    denied = {name: {**given, "credentials": wrong} for name, given in services.items()}
    change = _install(node, name="stack", services=denied)
    assert (change["failure"]["reason"], change["failure"]["undone"]) == ("REGISTRY_DENIED", True)
    assert node.request("GET", "/api/v1/chutes/stack").status == 404

    change = _install(node, name="stack", version=2, environment={"A": "1"}, services=services)
    assert change["status"] == "succeeded", change
    lines = _messages(node, change["id"])
    assert lines.index("Calling start_container store") < lines.index("Calling start_container api")
    shown = node.request("GET", "/api/v1/chutes/stack").json
    assert (shown["state"], shown["version"], shown["environment"]) == ("running", 2, {"A": "1"})
    assert "A=1" in engine.containers.get("stack-api").attrs["Config"]["Env"]
    change_id = node.request("POST", "/api/v1/chutes/stack/stop").json["change_id"]
    assert node.ended(change_id)["status"] == "succeeded"
    lines = _messages(node, change_id)
    assert lines.index("Calling remove_container api") < lines.index("Calling remove_container store")

    config = node.request("GET", "/api/v1/chutes/stack/config").body.decode()
    assert SECRET not in config + node.output + "".join(lines)
    tags = [tag for image in engine.images.list() for tag in image.tags]
    assert not [tag for tag in tags if tag.startswith(registry.address)]


def test_a_light_chute_from_a_server(node: NodeProcess, server: FilesServer) -> None:
    port = free_port()
    server.credentials = ("alice", SECRET)
    description = {
        "name": "pages",
        "services": {
            "main": {
                "type": "light",
                "image": "python3",
                "command": ["python3", "-m", "http.server", "80"],
                "requests": {"port-bindings": [{"internal": 80, "external": port}]},
            }
        },
    }
    files = {"paradrop.yaml": yaml.safe_dump(description), "index.html": "from afar"}
    server.files["/pages.tar"] = chute_tar(files)
    download = {"url": server.url("/pages.tar"), "user": "alice", "secret": SECRET}
    change = _install(node, name="pages", download=download)
    assert change["status"] == "succeeded", (change, _messages(node, change["id"]))
    assert _fetch(port) == "from afar"
    assert SECRET not in node.output + str(_messages(node, change["id"]))


def test_bad_descriptions_are_told_field_by_field(node: NodeProcess) -> None:
    config = {"name": "bad", "services": {"m": {"comand": "x", "requests": {"cpu-fraction": 2}}}}
    answer = node.request("POST", "/api/v1/chutes/", json_body={"config": config})
    assert answer.status == 400
    told = next(detail["fieldViolations"] for detail in answer.json["details"] if "fieldViolations" in detail)
    assert {one["field"] for one in told} == {
        "config.services.m.comand",
        "config.services.m.requests.cpu-fraction",
    }
    privileged = {"type": "image", "image": BUSYBOX, "requests": {"privileged": True}}
    config = {"name": "bad", "services": {"m": privileged}}
    answer = node.request("POST", "/api/v1/chutes/", json_body={"config": config})
    assert (answer.status, answer.reason) == (409, "PRIVILEGED_NOT_ALLOWED")


def test_pdtools_edits_a_configuration(
    node: NodeProcess, tmp_path: Path, engine: docker.DockerClient
) -> None:
    assert node.ended(node.upload(idle_chute("edited")).json["change_id"])["status"] == "succeeded"
    home = tmp_path / "person"
    home.mkdir()
    pdtools = Pdtools(install_pdtools(), node.target, home)
    pdtools.run("node", "login", answers={"Username: ": "paradrop", "Password: ": PASSWORD})
    before = yaml.safe_load(pdtools.run("node", "describe-chute-configuration", "edited"))

    save = _editor(tmp_path, 'touch "$1"')
    assert "success" in pdtools.run("node", "edit-chute-configuration", "edited", editor=save)
    assert yaml.safe_load(pdtools.run("node", "describe-chute-configuration", "edited")) == before

    alter = _editor(tmp_path, 'sed -i "s/^    environment: {}/    environment: {COLOUR: green}/" "$1"')
    assert "success" in pdtools.run("node", "edit-chute-configuration", "edited", editor=alter)
    after = yaml.safe_load(pdtools.run("node", "describe-chute-configuration", "edited"))
    assert after["services"]["main"]["environment"] == {"COLOUR": "green"}
    assert "COLOUR=green" in engine.containers.get("edited-main").attrs["Config"]["Env"]


def _editor(folder: Path, command: str) -> Path:
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
    return path

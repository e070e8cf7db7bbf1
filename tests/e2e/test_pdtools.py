"""The original pdtools 0.13.2 does its whole journey against the whole node and a real Docker engine."""

import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml

from tests.support.node import PASSWORD, NodeProcess, free_port
from tests.support.pdtools import ROOT, Pdtools, install_pdtools

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CHUTE = "pdtools-hello"
NEW_PASSWORD = "another password: with a colon"


@pytest.fixture
def node(tmp_path: Path, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path / "home")
    node.start()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def pdtools(node: NodeProcess, tmp_path: Path) -> Pdtools:
    home = tmp_path / "person"
    home.mkdir()
    return Pdtools(install_pdtools(), node.target, home)


@pytest.fixture
def chute(tmp_path: Path) -> tuple[Path, int]:
    """The chute of the README under another name and port."""
    folder = tmp_path / "chute"
    shutil.copytree(ROOT / "examples" / "hello", folder)
    port = free_port()
    description = yaml.safe_load((folder / "paradrop.yaml").read_text())
    description["name"] = CHUTE
    description["services"]["main"]["requests"]["port-bindings"] = {"8000/tcp": port}
    (folder / "paradrop.yaml").write_text(yaml.safe_dump(description))
    return folder, port


def _fetch(port: int) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return response.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_a_chute_travels_from_pdtools_into_docker_and_back(
    node: NodeProcess, pdtools: Pdtools, chute: tuple[Path, int]
) -> None:
    folder, port = chute
    credentials = {"Username: ": "paradrop", "Password: ": PASSWORD}

    assert "Login successful." in pdtools.run("node", "login", answers=credentials)
    assert pdtools.run("node", "list-chutes").strip() == ""

    installed = pdtools.run("node", "install-chute", "-d", str(folder))
    assert re.search(rf"Completed create operation on chute {CHUTE}: success", installed), installed
    assert "hello" in _fetch(port).lower()

    (listed,) = yaml.safe_load(pdtools.run("node", "list-chutes"))
    assert (listed["name"], listed["state"]) == (CHUTE, "running")
    described = yaml.safe_load(pdtools.run("node", "describe-chute", CHUTE))
    assert described["services"]["main"]["state"] == "running"
    assert described["version"] == 1
    assert "networkInterfaces" in yaml.safe_load(pdtools.run("node", "describe-chute-cache", CHUTE))
    configuration = yaml.safe_load(pdtools.run("node", "describe-chute-configuration", CHUTE))
    assert configuration["web"] == {"port": 8000, "service": "main"}

    log = pdtools.follow("node", "watch-chute-logs", CHUTE, until="response:200")
    assert "[main]" in log

    assert "success" in pdtools.run("node", "restart-chute", CHUTE)
    assert "hello" in _fetch(port).lower()
    assert "success" in pdtools.run("node", "stop-chute", CHUTE)
    assert yaml.safe_load(pdtools.run("node", "describe-chute", CHUTE))["state"] == "stopped"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
    assert "success" in pdtools.run("node", "start-chute", CHUTE)
    assert "hello" in _fetch(port).lower()

    new = {"Username: ": "paradrop", "New password: ": NEW_PASSWORD, "Confirm password: ": NEW_PASSWORD}
    assert "success: true" in pdtools.run("node", "set-password", answers=new)
    time.sleep(5)  # The promise: tokens from before the change end within five seconds.
    again = {"Username: ": "paradrop", "Password: ": NEW_PASSWORD}
    assert CHUTE in pdtools.run("node", "list-chutes", answers=again)

    removed = pdtools.run("node", "remove-chute", CHUTE)
    assert f"Completed delete operation on chute {CHUTE}: success" in removed, removed
    assert pdtools.run("node", "list-chutes").strip() == ""
    assert pdtools.run("node", "list-changes").strip() == ""


def test_the_deprecated_command_tree_still_works(
    node: NodeProcess, pdtools: Pdtools, chute: tuple[Path, int]
) -> None:
    folder, port = chute
    credentials = {"Username: ": "paradrop", "Password: ": PASSWORD}
    device = ("device", node.target)
    pdtools.run(*device, "login", answers=credentials)
    pdtools.run(*device, "chutes", "create", cwd=folder)
    assert "hello" in _fetch(port).lower()
    assert CHUTE in pdtools.run(*device, "chutes", "list")
    assert "running" in pdtools.run(*device, "chute", CHUTE, "info")
    pdtools.run(*device, "chute", CHUTE, "delete")


def test_a_failed_install_says_why(node: NodeProcess, pdtools: Pdtools, chute: tuple[Path, int]) -> None:
    folder, _ = chute
    (folder / "Dockerfile").write_text("FROM busybox:stable\nRUN echo the last words && false\n")
    pdtools.run("node", "login", answers={"Username: ": "paradrop", "Password: ": PASSWORD})
    output = pdtools.run("node", "install-chute", "-d", str(folder))
    assert "the last words" in output
    assert f"Completed create operation on chute {CHUTE}: failure" in output
    assert pdtools.run("node", "list-chutes").strip() == ""

"""The original pdtools 0.13.2 does its whole journey against the whole node and a real Docker engine."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.support.journey import CHUTE, fetch, hello_chute, travel
from tests.support.node import PASSWORD, NodeProcess
from tests.support.pdtools import Pdtools, install_pdtools

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


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
    folder = tmp_path / "chute"
    return folder, hello_chute(folder)


def test_a_chute_travels_from_pdtools_into_docker_and_back(pdtools: Pdtools, chute: tuple[Path, int]) -> None:
    folder, port = chute
    travel(pdtools, folder, port, PASSWORD)


def test_the_deprecated_command_tree_still_works(
    node: NodeProcess, pdtools: Pdtools, chute: tuple[Path, int]
) -> None:
    folder, port = chute
    credentials = {"Username: ": "paradrop", "Password: ": PASSWORD}
    device = ("device", node.target)
    pdtools.run(*device, "login", answers=credentials)
    pdtools.run(*device, "chutes", "create", cwd=folder)
    assert "hello" in fetch(port).lower()
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

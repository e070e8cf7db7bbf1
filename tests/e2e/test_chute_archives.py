"""Chutes move between whole nodes with their data, by the command and through kills at every step."""

import http.client
import os
import stat
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.e2e.test_crash import _assert_nothing_but, _kill_at, _steps
from tests.launcher.test_launcher_command import COMMAND
from tests.support.engine import BUSYBOX, chute_tar
from tests.support.node import PASSWORD, NodeProcess, running_node

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HASTY = {"PARADROP_GRACE_S": "0.3"}
GZIP = {"Content-Type": "application/gzip"}
MAKES_DATA = (
    'CMD ["/bin/sh", "-c", "[ -e /data/made ] || (echo $(cat /here) > /data/made; chmod 640 /data/made; '
    "chown 1234:5678 /data/made; mkdir /data/sub; ln -s /bin/sh /data/sub/shell); "
    'echo found $(cat /data/made); trap exit TERM; sleep 1000000 & wait"]\n'
)


def _chute(name: str) -> bytes:
    return chute_tar(
        {
            "paradrop.yaml": f"name: {name}\nservices: {{main: {{environment: {{COLOUR: 'green'}}}}}}\n",
            "Dockerfile": f"FROM {BUSYBOX}\nCOPY here /here\n{MAKES_DATA}",
            "here": "the first node",
        }
    )


@pytest.fixture
def node(tmp_path: Path, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    with running_node(tmp_path / "home", **HASTY) as node:
        yield node


@pytest.fixture
def other(tmp_path: Path, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    with running_node(tmp_path / "other", **HASTY) as node:
        yield node


@pytest.fixture
def name() -> str:
    return f"move-{uuid.uuid4().hex[:6]}"


def _done(node: NodeProcess, answer: Any) -> None:
    change = node.ended(answer.json["change_id"])
    assert change["status"] == "succeeded", change


def _command(
    node: NodeProcess, *arguments: str, password: str = PASSWORD
) -> subprocess.CompletedProcess[str]:
    """Runs the command as somebody who is on another machine would."""
    return subprocess.run(
        [COMMAND, "chute", "--node", f"http://{node.target}", *arguments],
        env=os.environ | {"PARADROP_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _data(node: NodeProcess, name: str) -> Path:
    return node.home / "chutes" / "data" / name


def test_the_command_moves_a_chute_to_another_node(
    node: NodeProcess, other: NodeProcess, name: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    _done(node, node.upload(_chute(name)))
    file = tmp_path / "moved.chute.tar.gz"
    done = _command(node, "export", name, str(file), "--pause")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    again = _command(node, "export", name, str(file))
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert engine.containers.get(f"{name}-main").status == "running"

    done = _command(other, "import", str(file), "--name", f"{name}-b", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "put_data: Puts data that was imported" in done.stdout
    done = _command(other, "import", str(file), "--name", f"{name}-b")
    assert done.returncode == 0, done.stderr
    assert "Calling put_data" in done.stdout

    made = _data(other, f"{name}-b") / "made"
    assert made.read_text() == "the first node\n"
    status = made.stat()
    assert (status.st_uid, status.st_gid, oct(status.st_mode)) == (1234, 5678, "0o100640")
    assert os.readlink(made.parent / "sub" / "shell") == "/bin/sh"
    assert b"found the first node" in engine.containers.get(f"{name}-b-main").logs()
    assert other.request("GET", f"/api/v1/chutes/{name}-b/config").json["environment"] == {}
    service = other.request("GET", f"/api/v1/chutes/{name}-b/config").json["services"]["main"]
    assert service["environment"] == {"COLOUR": "green"}

    done = _command(other, "import", str(file), "--name", f"{name}-b")
    assert (done.returncode, done.stdout) == (1, "")
    assert "already exists" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_tells_in_a_line_what_is_wrong(node: NodeProcess, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for done, words in (
        (_command(node, "export", "nothing", str(file)), "No chute found"),
        (_command(node, "export", "nothing", str(file), password="wrong"), "password"),
        (_command(NodeProcess(tmp_path, port=9), "export", "x", str(file)), "does not answer"),
    ):
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert list(tmp_path.glob("*file*")) == []


def test_the_containers_stand_still_for_as_long_as_somebody_reads(
    node: NodeProcess, name: str, engine: docker.DockerClient
) -> None:
    _done(node, node.upload(_chute(name)))
    (_data(node, name) / "large").write_bytes(os.urandom(40_000_000))
    container = engine.containers.get(f"{name}-main")
    connection = http.client.HTTPConnection(node.target, timeout=30)
    path = f"/api/v1/chutes/{name}/export?pause=true"
    connection.request("GET", path, headers={"Authorization": f"Bearer {node.token}"})
    reply = connection.getresponse()
    assert len(reply.read(1_000_000)) == 1_000_000
    container.reload()
    assert container.status == "paused"
    reply.close()
    connection.close()
    _until(container, "running")
    assert node.request("GET", f"/api/v1/chutes/{name}").json["state"] == "running"

    # A stop does not wait for a reader.
    connection.request("GET", path, headers={"Authorization": f"Bearer {node.token}"})
    reply = connection.getresponse()
    assert len(reply.read(1_000_000)) == 1_000_000
    _done(node, node.request("POST", f"/api/v1/chutes/{name}/stop"))
    assert node.request("GET", f"/api/v1/chutes/{name}").json["state"] == "stopped"
    connection.close()


def test_a_node_that_dies_leaves_nothing_paused(
    node: NodeProcess, name: str, engine: docker.DockerClient
) -> None:
    _done(node, node.upload(_chute(name)))
    (_data(node, name) / "large").write_bytes(os.urandom(40_000_000))
    connection = http.client.HTTPConnection(node.target, timeout=30)
    path = f"/api/v1/chutes/{name}/export?pause=true"
    connection.request("GET", path, headers={"Authorization": f"Bearer {node.token}"})
    assert connection.getresponse().read(1_000_000)
    assert engine.containers.get(f"{name}-main").status == "paused"
    node.kill()
    connection.close()
    node.start()
    node.login()
    deadline = time.monotonic() + 30
    while node.request("GET", f"/api/v1/chutes/{name}").json["state"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _until(container: Any, status: str) -> None:
    deadline = time.monotonic() + 10
    while container.status != status:
        assert time.monotonic() < deadline, container.status
        time.sleep(0.1)
        container.reload()


def test_an_import_in_the_place_of_a_chute_survives_a_kill_at_every_step(
    node: NodeProcess, name: str, engine: docker.DockerClient
) -> None:
    _done(node, node.upload(_chute(name)))
    data = _data(node, name)
    (data / "round").write_text("archived")
    archive = node.request("GET", f"/api/v1/chutes/{name}/export").body
    path = "/api/v1/chutes/import?replace=true"
    steps = _steps(node, node.request("POST", path, archive, GZIP).json["change_id"])
    assert {"Calling put_data", "Calling remove_earlier_data"} <= set(steps)
    _assert_nothing_but(engine, node, {name})
    for step in steps:
        (data / "round").write_text("later")
        change_id = node.request("POST", path, archive, GZIP).json["change_id"]
        assert _kill_at(node, change_id, step), step
        node.start()
        node.login()
        change = node.ended(change_id)
        assert node.request("GET", f"/api/v1/chutes/{name}").json["state"] == "running", step
        if change["status"] == "succeeded":
            assert (data / "round").read_text() == "archived", step
        else:
            assert change["failure"]["undone"], change
            assert (data / "round").read_text() == "later", step
        assert (data / "made").read_text() == "the first node\n"
        _assert_nothing_but(engine, node, {name})

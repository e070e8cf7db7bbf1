"""The whole node is killed at every step of an install, an update and a removal; nothing is lost or left."""

import contextlib
import http.client
import json
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.chutes import idle_chute
from tests.support.node import NodeProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SLOW_BUILD = (
    "FROM busybox:stable\nRUN echo one && sleep 1\nRUN echo two\n"
    'CMD ["/bin/sh", "-c", "trap exit TERM; sleep 1000000 & wait"]\n'
)


@pytest.fixture
def node(tmp_path: Path, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path / "home", environment={"PARADROP_GRACE_S": "0.3"})
    node.start()
    node.login()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def foreign(engine: docker.DockerClient) -> Iterator[Any]:
    """Somebody else's container, which must survive everything."""
    container = engine.containers.run("busybox:stable", ["sleep", "100000"], detach=True, init=True)
    try:
        yield container
        container.reload()
        assert container.status == "running"
    finally:
        container.remove(force=True)


def _messages(node: NodeProcess, change_id: int) -> Iterator[str]:
    request = urllib.request.Request(
        f"http://{node.target}/api/v1/changes/{change_id}/watch",
        headers={"Authorization": f"Bearer {node.token}"},
    )
    with (
        contextlib.suppress(OSError, http.client.HTTPException),
        urllib.request.urlopen(request, timeout=60) as stream,
    ):
        for line in stream:
            event = json.loads(line)
            if "progress" in event:
                yield event["progress"]["message"]


def _steps(node: NodeProcess, change_id: int) -> list[str]:
    """Returns the steps of a change that runs undisturbed."""
    messages = list(_messages(node, change_id))
    assert node.ended(change_id)["status"] == "succeeded", messages
    return [message for message in messages if message.startswith("Calling ")]


def _kill_at(node: NodeProcess, change_id: int, step: str) -> bool:
    """Kills the node as soon as a step begins; False if the change ended without it."""
    for message in _messages(node, change_id):
        if message == step:
            node.kill()
            return True
    return False


def _ours(engine: docker.DockerClient, node: NodeProcess) -> dict[str, set[str]]:
    """Returns the names of everything in the engine that carries the labels of the node."""
    label = f"io.paradrop.node={(node.home / 'chutes' / 'node-id').read_text().strip()}"
    api = engine.api
    filters = {"label": label}
    images = {tag for image in api.images(filters=filters) for tag in image["RepoTags"] or ["<none>"]}
    return {
        "containers": {c["Names"][0].lstrip("/") for c in api.containers(all=True, filters=filters)},
        "networks": {network["Name"] for network in api.networks(filters=filters)},
        "images": images,
    }


def _assert_nothing_but(engine: docker.DockerClient, node: NodeProcess, chutes: set[str]) -> None:
    ours = _ours(engine, node)
    assert ours["containers"] == {f"{chute}-main" for chute in chutes}
    assert ours["networks"] == chutes
    assert {tag.partition(":")[0] for tag in ours["images"]} == {f"{chute}-main" for chute in chutes}
    assert len(ours["images"]) == len(chutes)
    state = node.home / "chutes"
    for folder in ("data", "system"):
        path = state / folder
        assert {each.name for each in path.iterdir()} == chutes if path.exists() else not chutes
    # What their images can be built from again.
    work = state / "work"
    assert len(list(work.iterdir()) if work.exists() else []) == len(chutes)
    for folder in ("uploads", "trash"):
        path = state / folder
        assert not path.exists() or not list(path.iterdir()), list(path.iterdir())


def _name(kind: str) -> str:
    return f"crash-{kind}-{uuid.uuid4().hex[:6]}"


def _delete(node: NodeProcess, name: str) -> None:
    answer = node.request("DELETE", f"/api/v1/chutes/{name}")
    assert node.ended(answer.json["change_id"])["status"] == "succeeded"


def test_an_install_survives_a_kill_at_every_step(
    node: NodeProcess, engine: docker.DockerClient, foreign: Any
) -> None:
    name = _name("install")
    steps = _steps(node, node.upload(idle_chute(name, dockerfile=SLOW_BUILD)).json["change_id"])
    assert len(steps) >= 6, steps
    _delete(node, name)
    _assert_nothing_but(engine, node, set())
    for step in steps:
        name = _name("install")
        change_id = node.upload(idle_chute(name, dockerfile=SLOW_BUILD)).json["change_id"]
        assert _kill_at(node, change_id, step), step
        node.start()
        node.login()
        change = node.ended(change_id)
        if change["status"] == "succeeded":
            assert node.request("GET", f"/api/v1/chutes/{name}").json["state"] == "running"
            _assert_nothing_but(engine, node, {name})
            _delete(node, name)
        else:
            assert change["failure"]["undone"], change
        assert node.request("GET", "/api/v1/chutes/").json == []
        _assert_nothing_but(engine, node, set())


def test_an_update_survives_a_kill_at_every_step(
    node: NodeProcess, engine: docker.DockerClient, foreign: Any
) -> None:
    name = _name("update")
    assert node.ended(node.upload(idle_chute(name, version=1)).json["change_id"])["status"] == "succeeded"
    path = f"/api/v1/chutes/{name}"
    version = 2
    steps = _steps(
        node,
        node.upload(idle_chute(name, version=version, dockerfile=SLOW_BUILD), "PUT", path).json["change_id"],
    )
    for step in steps:
        version += 1
        tar = idle_chute(name, version=version, dockerfile=SLOW_BUILD)
        change_id = node.upload(tar, "PUT", path).json["change_id"]
        assert _kill_at(node, change_id, step), step
        node.start()
        node.login()
        change = node.ended(change_id)
        chute = node.request("GET", path).json
        assert chute["state"] == "running", (step, chute)
        if change["status"] == "succeeded":
            assert chute["version"] == version
        else:
            assert change["failure"]["undone"], change
            version = int(chute["version"])
        _assert_nothing_but(engine, node, {name})
    _delete(node, name)
    _assert_nothing_but(engine, node, set())


def test_a_removal_survives_a_kill_at_every_step(
    node: NodeProcess, engine: docker.DockerClient, foreign: Any
) -> None:
    name = _name("delete")
    assert node.ended(node.upload(idle_chute(name)).json["change_id"])["status"] == "succeeded"
    steps = _steps(node, node.request("DELETE", f"/api/v1/chutes/{name}").json["change_id"])
    for step in steps:
        name = _name("delete")
        assert node.ended(node.upload(idle_chute(name)).json["change_id"])["status"] == "succeeded"
        change_id = node.request("DELETE", f"/api/v1/chutes/{name}").json["change_id"]
        assert _kill_at(node, change_id, step), step
        node.start()
        node.login()
        change = node.ended(change_id)
        if change["status"] != "succeeded":
            assert change["failure"]["undone"], change
            assert node.request("GET", f"/api/v1/chutes/{name}").json["state"] == "running"
            _delete(node, name)
        _assert_nothing_but(engine, node, set())


def test_queued_changes_run_after_a_kill(
    node: NodeProcess, engine: docker.DockerClient, foreign: Any
) -> None:
    names = [_name("queue") for _ in range(4)]
    ids = [node.upload(idle_chute(name, dockerfile=SLOW_BUILD)).json["change_id"] for name in names]
    node.kill()
    node.start()
    node.login()
    for change_id in ids:
        assert node.ended(change_id)["status"] == "succeeded"
    _assert_nothing_but(engine, node, set(names))
    for name in names:
        _delete(node, name)
    _assert_nothing_but(engine, node, set())

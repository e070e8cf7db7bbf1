"""What a node says to pdtools 0.13.2, and tells of itself, without an engine, snapd and a sound server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.node import PASSWORD, NodeProcess
from tests.support.pdtools import Pdtools, install_pdtools

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

LOGIN = {"Username: ": "paradrop", "Password: ": PASSWORD}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    # Neither an engine nor snapd nor a sound server: what the node tells about itself needs none of them.
    folder = tmp_path_factory.mktemp("node")
    node = NodeProcess(
        folder / "home",
        environment={
            "DOCKER_HOST": f"unix://{folder}/no-engine.sock",
            "SNAPD_INTERFACE": f"{folder}/no-snapd.sock",
            "PULSE_SERVER": f"unix:{folder}/no-pulse",
            "AN_API_TOKEN": "not to be seen",
        },
    )
    node.start()
    node.login()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def pdtools(node: NodeProcess, tmp_path_factory: pytest.TempPathFactory) -> Pdtools:
    pdtools = Pdtools(install_pdtools(), node.target, tmp_path_factory.mktemp("person"))
    assert "Login successful." in pdtools.run("node", "login", answers=LOGIN)
    return pdtools


def test_ssh_keys_are_listed_and_refused_when_they_are_none(pdtools: Pdtools, tmp_path: Path) -> None:
    keys = yaml.safe_load(pdtools.run("node", "list-ssh-keys", "-u", "root") or "[]")
    assert keys is None or isinstance(keys, list)
    (tmp_path / "key").write_text("no key at all\n")
    # The client does not look at the answer of the node, and says that it has added the key.
    pdtools.run("node", "import-ssh-key", "-u", "root", str(tmp_path / "key"))
    assert yaml.safe_load(pdtools.run("node", "list-ssh-keys", "-u", "root") or "[]") == keys


@pytest.mark.parametrize(
    "command", ["describe-audio", "list-audio-modules", "list-audio-sinks", "list-audio-sources"]
)
def test_audio_says_that_there_is_no_sound_server(pdtools: Pdtools, command: str) -> None:
    assert "AUDIO_UNAVAILABLE" in pdtools.run("node", command)


def test_snaps_say_that_there_is_no_snapd(pdtools: Pdtools) -> None:
    assert "SERVICE_UNAVAILABLE" in pdtools.run("node", "list-snap-interfaces")


def test_what_the_node_tells_beyond_the_documented(node: NodeProcess) -> None:
    def get(path: str) -> Any:
        answer = node.request("GET", f"/api/v1/{path}")
        assert answer.status == 200, (path, answer)
        return answer.json

    assert get("info/environment")["AN_API_TOKEN"] == "(hidden)"
    assert get("config/controller")["state"] == "STATE_UNPROVISIONED"
    assert "engine-down" in [issue["id"] for issue in get("info/issues")]
    reset = node.request("POST", "/api/v1/config/factoryReset", json_body={"dry_run": True}).json
    assert reset["change_id"] == 0
    assert reset["removed"]
    assert reset["kept"]


def test_metrics_tell_of_the_node(node: NodeProcess) -> None:
    text = node.request("GET", "/metrics").body.decode()
    for sample in (
        'paradrop_node_radios{part="node"}',
        'paradrop_controller_connected{part="node"} 0.0',
        'paradrop_node_load{over="1m",part="node"}',
        "paradrop_process_resident_memory_bytes{",
    ):
        assert sample in text


def test_the_command_line_shows_the_log_and_what_is_wrong(node: NodeProcess) -> None:
    command = str(Path(sys.executable).with_name("paradrop"))
    own = {"PARADROP_HOME": str(node.home), "PARADROP_LISTEN": node.target}
    environment = os.environ | node.environment | own
    logs = subprocess.run(
        [command, "logs", "--json", "--service", "chutes"], env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert logs.returncode == 0, logs.stderr
    assert "the engine is gone" in [json.loads(line)["message"] for line in logs.stdout.splitlines()]
    status = subprocess.run([command, "status"], env=environment, capture_output=True, text=True)
    assert "DOWN" in status.stdout
    assert "engine-down: The Docker engine does not answer" in status.stdout
    environment["PARADROP_HOME"] = f"{node.home}-none"
    nobody = subprocess.run([command, "logs"], env=environment, capture_output=True, text=True)
    assert nobody.returncode == 1
    assert "does not run" in nobody.stderr

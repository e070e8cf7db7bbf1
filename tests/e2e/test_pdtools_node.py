"""The commands of pdtools 0.13.2 that ask about the node itself, and the documented JSON behind them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from websockets.sync.client import connect

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


def test_settings_and_provision_are_described(pdtools: Pdtools) -> None:
    settings = yaml.safe_load(pdtools.run("node", "describe-settings"))
    assert settings["concurrent_builds"] is True
    provision = yaml.safe_load(pdtools.run("node", "describe-provision"))
    assert provision["provisioned"] is False


def test_a_node_is_provisioned(pdtools: Pdtools, node: NodeProcess) -> None:
    told = yaml.safe_load(
        pdtools.run(
            "node", "provision", "r1", "t0ken", "-c", "http://127.0.0.1:9", "-w", "ws://127.0.0.1:9/ws"
        )
    )
    assert told["provisioned"] is True
    assert told["httpConnected"] is False
    assert node.request("GET", "/api/v1/config/pdid").json == {"pdid": "r1"}
    again = yaml.safe_load(
        pdtools.run(
            "node", "provision", "r1", "t0ken", "-c", "http://127.0.0.1:9", "-w", "ws://127.0.0.1:9/ws"
        )
    )
    assert again["success"] is False


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


@pytest.mark.parametrize("command", ["reboot", "shutdown"])
def test_power_commands_are_changes(pdtools: Pdtools, command: str) -> None:
    # This machine stays on: PARADROP_POWER=0 lets the change fail.
    assert "PARADROP_POWER" in pdtools.run("node", command)


def test_the_log_can_be_watched(node: NodeProcess) -> None:
    headers = {"Authorization": f"Bearer {node.token}"}
    with connect(f"ws://{node.target}/ws/paradrop_logs", additional_headers=headers) as socket:
        # A change that is refused by the system's power leaves a line.
        document = {"routerId": "r2", "apitoken": "x", "pdserver": "http://127.0.0.1:9"}
        answer = node.request("POST", "/api/v1/config/provision", json_body=document)
        assert answer.status == 200
        (node.home / "node" / "provision.json").chmod(0o644)
        fixed = node.request("POST", "/api/v1/info/issues/secrets-readable/fix", json_body={})
        assert fixed.json["fixed"] is True
        assert "made private" in socket.recv(timeout=20)


def test_the_documented_json_of_the_node(node: NodeProcess) -> None:
    def get(path: str) -> object:
        answer = node.request("GET", f"/api/v1/{path}")
        assert answer.status == 200, (path, answer)
        return answer.json

    hardware = get("info/hardware")
    assert set(hardware) == {"vendor", "board", "cpu", "memory", "wifi"}
    assert isinstance(hardware["memory"], int)
    assert hardware["vendor"] is None or isinstance(hardware["vendor"], str)
    software = get("info/software")
    assert set(software) == {
        "biosVendor", "biosVersion", "biosDate", "osVersion", "kernelVersion", "pdVersion", "uptime",
    }  # fmt: skip
    assert isinstance(software["uptime"], int)
    assert get("info/features") == ["audio", "hostapd-control"]
    environment = get("info/environment")
    assert environment["AN_API_TOKEN"] == "(hidden)"
    telemetry = get("info/telemetry")
    assert set(telemetry) == {"time", "chutes", "network", "system"}
    assert telemetry["chutes"] == []
    interface = telemetry["network"][0]
    assert interface["type"] is None
    assert set(interface["io_counters"]) == {
        "bytes_sent", "bytes_recv", "packets_sent", "packets_recv", "errin", "errout", "dropin", "dropout",
    }  # fmt: skip
    assert get("config/controller")["state"] in (
        "STATE_UNPROVISIONED", "STATE_CONNECTING", "STATE_DISCONNECTED",
    )  # fmt: skip
    provision = get("config/provision")
    assert {"routerId", "pdserver", "wampRouter", "provisioned", "httpConnected", "wampConnected"} <= set(
        provision
    )
    settings = get("config/settings")
    assert settings["default_panel_password"] is None
    assert settings["portal_server_port"] == node.port
    issues = get("info/issues")
    assert "engine-down" in [issue["id"] for issue in issues]
    reset = node.request("POST", "/api/v1/config/factoryReset", json_body={"dry_run": True}).json
    assert reset["change_id"] == 0
    assert reset["removed"]
    assert reset["kept"]


def test_the_status_socket_answers_refresh(node: NodeProcess) -> None:
    headers = {"Authorization": f"Bearer {node.token}"}
    with connect(f"ws://{node.target}/sockjs/status", additional_headers=headers) as socket:
        socket.send("nonsense")
        socket.send("refresh")
        status = json.loads(socket.recv(timeout=10))
    assert set(status) == {"cpu_load", "mem", "disk", "network"}
    assert isinstance(status["mem"]["total"], int)
    assert set(status["disk"]["/"]) == {"total", "used"}


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

"""Three nodes and the example controller: a chute on each, a cut network, a killed controller."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.engine import BUSYBOX, chute_folder
from tests.support.node import PASSWORD, NodeProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = "pdctl0"
NODES = ("one", "two", "three")
PORT = 9400
CONTROLLER = "10.99.7.1"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture(scope="module")
def network() -> Iterator[dict[str, str]]:
    """A namespace for each node, with a cable of its own to the bridge where the controller is."""
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    names = {node: f"pdctl-{node}" for node in NODES}
    with contextlib.ExitStack() as stack:

        def undo(*words: str) -> None:
            stack.callback(subprocess.run, ["ip", *words], capture_output=True, timeout=20)

        undo("link", "del", BRIDGE)
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{CONTROLLER}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, namespace in enumerate(names.values(), start=2):
            undo("netns", "del", namespace)
            ip("netns", "add", namespace)
            ip("link", "add", f"pdctl{number}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
            ip("link", "set", f"pdctl{number}", "master", BRIDGE, "up")
            ip("-n", namespace, "addr", "add", f"10.99.7.{number}/24", "dev", "eth0")
            for name in ("eth0", "lo"):
                ip("-n", namespace, "link", "set", name, "up")
        yield names


class Fleet:
    """The example controller in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[dict[str, Any]] = []
        self.tokens = {node: f"token-{node}" for node in NODES}
        (folder / "tokens.json").write_text(json.dumps(self.tokens))
        self.process: Any = None
        self.reader: Any = None

    def start(self) -> None:
        program = ROOT / "examples/controller/controller.py"
        self.process = subprocess.Popen(
            [sys.executable, program, "--listen", f"{CONTROLLER}:{PORT}",
             "--state", self.folder / "fleet.sqlite3", "--tokens", self.folder / "tokens.json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def _read(self, output: Any) -> None:
        for line in output:
            self.lines.append(json.loads(line))

    def command(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.process.stdin.close()
        self.reader.join(10)
        self.process.stdout.close()

    def seen(self, kind: str, begin: int = 0, **facts: Any) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines[begin:]
            if line["kind"] == kind and all(line.get(name) == value for name, value in facts.items())
        ]

    def ended(self) -> list[tuple[str, int, str]]:
        """Returns what is stored: node, change and status of each end."""
        with contextlib.closing(sqlite3.connect(self.folder / "fleet.sqlite3")) as db:
            records = [
                (node, json.loads(record)) for node, record in db.execute("SELECT node, record FROM records")
            ]
        changes = [(node, record["changeEnded"]) for node, record in records if "changeEnded" in record]
        return [(node, change["id"], change["status"]) for node, change in changes]


def until(check: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    deadline_s = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline_s, what
        time.sleep(0.1)
    return found


def curl(namespace: str, node: NodeProcess, *words: str) -> Any:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, "curl", "-s", "-m", "30", "-u", f"paradrop:{PASSWORD}", *words],
        capture_output=True, text=True, check=True, timeout=40,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.fixture
def fleet(tmp_path: Path, network: dict[str, str]) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    fleet.start()
    yield fleet
    fleet.kill()


def test_nothing_is_lost_when_the_network_and_the_controller_go(
    tmp_path: Path, network: dict[str, str], fleet: Fleet, engine: docker.DockerClient
) -> None:
    nodes: dict[str, NodeProcess] = {}
    with contextlib.ExitStack() as stack:
        for number, (name, namespace) in enumerate(network.items(), start=2):
            node = NodeProcess(
                tmp_path / name, 8080, host=f"10.99.7.{number}", prefix=("ip", "netns", "exec", namespace)
            )
            nodes[name] = node
            node.start()
            stack.callback(node.stop)
            node.login()
            stack.callback(remove, node, f"fleet-{name}")
        provision(network, nodes, fleet)
        begin_on_all(nodes, network, fleet, tmp_path)
        cut_and_kill(nodes, network, fleet)


def provision(network: dict[str, str], nodes: dict[str, NodeProcess], fleet: Fleet) -> None:
    for name, node in nodes.items():
        document = {
            "routerId": name, "apitoken": fleet.tokens[name], "pdserver": f"grpc://{CONTROLLER}:{PORT}",
        }  # fmt: skip
        url = f"http://{node.target}/api/v1/config/provision"
        told = curl(
            network[name], node, "-H", "content-type: application/json", "-d", json.dumps(document), url
        )
        assert told["provisioned"] is True
        assert told["httpConnected"] is True, told
    assert {line["node"] for line in fleet.seen("connected")} == set(NODES)


def begin_on_all(nodes: dict[str, NodeProcess], network: dict[str, str], fleet: Fleet, folder: Path) -> None:
    fleet.command("watch")
    for name in nodes:
        # One engine serves all nodes here, so that each needs a chute with a name of its own.
        files = {
            "Dockerfile": f"FROM {BUSYBOX}\nCMD trap exit TERM; while true; do sleep 0.2; done\n",
            "paradrop.yaml": f"name: fleet-{name}\nversion: 1\nservices:\n  main:\n    type: normal\n",
        }
        fleet.command(f"install {chute_folder(folder / f'chute-{name}', files)} {name}")
    accepted = until(lambda: len(fleet.seen("accepted")) == len(NODES) and fleet.seen("accepted"), "accepted")
    assert {line["node"] for line in accepted} == set(NODES)
    until(lambda: len(fleet.ended()) == len(NODES), "all ends")
    assert {(node, status) for node, _, status in fleet.ended()} == {(node, "succeeded") for node in NODES}
    for name in NODES:
        until(
            lambda name=name: fleet.seen("state", node=name, chutes={f"fleet-{name}": "running"}), "the state"
        )
    assert until(lambda: fleet.seen("progress"), "progress")
    assert until(lambda: fleet.seen("telemetry"), "telemetry")
    fleet.command("call one /paradrop.node.v1.NodeService/GetFeatures")
    until(lambda: fleet.seen("reply", node="one"), "a reply")
    assert fleet.seen("reply")[0]["content"]["features"] == ["audio", "hostapd-control"]


def cut_and_kill(nodes: dict[str, NodeProcess], network: dict[str, str], fleet: Fleet) -> None:
    # The cable of one node is pulled, and the controller is killed a moment later: changes end meanwhile.
    ip("link", "set", "pdctl3", "down")
    first = {name: restart(network[name], nodes[name], name) for name in NODES}
    fleet.kill()
    second = {name: restart(network[name], nodes[name], name) for name in NODES}
    for name in NODES:
        until(lambda name=name: has_ended(network[name], nodes[name], second[name]), "the end", 60)
    # One node loses its power as well.
    nodes["three"].kill()
    nodes["three"].start()
    ip("link", "set", "pdctl3", "up")
    begin = len(fleet.lines)
    fleet.start()
    expected = sorted((name, number) for name in NODES for number in (1, first[name], second[name]))

    def complete() -> bool:
        return sorted((node, number) for node, number, _ in fleet.ended()) == expected

    until(complete, "every end once", 90)
    time.sleep(3)
    assert complete(), fleet.ended()
    assert {line["node"] for line in fleet.seen("connected", begin)} == set(NODES)


def restart(namespace: str, node: NodeProcess, name: str) -> int:
    url = f"http://{node.target}/api/v1/chutes/fleet-{name}/restart"
    return int(curl(namespace, node, "-X", "POST", url)["change_id"])


def has_ended(namespace: str, node: NodeProcess, number: int) -> bool:
    url = f"http://{node.target}/api/v1/changes/{number}"
    return curl(namespace, node, url)["status"] in ("succeeded", "failed")


def remove(node: NodeProcess, chute: str) -> None:
    answer = node.request("DELETE", f"/api/v1/chutes/{chute}")
    if answer.status == 200:
        node.ended(answer.json["change_id"])

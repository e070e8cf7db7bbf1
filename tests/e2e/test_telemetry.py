"""The report of the load with chutes on a real engine, over REST and beside what the kernel tells."""

import secrets
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import docker
import psutil
import pytest
import yaml

from tests.network.conftest import needs_root
from tests.support.chutes import IDLE
from tests.support.engine import BUSYBOX, chute_tar
from tests.support.node import NodeProcess, change, running_node
from tests.support.shape import TELEMETRY, faults

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

CACHE_AGE_S = 1.1
"""A little more than the time for which a report is kept."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    with running_node(tmp_path_factory.mktemp("telemetry") / "home") as node:
        yield node


def install(node: NodeProcess, services: dict[str, Any], command: str = IDLE) -> str:
    name = f"load-{secrets.token_hex(3)}"
    description = yaml.safe_dump({"name": name, "services": services})
    tar = chute_tar({"paradrop.yaml": description, "Dockerfile": f"FROM {BUSYBOX}\nCMD {command}\n"})
    ended = node.ended(node.upload(tar).json["change_id"])
    assert ended["status"] == "succeeded", ended
    return name


def report(node: NodeProcess) -> Any:
    time.sleep(CACHE_AGE_S)
    answer = node.request("GET", "/api/v1/info/telemetry")
    assert answer.status == 200, answer
    assert list(faults(TELEMETRY, answer.json)) == []
    return answer.json


def test_a_running_chute_is_told_with_its_process_and_a_stopped_one_without(
    node: NodeProcess, engine: docker.DockerClient
) -> None:
    running = install(node, {"main": {}, "side": {}})
    stopped = install(node, {"main": {}})
    change(node, "POST", f"/api/v1/chutes/{stopped}/stop")
    chutes = {chute["name"]: chute for chute in report(node)["chutes"]}
    assert chutes[stopped] == {"name": stopped, "state": "missing", "process": None, "network": []}
    assert chutes[running]["state"] == "running"
    told = chutes[running]["process"]
    # The first of its services stands for it, and in its container what works, not the engine's init.
    (real,) = psutil.Process(engine.containers.get(f"{running}-main").attrs["State"]["Pid"]).children()
    assert real.cmdline()[:2] == ["/bin/sh", "-c"]
    assert told["create_time"] == pytest.approx(real.create_time(), abs=0.02)
    # A shell that sleeps: what it has does not change any more.
    assert told["memory_info"]["rss"] == real.memory_info().rss > 0
    assert told["memory_info"]["vms"] == real.memory_info().vms
    assert told["num_threads"] == 1
    assert 0 < told["num_ctx_switches"]["voluntary"] <= real.num_ctx_switches().voluntary


def test_the_counters_of_a_busy_chute_grow(node: NodeProcess) -> None:
    name = install(node, {"main": {}}, '["/bin/sh", "-c", "trap exit TERM; while :; do :; done"]')

    def user_s() -> float:
        chute = next(chute for chute in report(node)["chutes"] if chute["name"] == name)
        return float(chute["process"]["cpu_times"]["user"])

    first_s = user_s()
    assert user_s() > first_s
    change(node, "DELETE", f"/api/v1/chutes/{name}")
    assert name not in [chute["name"] for chute in report(node)["chutes"]]


@needs_root
def test_the_interface_of_a_chute_is_told_with_its_type_and_only_there(node: NodeProcess) -> None:
    interface = f"pd{secrets.token_hex(4)}"
    cable = ["ip", "link", "add", interface, "type", "veth", "peer", "name", f"{interface}p"]
    subprocess.run(cable, check=True)
    try:
        for end in (interface, f"{interface}p"):
            subprocess.run(["ip", "link", "set", end, "up"], check=True)
        assert interface in [one["name"] for one in report(node)["network"]]
        wanted = {"type": "lan", "requests": {"device": interface}}
        name = install(node, {"main": {"interfaces": {"wired0": wanted}}})
        told = report(node)
        (network,) = [chute["network"] for chute in told["chutes"] if chute["name"] == name]
        assert [(one["name"], one["type"]) for one in network] == [(interface, "lan")]
        assert {one["type"] for one in told["network"]} == {None}
        assert interface not in [one["name"] for one in told["network"]]
        (address,) = [one for one in network[0]["addresses"] if one["family"] == 2]
        assert (address["address"].rpartition(".")[2], address["netmask"]) == ("1", "255.255.255.0")
        assert network[0]["isup"] is True
        assert network[0]["io_counters"]["bytes_sent"] > 0
        change(node, "DELETE", f"/api/v1/chutes/{name}")
    finally:
        subprocess.run(["ip", "link", "del", interface], check=False)

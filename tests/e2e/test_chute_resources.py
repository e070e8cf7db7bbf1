"""Shares of the processor and usage over REST, on a whole node with a real engine."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.support.chutes import IDLE
from tests.support.engine import BUSYBOX, chute_tar
from tests.support.node import NodeProcess, change, running_node

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

USAGE_KEYS = {
    *("cpu_seconds", "cpu_percent", "memory_bytes", "network_received_bytes", "network_sent_bytes"),
    *("block_read_bytes", "block_written_bytes", "pid_count"),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    with running_node(tmp_path_factory.mktemp("resources") / "home") as node:
        yield node


def tar(name: str, services: dict[str, str]) -> bytes:
    """Returns a chute whose services have these requests."""
    listed = "".join(
        f"  {service}:\n    type: normal\n    requests: {requests}\n"
        for service, requests in services.items()
    )
    return chute_tar(
        {
            "paradrop.yaml": f"name: {name}\nservices:\n{listed}",
            "Dockerfile": f"FROM {BUSYBOX}\nCMD {IDLE}\n",
        }
    )


def install(node: NodeProcess, services: dict[str, str]) -> str:
    name = f"res-{uuid.uuid4().hex[:6]}"
    assert node.ended(node.upload(tar(name, services)).json["change_id"])["status"] == "succeeded"
    return name


def until_shares(engine: docker.DockerClient, expected: dict[str, int]) -> None:
    deadline = time.monotonic() + 10
    while True:
        found = {
            name: engine.containers.get(name).attrs["HostConfig"]["CpuShares"] or 1024 for name in expected
        }
        if found == expected:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def allocations(node: NodeProcess, name: str) -> Any:
    chute = node.request("GET", f"/api/v1/chutes/{name}").json
    return chute["allocation"], {key: one["allocation"] for key, one in chute["services"].items()}


def test_the_processor_is_shared_by_the_rule_of_the_original(
    node: NodeProcess, engine: docker.DockerClient
) -> None:
    plain = install(node, {"main": "{}"})
    assert allocations(node, plain)[0] == {"cpu_shares": 1024, "prioritize_traffic": False}
    asking = install(node, {"front": "{cpu-fraction: 0.25}", "back": "{}"})
    until_shares(engine, {f"{asking}-front": 1536, f"{asking}-back": 768, f"{plain}-main": 768})
    assert allocations(node, asking) == (
        {"cpu_shares": 2304, "prioritize_traffic": False},
        {
            "front": {"cpu_shares": 1536, "prioritize_traffic": False},
            "back": {"cpu_shares": 768, "prioritize_traffic": False},
        },
    )
    listed = {chute["name"]: chute for chute in node.request("GET", "/api/v1/chutes/").json}
    assert listed[plain]["allocation"]["cpu_shares"] == 768
    greedy = node.upload(tar(f"{plain}-x", {"main": "{cpu-fraction: 0.8}"}))
    assert (greedy.status, greedy.reason) == (409, "CPU_FRACTION_EXCEEDED")
    change(node, "POST", f"/api/v1/chutes/{asking}/stop")
    until_shares(engine, {f"{plain}-main": 1024})
    assert allocations(node, asking)[0]["cpu_shares"] == 0
    change(node, "POST", f"/api/v1/chutes/{asking}/start")
    until_shares(engine, {f"{asking}-front": 1536, f"{plain}-main": 768})
    change(node, "DELETE", f"/api/v1/chutes/{asking}")
    until_shares(engine, {f"{plain}-main": 1024})


def test_usage_is_a_document_and_a_stream(node: NodeProcess) -> None:
    name = install(node, {"main": "{}", "side": "{}"})
    usage = node.request("GET", f"/api/v1/chutes/{name}/usage").json
    assert set(usage) == {"time", "total", "services"}
    assert set(usage["services"]) == {"main", "side"}
    for one in (usage["total"], *usage["services"].values()):
        assert set(one) - {"memory_limit_bytes"} == USAGE_KEYS
        assert all(isinstance(value, int | float) for value in one.values())
        assert one["memory_bytes"] > 0
        assert one["pid_count"] >= 1
    request = urllib.request.Request(
        f"http://{node.target}/api/v1/chutes/{name}/usage/watch?interval_s=1",
        headers={"Authorization": f"Bearer {node.token}"},
    )
    with contextlib.closing(urllib.request.urlopen(request, timeout=20)) as stream:
        first, second = (json.loads(stream.readline())["usage"] for _ in range(2))
        assert second["time"] > first["time"]
        assert set(second["services"]) == {"main", "side"}
        change(node, "DELETE", f"/api/v1/chutes/{name}")
        rest = [json.loads(line) for line in stream]
    assert rest[-1]["end"]["status"]["code"] == 0
    assert node.request("GET", f"/api/v1/chutes/{name}/usage").reason == "CHUTE_NOT_FOUND"


def test_what_a_chute_sends_goes_first_while_it_runs(node: NodeProcess, engine: docker.DockerClient) -> None:
    name = install(node, {"main": "{prioritize-traffic: true}", "side": "{}"})
    allocation, services = allocations(node, name)
    assert allocation["prioritize_traffic"] is True
    assert [services[one]["prioritize_traffic"] for one in ("main", "side")] == [True, False]
    networks = engine.containers.get(f"{name}-main").attrs["NetworkSettings"]["Networks"]
    until_first({networks[name]["IPAddress"]})
    change(node, "DELETE", f"/api/v1/chutes/{name}")
    until_first(set())


def until_first(expected: set[str]) -> None:
    """Waits until the kernel's rules put these addresses first."""
    nft = shutil.which("nft", path="/usr/sbin:/usr/bin")
    assert nft, "this test needs nft: apt-get install nftables"
    deadline = time.monotonic() + 10
    while True:
        listed = subprocess.run(
            [nft, "-j", "list", "set", "ip", "paradrop_chutes", "first"], capture_output=True, check=False
        )
        sets = json.loads(listed.stdout)["nftables"] if listed.returncode == 0 else []
        found = {address for one in sets for address in one.get("set", {}).get("elem", [])}
        if found == expected:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)

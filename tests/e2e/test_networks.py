"""A chute gets a network of its own on a whole node: seen over REST, in its container, by a device on it."""

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from tests.network.conftest import Namespace, Namespaces, namespaces, needs_root
from tests.support.engine import chute_tar
from tests.support.node import NodeProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), needs_root]
__all__ = ["namespaces"]

STAY = 'FROM busybox:stable\nCMD ["/bin/sh", "-c", "trap exit TERM; sleep 1000000 & wait"]\n'


@pytest.fixture
def node(tmp_path: Path, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path / "home")
    node.start()
    node.login()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def socket(namespaces: Namespaces) -> Iterator[tuple[str, Namespace]]:
    """A wired interface of this machine with a device behind it."""
    device = namespaces.make()
    name = f"pd{secrets.token_hex(4)}"
    cable = ["ip", "link", "add", name, "type", "veth", "peer", "name", "nic", "netns", device.name]
    subprocess.run(cable, check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    device.run("ip", "link", "set", "nic", "up")
    yield name, device
    subprocess.run(["ip", "link", "del", name], check=False)


def chute(name: str, interface: dict[str, Any]) -> bytes:
    description = {"name": name, "services": {"main": {"interfaces": {"wired0": interface}}}}
    return chute_tar({"paradrop.yaml": yaml.safe_dump(description), "Dockerfile": STAY})


def eventually(look: Callable[[], Any], timeout_s: float = 10) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_a_device_gets_an_address_of_a_chutes_network(
    node: NodeProcess, socket: tuple[str, Namespace], engine: docker.DockerClient
) -> None:
    interface, device = socket
    wanted = {
        "type": "lan",
        "requests": {"device": interface},
        "dhcp": {"lease": "1h", "start": 10, "limit": 20},
    }
    answer = node.upload(chute("netted", wanted))
    assert answer.status == 200, answer
    change = node.ended(answer.json["change_id"])
    assert change["status"] == "succeeded", change["failure"]
    path = "/api/v1/chutes/netted/networks"
    assert node.request("GET", path).json == [{"name": "wired0", "type": "lan", "interface": "wired0"}]
    assert node.request("GET", f"{path}/wired0").json["interface"] == "wired0"
    assert node.request("GET", f"{path}/wired0/leases").json == []
    (cached,) = node.request("GET", "/api/v1/chutes/netted/cache").json["networkInterfaces"]
    assert (cached["externalIntf"], cached["netmask"]) == (interface, "255.255.255.0")
    container = engine.containers.get("netted-main")
    assert cached["ipaddrWithPrefix"].encode() in container.exec_run("ip addr show dev wired0").output

    device.run("busybox", "udhcpc", "-i", "nic", "-n", "-q", "-x", "hostname:toaster", check=False)
    (lease,) = eventually(lambda: node.request("GET", f"{path}/wired0/leases").json)
    assert (lease["ip_addr"].rpartition(".")[0], lease["hostname"]) == ("10.128.0", "toaster")
    assert isinstance(lease["expires"], str)
    (known,) = node.request("GET", "/api/v1/network/devices").json
    assert (known["mac_addr"], known["ip_addr"]) == (lease["mac_addr"], lease["ip_addr"])
    assert isinstance(known["expires"], int | float)
    assert lease["mac_addr"].encode() in container.exec_run("cat /paradrop/dnsmasq-wired0.leases").output

    sections = node.request("GET", "/api/v1/config/pdconf").json
    mine = {section["type"]: section["success"] for section in sections if section["comment"] == "netted"}
    assert mine == {"interface": True, "dnsmasq": True, "zone": True}
    assert node.request("GET", f"{path}/wired0/stations").status in (200, 503)
    assert node.request("GET", f"{path}/other").reason == "NETWORK_NOT_FOUND"

    removed = node.request("DELETE", "/api/v1/chutes/netted")
    assert node.ended(removed.json["change_id"])["status"] == "succeeded"
    assert eventually(lambda: node.request("GET", path).status == 404)
    assert "10.128.0.1" not in subprocess.check_output(["ip", "addr", "show", "dev", interface], text=True)


def test_the_host_configuration_over_rest(node: NodeProcess) -> None:
    config = "/api/v1/config"
    document = node.request("GET", f"{config}/hostconfig").json
    assert (
        node.request("GET", f"{config}/new-config").json == node.request("GET", f"{config}/new_config").json
    )
    document["vendor"] = {"odd": [1, "1", None, 1.5, True]}
    for sent in (document, {"config": {**document, "second": 2}}):
        answer = node.request("PUT", f"{config}/hostconfig", json_body=sent)
        assert answer.status == 200, answer
        assert node.ended(answer.json["change_id"])["status"] == "succeeded"
    assert node.request("GET", f"{config}/hostconfig").json == {**document, "second": 2}
    (difference,) = node.request("GET", f"{config}/hostconfig/diff").json
    assert (difference["path"], difference["kind"], difference["after"]) == ("/second", "KIND_ADDED", 2)
    assert [v["version"] for v in node.request("GET", f"{config}/hostconfig/versions").json] == [3, 2, 1]
    assert node.request("GET", f"{config}/hostconfig/versions/2").json["config"] == document
    assert node.request("GET", f"{config}/hostconfig/status").json["state"] == "STATE_CONFIRMED"
    wrong = node.request(
        "PUT", f"{config}/hostconfig", json_body={"config": {**document, "lan": {"proto": 1}}}
    )
    assert (wrong.status, wrong.reason) == (400, "HOST_CONFIG_INVALID")
    (fields,) = [detail["fieldViolations"] for detail in wrong.json["details"] if "fieldViolations" in detail]
    assert [field["field"] for field in fields] == ["config.lan.proto"]
    schema = node.request("GET", f"{config}/hostconfig/schema").json
    assert schema["properties"]["lan"]["type"] == "object"
    path = f"{config}/hostconfig?confirm_timeout_s=5"
    unconfirmed = node.request("PUT", path, json_body={**document, "third": 3})
    failure = node.ended(unconfirmed.json["change_id"])["failure"]
    assert (failure["reason"], failure["undone"]) == ("HOST_CONFIG_NOT_CONFIRMED", True)
    assert node.request("GET", f"{config}/hostconfig").json == {**document, "second": 2}

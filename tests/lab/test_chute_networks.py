"""Chutes get access points through the service itself, and lose them to the last rule."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest

from tests.lab.air import Client, wait_until
from tests.lab.chutes import HOST_CONFIG, PLAN, WPA2_KEY, access_point, wanted
from tests.lab.node import INTERNET, LabNode, request_of
from tests.lab.test_radios import processes
from tests.network.served import reason_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

SSID = "Of a chute"
NETWORK = access_point(
    "wlan0", SSID, section="wifi", wireless={"encryption": "psk2", "key": WPA2_KEY}, radio="other-wifi-2"
)
INTERFACE = "vwlan5f88"
"""What the contract calls the access point wlan0 of the chute hello-world."""
PATH = "/api/v1/chutes/hello-world/networks/wlan0"


def ruleset(lab: LabNode) -> str:
    """Returns all rules of the kernel."""
    return lab.machine.run("nft", "list", "ruleset").output


def links(lab: LabNode) -> set[str]:
    """Returns the interfaces of the node."""
    return {link["ifname"] for link in json.loads(lab.machine.run("ip", "-j", "link").output)}


def traces(lab: LabNode) -> tuple[str, set[str], list[int], list[int], set[str]]:
    """Returns everything that a network could leave behind."""
    files = ("find", "/run/paradrop", "!", "-name", "*sqlite*")
    return (
        ruleset(lab),
        links(lab),
        processes(lab.machine, "hostapd"),
        processes(lab.machine, "dnsmasq"),
        set(lab.machine.run(*files, "-type", "f").output.split()),
    )


def test_a_chute_gets_an_access_point_and_loses_it_to_the_last_rule(lab: LabNode, client: Client) -> None:
    before = traces(lab)
    (cached,) = lab.apply("hello-world", [NETWORK])
    container = lab.attach("hello-world")
    assert (cached["externalIntf"], cached["internalIntf"]) == (INTERFACE, "wlan0")
    assert cached["ipaddrWithPrefix"] == "10.128.0.2/24"
    assert WPA2_KEY not in str(cached)
    assert container.addresses() == {"wlan0": "10.128.0.2/24"}
    assert "state UP" in container.run("ip", "link", "show", "wlan0")
    address = f"{cached['externalIpaddr']}/24"
    assert address in lab.machine.run("ip", "-4", "addr", "show", "dev", INTERFACE).output

    client.join(SSID, key=WPA2_KEY, security="psk")
    leased = client.lease("phone")
    assert leased.startswith("10.128.0.")
    lease = wait_until("the lease", lambda: lab.get(f"{PATH}/leases"), timeout_s=1)[0]
    assert (lease["ip_addr"], lease["mac_addr"], lease["hostname"]) == (leased, client.mac, "phone")
    assert client.pings("10.128.0.2"), "the chute is reached over the air"
    assert container.run("ping", "-c1", "-W2", leased), "and the station from the chute"
    file = lab.machine.read("/run/paradrop/system/hello-world/dnsmasq-wlan0.leases")
    assert leased in file

    sections = [s for s in lab.get("/api/v1/config/pdconf") if s["comment"] == "hello-world"]
    assert [(s["type"], s["name"], s["success"]) for s in sections] == [
        ("wifi-iface", INTERFACE, True),
        ("interface", INTERFACE, True),
        ("dnsmasq", INTERFACE, True),
        ("zone", INTERFACE, True),
    ]
    lab.release("hello-world")
    assert traces(lab) == before
    assert lab.request("GET", PATH).status == 404


def test_what_cannot_be_had_leaves_nothing(lab: LabNode) -> None:
    """The last of two networks fails when it is brought up: the first must go again."""
    before = traces(lab)
    # Somebody else has the place of the second network's DHCP and DNS server before it has its address.
    script = "import socket, time; s = socket.socket(); s.setsockopt(0, 15, 1)  # IP_FREEBIND\n"
    script += "s.bind(('10.128.1.1', 53)); s.listen(); time.sleep(1000)"
    squatter = lab.machine.spawn("python3", "-c", script)
    try:
        with pytest.raises(grpc.RpcError, match="dnsmasq cannot run on vwlan5f89"):
            lab.apply("hello-world", [NETWORK, access_point("wlan1", "Two", radio="other-wifi-2")])
    finally:
        lab.machine.signal(squatter, 9)
    assert traces(lab) == before
    assert not [s for s in lab.get("/api/v1/config/pdconf") if s["comment"] == "hello-world"]


@pytest.mark.parametrize("program", ["hostapd", "dnsmasq"])
def test_a_program_that_is_not_installed_is_named_and_what_runs_goes_on(lab: LabNode, program: str) -> None:
    before = traces(lab)
    lab.machine.run("mv", f"/usr/sbin/{program}", "/run/lab/")
    try:
        with pytest.raises(grpc.RpcError, match=f"{program} is not installed; install the package") as raised:
            lab.apply("hello-world", [NETWORK])
        assert reason_of(raised.value) == f"{program.upper()}_UNAVAILABLE"
    finally:
        lab.machine.run("mv", f"/run/lab/{program}", "/usr/sbin/")
    assert traces(lab) == before
    assert lab.get("/api/v1/chutes/captive-portal/networks/wifi/hostapd_status")["state"] == "ENABLED"


def test_two_chutes_with_two_networks_each_are_kept_apart(
    lab: LabNode, client: Client, other: Client
) -> None:
    """Devices reach their chute and the uplink, and nothing of another network, be it of the same chute."""
    plan = {
        "one": [
            access_point("wlan0", "One A", "192.168.140.0/24"),
            access_point("wlan1", "One B", "192.168.141.0/24", radio="other-wifi-1"),
        ],
        "two": [
            access_point("wlan0", "Two A", "192.168.142.0/24"),
            access_point("wlan1", "Two B", "192.168.143.0/24", radio="other-wifi-1"),
        ],
    }
    lab.settle({**PLAN, **plan})
    networks = {"One A": 140, "One B": 141, "Two A": 142, "Two B": 143}
    for chute in plan:
        assert set(lab.containers[chute].addresses()) == {"wlan0", "wlan1"}
    chutes = [f"192.168.{number}.2" for number in networks.values()]
    other.join("Two A")
    device = other.lease()
    for ssid, number in networks.items():
        client.join(ssid)
        mine = client.lease()
        assert mine.startswith(f"192.168.{number}.")
        # The first address is the node's, which passes on to the uplink.
        client.run("ip", "route", "replace", "default", "via", f"192.168.{number}.1")
        chute = f"192.168.{number}.2"
        allowed = {chute, INTERNET} | ({device} if ssid == "Two A" else set())
        assert client.hears(*chutes, INTERNET, device) == allowed, ssid
    # Nobody can be reached from the uplink.
    assert lab.machine.run("ip", "netns", "exec", "internet", "ping", "-c1", "-W1", mine, check=False).code


@pytest.fixture
def office(lab: LabNode) -> Iterator[Callable[..., str]]:
    """Runs programs behind a wired socket of the node, "trunk", in which VLANs 7 and 8 come along."""

    def run(*argv: str) -> str:
        return lab.machine.run("ip", "netns", "exec", "office", *argv, check=False).output

    def lines() -> Iterator[str]:
        yield "ip netns add office; ip link add trunk type veth peer name nic netns office"
        yield "ip link set trunk up; ip -n office link set nic up"
        for number in (7, 8):
            yield f"ip -n office link add link nic name nic.{number} type vlan id {number}"
            yield f"ip -n office link set nic.{number} up"

    lab.machine.run("sh", "-ec", "\n".join(lines()))
    lab.configure(
        HOST_CONFIG
        | {
            "lan": HOST_CONFIG["lan"] | {"interfaces": ["trunk"]},
            "vlan-interfaces": [
                {
                    "name": "guests",
                    "id": 8,
                    "proto": "static",
                    "ipaddr": "10.8.0.1",
                    "netmask": "255.255.255.0",
                    "dhcp": {"start": 50, "limit": 9, "leasetime": "1h"},
                }
            ],
        }
    )
    yield run
    lab.configure(HOST_CONFIG)
    lab.machine.run("ip", "netns", "del", "office")


def test_vlans_of_a_chute_and_of_the_host(lab: LabNode, office: Callable[..., str]) -> None:
    before = traces(lab)
    network = wanted(
        "vlan0", type="vlan", vlan_id=7, ipv4_network="192.168.160.0/24", dhcp={"start": 50, "limit": 9}
    )
    (cached,) = lab.apply("wired", [network])
    container = lab.attach("wired")
    assert cached["externalIntf"] == "br-lan.7"
    assert container.addresses() == {"vlan0": "192.168.160.2/24"}
    for number, leased in ((7, "192.168.160.5"), (8, "10.8.0.5")):
        client = ("busybox", "udhcpc", "-i", f"nic.{number}", "-n", "-q", "-f", "-t", "10", "-T", "1")
        assert f"lease of {leased}" in office(*client, "-s", f"/run/lab/{lab.clients[0].name}-dhcp")
    assert "1 received" in office("ping", "-c1", "-W2", "192.168.160.2")
    assert "1 received" in office("ping", "-c1", "-W2", "10.8.0.1")
    # The host's VLAN has no way into that of the chute.
    assert "1 received" not in office("ping", "-c1", "-W1", "-I", "nic.8", "192.168.160.2")
    lab.release("wired")
    assert traces(lab) == before


def while_it_applies(lab: LabNode, moment: Callable[[], bool]) -> None:
    """Kills the service at a moment of the setting up of a network."""

    def apply() -> None:
        with contextlib.suppress(grpc.RpcError):
            lab.call("ApplyChuteNetworks", request_of("hello-world", [NETWORK]))

    applying = threading.Thread(target=apply)
    applying.start()
    wait_until("the moment", moment, 20, 0.02)
    lab.kill_service()
    applying.join(30)


def test_the_service_is_killed_while_it_applies(lab: LabNode, client: Client) -> None:
    before = ruleset(lab), links(lab)
    while_it_applies(lab, lambda: bool(processes(lab.machine, "hostapd", INTERFACE)))
    wait_until("its children are gone", lambda: not processes(lab.machine, "hostapd"))
    assert not processes(lab.machine, "dnsmasq")
    lab.start_service()
    wanted = sum(map(len, PLAN.values()))
    for each in ("hostapd", "dnsmasq"):
        wait_until(each, lambda each=each: len(processes(lab.machine, each)) >= wanted)
    assert (ruleset(lab), links(lab)) == before
    assert not processes(lab.machine, "hostapd", INTERFACE)
    # The containers went on; their interfaces hang at new access points now.
    for chute, networks in PLAN.items():
        assert set(lab.containers[chute].addresses()) == {network.name for network in networks}
    client.join("Free WiFi")
    client.lease()
    assert client.pings("192.168.128.2")

"""Interfaces are made, moved and removed in the real kernel."""

from ipaddress import IPv4Address, IPv4Interface

import pytest

from services.common.errors import FailedPrecondition
from services.network.adapters.links import KernelLinks
from tests.network.conftest import Namespaces, needs_root

pytestmark = needs_root


async def test_a_bridge_has_exactly_the_ports_it_shall(namespaces: Namespaces) -> None:
    host, beyond = namespaces.make(), namespaces.make()
    for number in (1, 2):
        namespaces.connect(host, f"eth{number}", beyond, f"far{number}")
    links = KernelLinks(host.path)
    await links.ensure_bridge("br-lan", "lan", ["eth1", "eth2"])
    await links.ensure_bridge("br-lan", "lan", ["eth2"])
    await links.set_address("br-lan", IPv4Interface("10.0.0.1/24"))
    await links.set_address("br-lan", IPv4Interface("10.0.1.1/24"))
    found = await links.list()
    bridge = found["br-lan"]
    assert (bridge.kind, bridge.owner, bridge.up) == ("bridge", "lan", True)
    assert bridge.addresses == (IPv4Interface("10.0.1.1/24"),)
    assert (found["eth1"].master, found["eth2"].master) == (None, "br-lan")
    await links.remove("br-lan")
    await links.remove("br-lan")
    assert "br-lan" not in await links.list()


async def test_what_is_not_ours_is_neither_used_nor_removed(namespaces: Namespaces) -> None:
    host = namespaces.make()
    host.run("ip", "link", "add", "br-lan", "type", "bridge")
    links = KernelLinks(host.path)
    with pytest.raises(FailedPrecondition) as raised:
        await links.ensure_bridge("br-lan", "lan", [])
    assert raised.value.reason == "INTERFACE_NAME_TAKEN"
    await links.remove("br-lan")
    assert (await links.list())["br-lan"].owner is None


async def test_an_interface_moves_into_a_container_with_name_and_address(namespaces: Namespaces) -> None:
    host, container, device = namespaces.make(), namespaces.make(), namespaces.make()
    namespaces.connect(host, "vwlan7e1b", device, "client")
    device.run("ip", "addr", "add", "192.168.128.77/24", "dev", "client")
    links = KernelLinks(host.path)
    address = IPv4Interface("192.168.128.2/24")
    for _ in range(2):  # The second time it is made anew.
        await links.attach("vwlan7e1b", container.pid, "wlan0", address)
        assert await links.attached(container.pid, "wlan0")
        assert "192.168.128.2/24" in container.run("ip", "-4", "addr", "show", "dev", "wlan0")
        assert "macvlan mode bridge" in container.run("ip", "-d", "link", "show", "wlan0")
        assert container.reaches("192.168.128.77")
        assert device.reaches("192.168.128.2")
    assert "tmp" not in container.run("ip", "link")
    await links.detach(container.pid, "wlan0")
    assert not await links.attached(container.pid, "wlan0")
    await links.detach(container.pid, "wlan0")


@pytest.mark.thorough
async def test_the_node_reaches_the_chute_by_the_side_door_alone(namespaces: Namespaces) -> None:
    host, container, device = namespaces.make(), namespaces.make(), namespaces.make()
    namespaces.connect(host, "vwlan7e1b", device, "client")
    links = KernelLinks(host.path)
    address = IPv4Interface("192.168.128.1/24")
    await links.set_address("vwlan7e1b", address)
    await links.attach("vwlan7e1b", container.pid, "wlan0", IPv4Interface("192.168.128.2/24"))
    assert not host.reaches("192.168.128.2")
    for _ in range(2):
        await links.ensure_side_door("mvwlan7e1b", "web:wlan0", "vwlan7e1b", address)
    assert host.reaches("192.168.128.2")
    await links.remove("mvwlan7e1b")
    assert not host.reaches("192.168.128.2")


async def test_a_process_that_is_gone_has_no_interfaces(namespaces: Namespaces) -> None:
    host = namespaces.make()
    links = KernelLinks(host.path)
    await links.detach(2**22 - 1, "wlan0")
    assert not await links.attached(2**22 - 1, "wlan0")


async def test_missing_interfaces_are_named(namespaces: Namespaces) -> None:
    links = KernelLinks(namespaces.make().path)
    with pytest.raises(FailedPrecondition) as raised:
        await links.set_address("eth7", IPv4Interface("10.0.0.1/24"))
    assert (raised.value.reason, raised.value.facts) == ("INTERFACE_MISSING", {"interface": "eth7"})


async def test_a_gateway_is_known_by_its_answer(namespaces: Namespaces) -> None:
    host, beyond = namespaces.make(), namespaces.make()
    namespaces.connect(host, "eth0", beyond, "far")
    host.run("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
    beyond.run("ip", "addr", "add", "192.0.2.1/24", "dev", "far")
    links = KernelLinks(host.path)
    assert await links.default_route() is None
    for gateway in ("192.0.2.9", "192.0.2.1", "192.0.2.1"):
        await links.set_default_route("eth0", IPv4Address(gateway))
    assert await links.default_route() == ("eth0", IPv4Address("192.0.2.1"))
    assert await links.neighbour_answers("eth0", IPv4Address("192.0.2.1"), 3)
    beyond.run("ip", "link", "set", "far", "down")
    beyond.run("ip", "addr", "flush", "dev", "far")
    assert not await links.neighbour_answers("eth0", IPv4Address("192.0.2.1"), 0.5)

"""The host's own interfaces, in a real kernel: bridged, forwarded, given back when the node is cut off."""

from pathlib import Path
from typing import Any

import pytest
from paradrop.network.v1 import hostconfig_pb2, network_pb2

from tests.network.conftest import Namespaces, needs_root
from tests.network.documents import example
from tests.network.served import Served, serve
from tests.network.test_chute_networks import UPLINK, Site
from tests.network.test_hostconfig_service import CONFIRMED, REVERTED, put, settled

pytestmark = needs_root

MANAGED = {"PARADROP_HOST_NETWORK": "managed"}


@pytest.fixture
def site(namespaces: Namespaces) -> Site:
    return Site.build(namespaces)


def plain(**places: Any) -> dict[str, Any]:
    """A configuration without what this machine's kernel cannot do: no radio, no DHCP server."""
    document = example(wifi=[], wifi___interfaces=[], **places)
    del document["lan"]["dhcp"]
    return document


async def sections(served: Served) -> dict[tuple[str, str], tuple[bool, str]]:
    listed = (await served.client()("ListPdconf", network_pb2.ListPdconfRequest(explain=True))).sections
    assert all(section.comment == "__PARADROP__" for section in listed)
    return {(section.type, section.name): (section.success, section.reason) for section in listed}


async def test_the_lan_is_bridged_addressed_and_forwarded(site: Site, tmp_path: Path) -> None:
    async with serve(tmp_path, site.host, **MANAGED) as served:
        await put(served, plain(lan__interfaces=["eth1", "eth2"]), 1)
        assert (await settled(served.client())).state == CONFIRMED
        assert await sections(served) == {
            ("interface", "lan"): (True, ""),
            ("defaults", "firewall"): (True, ""),
            ("zone", "lan"): (True, ""),
            ("zone", "wan"): (True, ""),
        }
        one = site.give("eth1", "10.0.0.101/24", "10.0.0.1")
        other = site.give("eth2", "10.0.0.102/24", "10.0.0.1")
        assert one.reaches("10.0.0.102")
        assert other.reaches("10.0.0.1")
        assert one.reaches(f"{UPLINK}.1")
        site.beyond.run("ip", "route", "add", "10.0.0.0/24", "via", f"{UPLINK}.2")
        assert not site.beyond.reaches("10.0.0.101")


@pytest.mark.thorough
async def test_rules_of_the_document_hold(site: Site, tmp_path: Path) -> None:
    rules = [{"src": "wan", "proto": "icmp", "target": "DROP"}]
    async with serve(tmp_path, site.host, **MANAGED) as served:
        assert site.beyond.reaches(f"{UPLINK}.2")
        await put(served, plain(firewall__rules=rules, lan__interfaces=["eth1"]), 1)
        assert (await settled(served.client())).state == CONFIRMED
        assert not site.beyond.reaches(f"{UPLINK}.2")
        assert site.host.reaches(f"{UPLINK}.1")


@pytest.mark.thorough
async def test_a_configuration_that_cuts_the_node_off_is_taken_back(site: Site, tmp_path: Path) -> None:
    before = site.host.run("ip", "-4", "addr", "show", "dev", "eth0")
    async with serve(tmp_path, site.host, **MANAGED) as served:
        first = site.leftovers()
        # Who takes eth2 for the uplink puts the real one into the bridge.
        await put(served, plain(lan__interfaces=["eth0"], wan__interface="eth2"), 1)
        assert "master br-lan" in site.host.run("ip", "link", "show", "eth0")
        now = await settled(served.client())
        assert (now.state, now.reason, now.version) == (REVERTED, "MANAGEMENT_LOST", 1)
        assert "default route is gone" in now.message
        assert site.host.run("ip", "-4", "addr", "show", "dev", "eth0").split() == before.split()
        assert site.host.reaches(f"{UPLINK}.1")
        assert site.beyond.reaches(f"{UPLINK}.2")
        assert site.leftovers() == first


def fixed_uplink(**more: str) -> dict[str, Any]:
    uplink = {"interface": "eth0", "proto": "static", "ipaddr": f"{UPLINK}.7", "netmask": "255.255.255.0"}
    return plain(lan__interfaces=["eth2"], wan={**uplink, "gateway": f"{UPLINK}.1", **more})


def way_out(site: Site) -> tuple[list[str], str]:
    route = site.host.run("ip", "-4", "route", "show", "default").replace("proto static", "")
    return site.addresses("eth0"), route.strip()


@pytest.mark.thorough
async def test_the_uplink_has_a_fixed_address_as_long_as_the_document_says_so(
    site: Site, tmp_path: Path
) -> None:
    before = way_out(site)
    # What a DHCP client left there must not stay beside it.
    site.host.run("ip", "route", "replace", "default", "via", f"{UPLINK}.1", "metric", "100")
    site.host.run("ip", "route", "del", "default", "metric", "0")
    async with serve(tmp_path, site.host, **MANAGED) as served:
        await put(served, fixed_uplink(), 1)
        assert (await settled(served.client())).state == CONFIRMED
        assert way_out(site) == ([f"{UPLINK}.7/24"], f"default via {UPLINK}.1 dev eth0")
        assert site.host.reaches(f"{UPLINK}.1")
        assert (await sections(served))["interface", "wan"] == (True, "")
    async with serve(tmp_path, site.host, **MANAGED) as served:
        assert way_out(site) == ([f"{UPLINK}.7/24"], f"default via {UPLINK}.1 dev eth0")
        await put(served, plain(), 2)
        assert (await settled(served.client())).state == CONFIRMED
        assert way_out(site) == before
        assert ("interface", "wan") not in await sections(served)


@pytest.mark.thorough
async def test_a_gateway_that_does_not_answer_is_not_kept(site: Site, tmp_path: Path) -> None:
    before = way_out(site)
    async with serve(tmp_path, site.host, **MANAGED) as served:
        await put(served, fixed_uplink(gateway=f"{UPLINK}.99"), 1)
        now = await settled(served.client())
        assert (now.state, now.reason) == (REVERTED, "MANAGEMENT_LOST")
        assert way_out(site) == before
        assert site.host.reaches(f"{UPLINK}.1")


@pytest.mark.thorough
async def test_a_second_way_out_refuses_a_fixed_uplink(site: Site, tmp_path: Path) -> None:
    site.host.run("ip", "route", "del", "default")
    site.host.run("ip", "addr", "add", "198.51.100.2/24", "dev", "eth1")
    site.host.run("ip", "route", "add", "default", "via", "198.51.100.1")
    before = way_out(site)
    async with serve(tmp_path, site.host, **MANAGED) as served:
        await put(served, plain(lan__interfaces=["eth2"]), 1)
        assert (await settled(served.client())).state == CONFIRMED
        assert way_out(site) == before
        request = hostconfig_pb2.ApplyHostConfigRequest(change_id=2)
        request.config.update(fixed_uplink())
        refused = await served.services.refused("ApplyHostConfig", request)
        assert refused == ("FAILED_PRECONDITION", "DEFAULT_ROUTE_TAKEN")
        assert (await settled(served.client())).version == 2
        assert way_out(site) == before


@pytest.mark.thorough
async def test_a_crash_on_probation_gives_the_uplink_back(site: Site, tmp_path: Path) -> None:
    async with serve(tmp_path, site.host, **MANAGED) as served:
        cut = plain(lan__interfaces=["eth0"], wan__interface="eth2")
        await put(served, cut, 1, confirm_timeout_s=600)
        assert not site.beyond.reaches(f"{UPLINK}.2")
    async with serve(tmp_path, site.host, **MANAGED):
        assert site.beyond.reaches(f"{UPLINK}.2")
        assert site.host.reaches(f"{UPLINK}.1")


async def test_what_cannot_be_applied_is_not_put_into_force(site: Site, tmp_path: Path) -> None:
    site.host.run("ip", "link", "add", "br-lan", "type", "bridge")
    async with serve(tmp_path, site.host, **MANAGED) as served:
        request = hostconfig_pb2.ApplyHostConfigRequest(change_id=1)
        request.config.update(plain())
        assert await served.services.refused("ApplyHostConfig", request) == (
            "FAILED_PRECONDITION",
            "INTERFACE_NAME_TAKEN",
        )
        now = await settled(served.client())
        assert (now.state, now.version) == (REVERTED, 1)


@pytest.mark.thorough
async def test_a_radio_that_is_not_there_is_told_and_refuses_nothing(site: Site, tmp_path: Path) -> None:
    points = [{"device": "pci-wifi-0", "ssid": "Paradrop", "mode": "ap", "network": "lan"}]
    async with serve(tmp_path, site.host, **MANAGED) as served:
        document = plain()
        document["wifi-interfaces"] = points
        await put(served, document, 1)
        assert (await settled(served.client())).state == CONFIRMED
        found = await sections(served)
        assert found["wifi-iface", "wifi-interfaces[0]"] == (False, "NL80211_UNAVAILABLE")
        assert found["interface", "lan"] == (True, "")


async def test_a_host_that_is_not_managed_keeps_its_interfaces(site: Site, tmp_path: Path) -> None:
    async with serve(tmp_path, site.host) as served:
        await put(served, plain(lan__interfaces=["eth1", "eth2"]), 1)
        assert (await settled(served.client())).state == CONFIRMED
        assert site.leftovers() == ("", "")
        assert await sections(served) == {
            ("interface", "lan"): (False, "HOST_NOT_MANAGED"),
            ("zone", "lan"): (False, "HOST_NOT_MANAGED"),
        }

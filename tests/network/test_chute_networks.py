"""Networks of chutes in a real kernel: made, kept apart, opened where asked, undone to the last rule."""

import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from paradrop.network.v1 import chute_networks_pb2 as pb
from paradrop.network.v1 import network_pb2

from tests.network.conftest import Namespace, Namespaces, needs_root, reached
from tests.network.served import Client, Served, document, reason_of, serve, wanted

pytestmark = needs_root

UPLINK = "203.0.113"


@dataclass
class Site:
    """A host with an uplink and wired sockets eth1 and eth2, a device in each, and what lies beyond."""

    spaces: Namespaces
    host: Namespace
    beyond: Namespace
    devices: dict[str, Namespace]

    @classmethod
    def build(cls, spaces: Namespaces) -> "Site":
        host, beyond = spaces.make(), spaces.make()
        spaces.connect(host, "eth0", beyond, "far")
        host.run("ip", "addr", "add", f"{UPLINK}.2/24", "dev", "eth0")
        beyond.run("ip", "addr", "add", f"{UPLINK}.1/24", "dev", "far")
        host.run("ip", "route", "add", "default", "via", f"{UPLINK}.1")
        devices = {}
        for name in ("eth1", "eth2"):
            devices[name] = spaces.make()
            spaces.connect(host, name, devices[name], "nic")
        return cls(spaces, host, beyond, devices)

    def leftovers(self) -> tuple[str, str]:
        """Returns rules and interfaces that are not the host's own."""
        links = json.loads(self.host.run("ip", "-j", "link"))
        names = sorted({link["ifname"] for link in links} - {"lo", "eth0", "eth1", "eth2"})
        return self.host.run("nft", "list", "ruleset").strip(), ",".join(names)

    def addresses(self, name: str) -> list[str]:
        (link,) = json.loads(self.host.run("ip", "-j", "-4", "addr", "show", "dev", name)) or [{}]
        return [f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", ())]

    def give(self, device: str, address: str, gateway: str) -> Namespace:
        """Gives a device an address by hand."""
        space = self.devices[device]
        space.run("ip", "addr", "add", address, "dev", "nic")
        space.run("ip", "route", "add", "default", "via", gateway)
        return space


@pytest.fixture
def site(namespaces: Namespaces) -> Site:
    return Site.build(namespaces)


@asynccontextmanager
async def served_at(site: Site, home: Path, **environment: str) -> AsyncIterator[Served]:
    async with serve(home, site.host, **environment) as served:
        yield served


def wired(name: str, device: str, **more: Any) -> Any:
    return wanted(name, type="lan", requests={"device": device}, **more)


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Tells whether something comes to hold in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


async def attach(client: Client, chute: str, **pids: int) -> None:
    containers = [pb.ChuteContainer(service=service, pid=pid) for service, pid in pids.items()]
    await client("AttachChuteNetworks", pb.AttachChuteNetworksRequest(chute=chute, containers=containers))


async def test_a_network_is_made_seen_and_undone(site: Site, tmp_path: Path) -> None:
    container = site.spaces.make()
    async with served_at(site, tmp_path) as served:
        services, user = served.services, served.client("user")
        applied = await services.apply("web", wired("wired0", "eth1", section="office"))
        (cached,) = [document(item) for item in applied.network_interfaces]
        assert cached == {
            "name": "wired0",
            "service": "main",
            "type": "lan",
            "internalIntf": "wired0",
            "externalIntf": "eth1",
            "l3bridge": None,
            "subnet": "10.128.0.0/24",
            "netmask": "255.255.255.0",
            "externalIpaddr": "10.128.0.1",
            "internalIpaddr": "10.128.0.2",
            "ipaddrWithPrefix": "10.128.0.2/24",
            "options": {},
        }
        assert site.addresses("eth1") == ["10.128.0.1/24"]
        await attach(services, "web", main=container.pid)
        assert "10.128.0.2/24" in container.run("ip", "-4", "addr", "show", "dev", "wired0")
        listed = (await user("ListChuteNetworks", network_pb2.ListChuteNetworksRequest(chute="web"))).networks
        assert [(n.name, n.type, n.interface) for n in listed] == [("wired0", "lan", "wired0")]
        for name in ("wired0", "office"):
            request = network_pb2.GetChuteNetworkRequest(chute="web", network=name)
            assert (await user("GetChuteNetwork", request)).network.name == "wired0"
        sections = (await served.client()("ListPdconf", network_pb2.ListPdconfRequest(explain=True))).sections
        assert [(s.type, s.name, s.success) for s in sections if s.comment == "web"] == [
            ("interface", "eth1", True),
            ("zone", "eth1", True),
        ]
        await services("ReleaseChuteNetworks", pb.ReleaseChuteNetworksRequest(chute="web"))
        assert site.leftovers() == ("", "")
        assert site.addresses("eth1") == []
        assert await user.refused("ListChuteNetworks", network_pb2.ListChuteNetworksRequest(chute="web")) == (
            "NOT_FOUND",
            "CHUTE_NOT_FOUND",
        )


@pytest.mark.thorough
async def test_chutes_are_kept_apart_and_reach_the_uplink(site: Site, tmp_path: Path) -> None:
    one, other = site.spaces.make(), site.spaces.make()
    async with served_at(site, tmp_path) as served:
        services = served.services
        await services.apply("one", wired("wired0", "eth1"))
        await services.apply("two", wired("wired0", "eth2"))
        await attach(services, "one", main=one.pid)
        await attach(services, "two", main=other.pid)
        first = site.give("eth1", "10.128.0.77/24", "10.128.0.1")
        second = site.give("eth2", "10.128.1.77/24", "10.128.1.1")
        assert first.reaches("10.128.0.2")
        assert second.reaches("10.128.1.2")
        # Beyond the uplink nobody knows the way to 10.128.0.0/24: the answer comes because of the masquerade.
        assert first.reaches(f"{UPLINK}.1")
        assert second.reaches(f"{UPLINK}.1")
        site.beyond.run("ip", "route", "add", "10.128.0.0/24", "via", f"{UPLINK}.2")
        assert not reached(
            (first, "10.128.1.77"),
            (second, "10.128.0.77"),
            (first, "10.128.1.2"),
            (first, "10.128.0.1"),  # The node itself answers no one but for DNS and DHCP.
            (site.beyond, "10.128.0.77"),
        )


@pytest.mark.thorough
async def test_ports_of_the_uplink_lead_to_the_chute(site: Site, tmp_path: Path) -> None:
    container = site.spaces.make()
    async with served_at(site, tmp_path) as served:
        services = served.services
        ports = [{"external": 8080, "internal": 80}]
        await services.apply("web", wired("wired0", "eth1", **{"port-bindings": ports}))
        await attach(services, "web", main=container.pid)
        (tmp_path / "www").mkdir()
        (tmp_path / "www" / "index.html").write_text("hello from the chute")
        command = ["ip", "netns", "exec", container.name, "busybox", "httpd", "-f", "-p", "80", "-h"]
        with subprocess.Popen([*command, str(tmp_path / "www")]) as web:
            try:
                assert within(5, lambda: "LISTEN" in container.run("busybox", "netstat", "-lnt"))
                page = site.beyond.run("busybox", "wget", "-qO-", f"http://{UPLINK}.2:8080/index.html")
                assert page == "hello from the chute"
                refused = site.beyond.run(
                    "busybox", "wget", "-T2", "-qO-", f"http://{UPLINK}.2:8081/", check=False
                )
                assert refused == ""
            finally:
                web.kill()
        await services("ReleaseChuteNetworks", pb.ReleaseChuteNetworksRequest(chute="web"))
        assert site.leftovers() == ("", "")


async def test_what_cannot_be_had_leaves_what_was_there(site: Site, tmp_path: Path) -> None:
    radio = wanted("wlan0", type="wifi-ap", wireless={"ssid": "x"})
    async with served_at(site, tmp_path) as served:
        services = served.services
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await services.apply("web", wired("wired0", "eth1"), radio)
        assert reason_of(raised.value) == "NL80211_UNAVAILABLE"
        assert site.leftovers() == ("", "")
        await services.apply("web", wired("wired0", "eth1"))
        before = site.leftovers()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await services.apply("web", wired("wired0", "eth2"), radio)
        assert site.leftovers() == before
        assert (site.addresses("eth1"), site.addresses("eth2")) == (["10.128.0.1/24"], [])
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await services.apply("other", wired("wired0", "eth1"))
        assert reason_of(raised.value) == "INTERFACE_TAKEN"
        site.host.run("ip", "link", "set", "eth2", "down")
        site.host.run("ip", "link", "del", "eth2")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await services.apply("other", wired("wired0", "eth2"))
        assert reason_of(raised.value) == "INTERFACE_TAKEN"
        assert site.leftovers() == before


@pytest.mark.thorough
async def test_a_failure_half_way_is_undone(site: Site, tmp_path: Path) -> None:
    async with served_at(site, tmp_path) as served:
        await served.services.apply("web", wired("wired0", "eth1"))
        before = site.leftovers()
        # Another program has the name that the side door needs: the second of two networks fails.
        site.host.run("ip", "link", "add", "meth2", "type", "bridge")
        ports = {"port-bindings": {"8080": 80}}
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await served.services.apply("other", wired("wired0", "eth2", **ports))
        assert reason_of(raised.value) == "INTERFACE_NAME_TAKEN"
        site.host.run("ip", "link", "del", "meth2")
        assert site.leftovers() == before
        assert site.addresses("eth2") == []


async def test_a_dry_run_makes_nothing(site: Site, tmp_path: Path) -> None:
    async with served_at(site, tmp_path) as served:
        answer = await served.services.apply("web", wired("wired0", "eth1"), validate_only=True)
        assert document(answer.network_interfaces[0])["externalIntf"] == "eth1"
        assert site.leftovers() == ("", "")
        assert (await served.client().refused("ListChuteNetworks", request_of("web")))[1] == "CHUTE_NOT_FOUND"


def request_of(chute: str) -> Any:
    return network_pb2.ListChuteNetworksRequest(chute=chute)


@pytest.mark.thorough
async def test_networks_come_back_after_a_crash(site: Site, tmp_path: Path) -> None:
    container = site.spaces.make()
    async with served_at(site, tmp_path) as served:
        await served.services.apply("web", wired("wired0", "eth1"))
        await attach(served.services, "web", main=container.pid)
        rules = site.host.run("nft", "list", "ruleset")
    # The service ended; its networks did not. Then somebody, or a reboot, undoes all of it.
    assert site.host.run("nft", "list", "ruleset") == rules
    site.host.run("nft", "flush", "ruleset")
    site.host.run("ip", "addr", "flush", "dev", "eth1")
    container.run("ip", "link", "del", "wired0")
    site.host.run("ip", "link", "add", "vwlan0001", "type", "bridge")
    site.host.run("ip", "link", "set", "vwlan0001", "alias", "paradrop:gone:wlan0")
    async with served_at(site, tmp_path) as served:
        assert site.host.run("nft", "list", "ruleset") == rules
        assert site.addresses("eth1") == ["10.128.0.1/24"]
        assert "10.128.0.2/24" in container.run("ip", "-4", "addr", "show", "dev", "wired0")
        assert site.leftovers()[1] == ""
        others = [pb.ChuteOwner(chute="other", owner="user")]
        for busy, forget in (((), False), (("web",), True)):
            sync = pb.SyncChutesRequest(chutes=others, forget_others=forget, busy=busy)
            await served.services("SyncChutes", sync)
            assert (await served.client()("ListChuteNetworks", request_of("web"))).networks
        await served.services("SyncChutes", pb.SyncChutesRequest(chutes=others, forget_others=True))
        assert site.leftovers() == ("", "")
        assert not (await served.client()("ListChuteNetworks", request_of("other"))).networks
        assert (await served.client().refused("ListChuteNetworks", request_of("web")))[1] == "CHUTE_NOT_FOUND"


async def test_a_reload_repairs_what_others_broke_and_counts_the_loads(site: Site, tmp_path: Path) -> None:
    async with served_at(site, tmp_path) as served:
        await served.services.apply("web", wired("wired0", "eth1"))
        site.host.run("nft", "flush", "ruleset")
        answer = await served.client()("ReloadPdconf", network_pb2.ReloadPdconfRequest(explain=True))
        assert "table inet paradrop" in site.leftovers()[0]
        assert {(s.type, s.success, s.age) for s in answer.sections if s.comment == "web"} == {
            ("interface", True, 1),
            ("zone", True, 1),
        }
        (lan, zone) = [s for s in answer.sections if s.comment == "__PARADROP__"]
        assert (lan.type, zone.type) == ("interface", "zone")
        assert (lan.success, lan.reason) == (False, "HOST_NOT_MANAGED")
        site.host.run("ip", "link", "del", "eth1")
        answer = await served.client()("ReloadPdconf", network_pb2.ReloadPdconfRequest(explain=True))
        (section,) = [s for s in answer.sections if (s.comment, s.type) == ("web", "interface")]
        assert (section.success, section.reason) == (False, "INTERFACE_MISSING")


async def test_services_learn_which_interfaces_are_those_of_chutes(site: Site, tmp_path: Path) -> None:
    async with served_at(site, tmp_path) as served:
        await served.services.apply("web", wired("wired0", "eth1", **{"port-bindings": {"8080": 80}}))
        await served.services.apply("db", wired("wired0", "eth2"))
        answer = await served.services("ListChuteInterfaces", pb.ListChuteInterfacesRequest())
        (db, web, door) = answer.interfaces
        assert [(one.chute, one.interface, one.type) for one in (db, web)] == [
            ("db", "eth2", "lan"),
            ("web", "eth1", "lan"),
        ]
        # The node's own way to the chute, beside the interface.
        assert (door.chute, door.type) == ("web", "lan")
        assert door.interface in site.leftovers()[1]
        refused = await served.client().refused("ListChuteInterfaces", pb.ListChuteInterfacesRequest())
        assert refused[0] == "PERMISSION_DENIED"


async def test_strangers_see_nothing(site: Site, tmp_path: Path) -> None:
    async with served_at(site, tmp_path) as served:
        await served.services.apply("web", wired("wired0", "eth1"), owner="trusted")
        assert (await served.client("web")("ListChuteNetworks", request_of("web"))).networks
        assert (await served.client("trusted")("ListChuteNetworks", request_of("web"))).networks
        assert await served.client("user").refused("ListChuteNetworks", request_of("web")) == (
            "PERMISSION_DENIED",
            "CHUTE_NOT_YOURS",
        )
        missing = network_pb2.GetChuteNetworkRequest(chute="web", network="wlan9")
        assert (await served.client().refused("GetChuteNetwork", missing))[1] == "NETWORK_NOT_FOUND"
        apply = pb.ApplyChuteNetworksRequest()
        assert (await served.client("owner").refused("ApplyChuteNetworks", apply))[1] == "SERVICES_ONLY"


async def test_no_interface_is_put_into_the_hosts_own_network(site: Site, tmp_path: Path) -> None:
    async with served_at(site, tmp_path) as served:
        await served.services.apply("web", wired("wired0", "eth1"))
        containers = [pb.ChuteContainer(service="main", pid=site.host.pid)]
        request = pb.AttachChuteNetworksRequest(chute="web", containers=containers)
        assert (await served.services.refused("AttachChuteNetworks", request))[1] == "NOT_A_CONTAINER"
        containers = [pb.ChuteContainer(service="main", pid=2**22 - 1)]
        request = pb.AttachChuteNetworksRequest(chute="web", containers=containers)
        assert (await served.services.refused("AttachChuteNetworks", request))[1] == "SERVICE_NOT_RUNNING"
        request = pb.AttachChuteNetworksRequest(chute="web")
        assert (await served.services.refused("AttachChuteNetworks", request))[1] == "SERVICE_NOT_RUNNING"

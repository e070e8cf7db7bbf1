"""Access points without a radio: the real service and hostapd in a network namespace, with nothing on air."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psutil
import pytest
from paradrop.network.v1 import network_pb2 as pb
from paradrop.network.v1 import wireless_pb2 as wpb
from paradrop.network.v1.wireless_pb2_grpc import WirelessServiceStub

from tests.network.conftest import Namespace, Namespaces, needs_root
from tests.network.served import CHUTES, Served, reason_of, wanted
from tests.network.test_hostapd import needs_hostapd
from tests.support.publisher import Publisher
from tests.support.settings import settings_in

pytestmark = [needs_root, needs_hostapd]

CHUTE = "captive-portal"
WHERE = {"chute": CHUTE, "network": "wlan0"}


@pytest.fixture
def space(namespaces: Namespaces) -> Namespace:
    return namespaces.make()


@pytest.fixture
async def served(tmp_path: Path, space: Namespace) -> AsyncIterator[Served]:
    with settings_in(tmp_path) as settings:
        settings.prepare()
        space.run("busybox", "sysctl", "-w", "net.ipv4.ip_unprivileged_port_start=0")
        publisher = await asyncio.to_thread(Publisher, settings.public_dir)
        environment = os.environ | {
            "PARADROP_HOME": str(settings.home),
            "PARADROP_RUNTIME": str(settings.runtime),
            "PARADROP_STANDIN_RADIO": "1",
        }
        service = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", space.name),
            # As docker-compose.yml runs it: root with two of its powers.
            *("setpriv", "--bounding-set=-all,+net_admin,+net_raw"),
            *("--inh-caps=-all", "--no-new-privs", "--regid=10001", "--clear-groups"),
            *(Path(sys.executable).with_name("paradrop"), "serve", "network"),
            env=environment,
        )
        try:
            async with grpc.aio.insecure_channel(settings.addresses["network"]) as channel:
                async with asyncio.timeout(20):
                    await channel.channel_ready()
                yield Served(channel, publisher)
        finally:
            service.terminate()
            await service.wait()


def daemons(space: Namespace) -> dict[str, int]:
    """Returns the process ids of what serves in a namespace, by program."""
    pids = set(map(int, space.run("ip", "netns", "pids", space.name).split()))
    found = {process.name(): process.pid for process in psutil.process_iter() if process.pid in pids}
    return {name: pid for name, pid in found.items() if name in ("dnsmasq", "hostapd")}


@pytest.mark.thorough
async def test_an_access_point_answers_while_nothing_is_on_air(
    served: Served, space: Namespace, namespaces: Namespaces
) -> None:
    network = wanted(
        "wlan0",
        type="wifi-ap",
        wireless={"ssid": "Free WiFi", "key": "a secret key"},
        dhcp={"start": 10, "limit": 5, "leasetime": "1h"},
    )
    [applied] = (await served.services.apply(CHUTE, network)).network_interfaces
    # The container is on another machine, as far as the service can see.
    container = CHUTES.ChuteContainer(service="main", pid=4_000_000)
    attach = CHUTES.AttachChuteNetworksRequest(chute=CHUTE, containers=[container])
    await served.services("AttachChuteNetworks", attach)

    assert daemons(space).keys() == {"dnsmasq", "hostapd"}
    owner = served.client()
    # Whoever is plugged in instead gets an address, and is told the name of the node.
    device = namespaces.make()
    namespaces.connect(space, "plug", device, "nic")
    space.run("ip", "link", "set", "plug", "master", applied["externalIntf"])
    ask = ("busybox", "udhcpc", "-i", "nic", "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", "/bin/true")
    await asyncio.to_thread(device.run, *ask)
    [lease] = (await owner("ListLeases", pb.ListLeasesRequest(**WHERE))).leases
    device.run("ip", "address", "add", f"{lease.ip_addr}/24", "dev", "nic")
    node = re.sub(r"[0-9]+$", "1", lease.ip_addr)
    told = await asyncio.to_thread(device.run, "busybox", "nslookup", "-type=a", "paradrop.io", node)
    assert f"Name:\tparadrop.io\nAddress: {node}" in told

    status = (await owner("GetHostapdStatus", pb.GetHostapdStatusRequest(**WHERE))).status
    assert (status["state"], status["ssid[0]"], status["num_sta[0]"]) == ("ENABLED", "Free WiFi", "0")
    assert (await owner("SetSsid", pb.SetSsidRequest(**WHERE, ssid="Other"))).message == "OK"
    assert (await owner("GetSsid", pb.GetSsidRequest(**WHERE))).settings["ssid"] == "Other"
    assert not (await owner("ListStations", pb.ListStationsRequest(**WHERE))).stations
    assert '"vwlan' in space.run("ip", "-j", "link")

    radios = WirelessServiceStub(served.channel)
    token = served.publisher.token("admin", role="owner")
    metadata = [("authorization", f"Bearer {token}")]
    listed = await radios.ListRadios(wpb.ListRadiosRequest(), metadata=metadata)
    assert [radio.name for radio in listed.radios] == ["standin-wifi-0"]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await radios.ScanRadio(wpb.ScanRadioRequest(radio="standin0"), metadata=metadata)
    assert reason_of(refused.value) == "RADIO_REFUSED"

    await served.services("ReleaseChuteNetworks", CHUTES.ReleaseChuteNetworksRequest(chute=CHUTE))
    assert "vwlan" not in space.run("ip", "-j", "link")


async def test_a_network_that_is_removed_leaves_no_watcher_and_no_rule_behind(served: Served) -> None:
    network = wanted(
        "wlan0",
        type="wifi-ap",
        wireless={"ssid": "Free WiFi", "key": "a secret key"},
        dhcp={"start": 10, "limit": 5, "leasetime": "1h"},
    )
    await served.services.apply(CHUTE, network)
    stub = WirelessServiceStub(served.channel)
    metadata = [("authorization", f"Bearer {served.publisher.token('admin', role='owner')}")]
    denied = wpb.AccessList(mode=wpb.AccessList.MODE_DENY, macs=["02:00:00:00:00:07"])
    await stub.SetAccessList(wpb.SetAccessListRequest(**WHERE, access_list=denied), metadata=metadata)
    streams = [
        stub.WatchStations(wpb.WatchStationsRequest(**WHERE), metadata=metadata),
        stub.WatchLeases(wpb.WatchLeasesRequest(**WHERE), metadata=metadata),
    ]
    for stream in streams:
        assert (await stream.read()).HasField("synced")

    await served.services("ReleaseChuteNetworks", CHUTES.ReleaseChuteNetworksRequest(chute=CHUTE))
    for stream in streams:
        async with asyncio.timeout(5):
            assert (await stream.read()).HasField("end")
    await served.services.apply(CHUTE, network)
    rules = await stub.GetAccessList(wpb.GetAccessListRequest(**WHERE), metadata=metadata)
    assert not rules.access_list.macs

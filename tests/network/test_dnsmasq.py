"""dnsmasq: configuration, the process, and its lease files."""

import asyncio
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable
from services.network.adapters.dnsmasq import DnsmasqServers, render
from services.network.adapters.lease_files import DnsmasqLeaseFiles, parse_leases
from services.network.domain.dhcp import DhcpConfig, Lease
from services.network.domain.lease_watch import LeaseBook, LeaseEnded

NETWORK = IPv4Network("192.168.128.0/24")
LINE = "1511816276 5c:59:48:7d:b9:e6 192.168.128.64 paradrops-iPod 01:5c:59:48:7d:b9:e6"
IPOD = Lease(1511816276, "5c:59:48:7d:b9:e6", "192.168.128.64", "paradrops-iPod", "01:5c:59:48:7d:b9:e6")


def config(folder: Path = Path("/x"), **changes: Any) -> DhcpConfig:
    plain = DhcpConfig("vwlan7e1b", NETWORK, NETWORK[3], NETWORK[53], "12h", folder / "dnsmasq-wlan0.leases")
    return replace(plain, **changes)


def written(**changes: Any) -> list[str]:
    return render(config(**changes)).decode().splitlines()


def test_the_documented_settings() -> None:
    lines = written(
        router=NETWORK[2],
        dns=(IPv4Address("8.8.8.8"),),
        address=NETWORK[1],
        names={"paradrop.io": NETWORK[1]},
    )
    assert "interface=vwlan7e1b" in lines
    assert "dhcp-range=192.168.128.3,192.168.128.53,255.255.255.0,12h" in lines
    assert "dhcp-option=option:router,192.168.128.2" in lines
    assert {"no-resolv", "server=8.8.8.8", "dhcp-authoritative"} <= set(lines)
    assert "address=/paradrop.io/192.168.128.1" in lines


def test_a_relay_gives_out_nothing_itself() -> None:
    lines = written(relay=IPv4Address("192.0.2.9"), address=NETWORK[1])
    assert "dhcp-relay=192.168.128.1,192.0.2.9" in lines
    assert not any(line.startswith("dhcp-range") for line in lines)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"interface": "lo\nuser=root"}, "interface"),
        ({"lease_time": "12h\ndhcp-script=/bin/sh"}, "lease_time"),
        ({"lease_time": "12h,x"}, "lease_time"),
        ({"domain": "a,b"}, "domain"),
        ({"names": {"a/b": NETWORK[1]}}, "names"),
        ({"lease_file": Path("/a b\nx")}, "lease_file"),
        ({"range_end": IPv4Address("10.0.0.1")}, "range"),
        ({"range_end": NETWORK[2]}, "range"),
        ({"relay": NETWORK[9]}, "relay"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        written(**changes)
    assert (raised.value.reason, raised.value.field) == ("DHCP_INVALID", field)


@given(st.text(max_size=20), st.text(max_size=10), st.text(max_size=30), st.text(max_size=30))
def test_no_text_reaches_a_line_of_its_own(interface: str, time: str, domain: str, name: str) -> None:
    names = {name: NETWORK[1]}
    try:
        lines = written(interface=interface, lease_time=time, domain=domain, names=names)
    except InvalidArgument:
        return
    plain = written(names={"x": NETWORK[1]})
    assert [line.partition("=")[0] for line in lines] == [line.partition("=")[0] for line in plain]


def test_leases_are_read_with_what_they_have() -> None:
    text = f"{LINE}\n0 AA:bb:cc:00:00:01 10.0.0.5 *\n77 aa:bb:cc:00:00:02 10.0.0.6\nduid 00:01\nnonsense\n"
    assert parse_leases(text) == [
        IPOD,
        Lease(0, "aa:bb:cc:00:00:01", "10.0.0.5", "*"),
        Lease(77, "aa:bb:cc:00:00:02", "10.0.0.6"),
    ]


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_whatever_a_lease_file_has_is_read_or_passed_over(text: str) -> None:
    for lease in parse_leases(text):
        assert lease.expires_s >= 0
        IPv4Address(lease.address)


async def test_watchers_hear_of_leases_at_once(tmp_path: Path) -> None:
    file = tmp_path / "system" / "dnsmasq-wlan0.leases"
    changed: list[str] = []
    book = LeaseBook(DnsmasqLeaseFiles(), changed.append)
    book.follow("vwlan7e1b", file)
    assert await book.leases("vwlan7e1b") == {}
    with book.watch("vwlan7e1b") as subscription:
        batches = subscription.batches(5)
        file.write_text(LINE + "\n")
        async with asyncio.timeout(2):
            assert await anext(batches) == [IPOD]
            assert book.of("vwlan7e1b", IPOD.mac) == ("192.168.128.64", "paradrops-iPod")
            file.write_text("")
            assert await anext(batches) == [LeaseEnded(IPOD.mac)]
    assert changed == ["vwlan7e1b", "vwlan7e1b"]
    await book.close()


needs_dnsmasq = pytest.mark.skipif(
    shutil.which("dnsmasq", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", "")) is None
    or os.geteuid() != 0,
    reason="needs dnsmasq (package dnsmasq-base) and root",
)


@pytest.fixture
def veth() -> Any:
    """Returns a pair of interfaces, one for the server, one for a device."""
    name = f"pd{os.getpid() % 100000}"
    _lay_cable(name)
    yield f"{name}a", f"{name}b"
    _cut_cable(name)


def _lay_cable(name: str) -> None:
    subprocess.run(["ip", "link", "add", f"{name}a", "type", "veth", "peer", f"{name}b"], check=True)
    for end in "ab":
        subprocess.run(["ip", "link", "set", f"{name}{end}", "up"], check=True)
    subprocess.run(["ip", "address", "add", "192.168.128.1/24", "dev", f"{name}a"], check=True)


def _cut_cable(name: str) -> None:
    subprocess.run(["ip", "link", "del", f"{name}a"], check=True)


@pytest.mark.thorough
@needs_dnsmasq
async def test_a_device_gets_a_lease_also_after_dnsmasq_was_killed(
    tmp_path: Path, veth: tuple[str, str]
) -> None:
    server, device = veth
    lease_file = tmp_path / "leases" / "dnsmasq-wlan0.leases"
    async with DnsmasqServers.opened(tmp_path / "run") as servers:
        wanted = config(interface=server, lease_file=lease_file, address=NETWORK[1])
        await servers.ensure(wanted)
        assert servers.health(server).ok
        first = servers._running[server].process.pid
        await servers.ensure(wanted)
        assert servers._running[server].process.pid == first
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while servers._running[server].process.pid in (first, None):
                await asyncio.sleep(0.05)
        assert servers._running[server].process.exit_reason == "it was ended by SIGKILL"
        async with asyncio.timeout(10):
            while not servers.health(server).ok:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(_ask_for_address, device)
        async with asyncio.timeout(1):
            while not (found := await DnsmasqLeaseFiles().read(lease_file)) or not found[0]:
                await asyncio.sleep(0.05)
        assert found[0][0].address.startswith("192.168.128.")
        await servers.remove(server)
        assert not lease_file.exists()
        assert not servers.health(server).ok
        assert servers.health(server).reason == "DNSMASQ_UNAVAILABLE"


@pytest.mark.thorough
@needs_dnsmasq
async def test_an_interface_that_was_made_anew_is_served_once_it_is_ensured(
    tmp_path: Path, veth: tuple[str, str]
) -> None:
    server, device = veth
    async with DnsmasqServers.opened(tmp_path / "run") as servers:
        wanted = config(interface=server, lease_file=tmp_path / "leases", address=NETWORK[1])
        await servers.ensure(wanted)
        await asyncio.to_thread(_cut_cable, server[:-1])
        await asyncio.to_thread(_lay_cable, server[:-1])
        await servers.ensure(wanted)
        await asyncio.to_thread(_ask_for_address, device)


def _ask_for_address(device: str) -> None:
    """Asks for an address as a device does."""
    command = ["busybox", "udhcpc", "-i", device, "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", "/bin/true"]
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@needs_dnsmasq
async def test_what_dnsmasq_cannot_do_is_told_in_its_words_and_leaves_nothing(tmp_path: Path) -> None:
    async with DnsmasqServers.opened(tmp_path / "run") as servers:
        with pytest.raises(FailedPrecondition) as raised:
            await servers.ensure(config(interface="not-there0", lease_file=tmp_path))  # A folder.
        assert raised.value.reason == "DNSMASQ_FAILED"
        assert not list((tmp_path / "run").glob("*.conf"))
        assert not servers.health("not-there0").ok


async def test_without_dnsmasq_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    async with DnsmasqServers.opened(tmp_path) as servers:
        with pytest.raises(Unavailable, match="install the package dnsmasq-base") as raised:
            await servers.ensure(config(tmp_path))
        assert raised.value.reason == "DNSMASQ_UNAVAILABLE"

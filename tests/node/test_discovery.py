"""Being found: SSDP as the original's client asks, mDNS as a real browser of it sees."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node.adapters import discovery, mdns, ssdp
from services.node.adapters.discovery import discoverable
from services.node.domain.hardware import Software
from tests.support.node import free_port
from tests.support.pdtools import install_pdtools
from tests.support.settings import settings_in

QUERY = (
    b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\n'
    b"ST: urn:schemas-upnp-org:service:Paradrop:1\r\nMX: 3"
)
"""As `pdtools discover` sends it."""
SOFTWARE = Software(None, None, None, "Debian 12", None, "1.0")


def test_the_answer_is_the_documented_one() -> None:
    told = ssdp.answer(QUERY, "192.168.1.7", "Debian 12", "1.0")
    assert told == (
        b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=60\r\nLOCATION: http://paradrop.io\r\n"
        b"SERVER: OS/Debian 12 UPnP/1.1 Paradrop/1.0\r\nST: urn:schemas-upnp-org:service:Paradrop:1"
    )


@pytest.mark.parametrize("target", [b"ssdp:all", b"upnp:rootdevice"])
def test_those_who_look_for_anything_find_it_too(target: bytes) -> None:
    query = QUERY.replace(ssdp.URN.encode(), target)
    assert ssdp.answer(query, "10.0.0.9", "x", "1") is not None


@pytest.mark.parametrize(
    ("query", "address"),
    [
        (QUERY, "8.8.8.8"),
        (QUERY, "nonsense"),
        (QUERY.replace(b"M-SEARCH", b"NOTIFY"), "10.0.0.9"),
        (QUERY.replace(b"Paradrop", b"Printer"), "10.0.0.9"),
        (QUERY.replace(b"ssdp:discover", b"other"), "10.0.0.9"),
        (QUERY + b"x" * 3000, "10.0.0.9"),
        (b"", "10.0.0.9"),
    ],
)
def test_nobody_else_gets_an_answer(query: bytes, address: str) -> None:
    assert ssdp.answer(query, address, "x", "1") is None


@given(st.binary(max_size=300))
def test_no_datagram_breaks_it(query: bytes) -> None:
    assert ssdp.answer(query, "10.0.0.9", "x", "1") in (None, ssdp.answer(QUERY, "10.0.0.9", "x", "1"))


def _ask(port: int, count: int = 1) -> list[bytes]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        for _ in range(count):
            client.sendto(QUERY, ("127.0.0.1", port))
        found = []
        try:
            while len(found) < count:
                found.append(client.recv(2000))
        except TimeoutError:
            pass
        return found


async def test_a_real_socket_answers_and_not_more_than_ten_times_a_second(unused_port: int) -> None:
    async with ssdp.answering("Debian 12", "1.0", unused_port):
        assert b"Paradrop/1.0" in (await asyncio.to_thread(_ask, unused_port))[0]
        await asyncio.sleep(1)
        assert 9 <= len(await asyncio.to_thread(_ask, unused_port, 40)) <= 25


@pytest.mark.e2e
@pytest.mark.apart
@pytest.mark.timeout(120)
async def test_pdtools_gets_the_answer_and_stumbles_over_it() -> None:
    command = await asyncio.to_thread(install_pdtools)
    async with ssdp.answering("Debian 12", "1.0"):
        discover = await asyncio.create_subprocess_exec(
            command, "discover", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        said, complained = await discover.communicate()
    # Without an answer it would only say that it looks; with one, Python 3 stops it where it reads the bytes.
    assert said.startswith(b"Discovering")
    assert b"response = SsdpResponse(data, addr)" in complained
    assert b"TypeError: initial_value must be str or None, not bytes" in complained


async def test_a_taken_port_does_not_keep_the_node_from_starting(unused_port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", unused_port))
        async with ssdp.answering("x", "1", unused_port):
            pass


@pytest.fixture
def unused_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.thorough
async def test_a_browser_of_mdns_finds_the_node() -> None:
    from zeroconf import ServiceStateChange
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

    found: asyncio.Queue[str] = asyncio.Queue()

    def on_change(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        if state_change is ServiceStateChange.Added:
            found.put_nowait(name)

    async with mdns.announcing(8123, "1.0", tls=False, addresses=["127.0.0.1"]):
        browser = AsyncZeroconf(interfaces=["127.0.0.1"])
        try:
            async with asyncio.timeout(15):
                watching = AsyncServiceBrowser(browser.zeroconf, mdns.TYPE, handlers=[on_change])
                name = await found.get()
                info = AsyncServiceInfo(mdns.TYPE, name)
                assert await info.async_request(browser.zeroconf, 5000)
                await watching.async_cancel()
        finally:
            await browser.async_close()
    assert info.port == 8123
    assert info.properties[b"version"] == b"1.0"
    assert info.parsed_addresses() == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PARADROP_LISTEN": "127.0.0.1:8080"}, []),
        ({"PARADROP_LISTEN": "0.0.0.0:8080", "PARADROP_DISCOVERY": "0"}, []),
        ({"PARADROP_LISTEN": "0.0.0.0:8080"}, ["ssdp", "mdns"]),
    ],
)
async def test_only_nodes_that_can_be_reached_and_want_to_be_found_are(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: list[str]
) -> None:
    opened: list[str] = []

    def noting(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def open_(*arguments: Any) -> Any:
            opened.append(name)
            return inner(*arguments)

        return open_

    monkeypatch.setattr(ssdp, "answering", noting("ssdp", ssdp.answering))
    monkeypatch.setattr(mdns, "announcing", noting("mdns", mdns.announcing))
    with settings_in(tmp_path, **environment) as settings:
        async with discoverable(settings, SOFTWARE):
            async with asyncio.timeout(5):
                while len(opened) < len(expected):
                    await asyncio.sleep(0.01)
    assert opened == expected


async def test_a_network_that_comes_later_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

    monkeypatch.setattr(discovery, "LOOK_INTERVAL_S", 0.05)
    addresses: list[str] = []
    names: asyncio.Queue[str] = asyncio.Queue()
    browser = AsyncZeroconf(interfaces=["127.0.0.1"])
    watching = AsyncServiceBrowser(
        browser.zeroconf, mdns.TYPE, handlers=[lambda name, **_: names.put_nowait(name)]
    )
    port = free_port()

    async def found() -> None:
        # Other nodes of this machine may be announced as well.
        while True:
            info = AsyncServiceInfo(mdns.TYPE, await names.get())
            if await info.async_request(browser.zeroconf, 1000) and info.port == port:
                return

    try:
        with settings_in(tmp_path, PARADROP_LISTEN=f"0.0.0.0:{port}") as settings:
            async with discoverable(settings, SOFTWARE, lambda: list(addresses)):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(found(), 0.3)
                addresses.append("127.0.0.1")
                await asyncio.wait_for(found(), 15)
    finally:
        await watching.async_cancel()
        await browser.async_close()

"""A real hostapd (without a radio) and the RPCs about it."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paradrop.network.v1 import network_pb2 as pb
from paradrop.network.v1 import wireless_pb2 as wpb
from paradrop.network.v1.network_pb2_grpc import NetworkServiceStub
from paradrop.network.v1.wireless_pb2_grpc import WirelessServiceStub

from services.common.errors import FailedPrecondition, PermissionDenied, Unavailable
from services.network import app, wireless
from services.network.adapters import hostapd_control
from services.network.adapters.virtual_interfaces import virtual_mac
from services.network.domain.access_points import AccessPointConfig, Bss, RadioConfig
from services.network.domain.control_policy import ALLOWED, check_command, without_secrets
from services.network.domain.hostapd_text import parse
from services.network.domain.wireless import Target
from services.network.wireless import WirelessParts
from tests.support.auth import refusal
from tests.support.cases import thorough_but
from tests.support.network_table import NetworkTable
from tests.support.publisher import Publisher
from tests.support.settings import settings_in

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
needs_hostapd = pytest.mark.skipif(
    shutil.which("hostapd", path=PATH) is None or os.geteuid() != 0, reason="needs hostapd and root"
)
WHERE = {"chute": "captive-portal", "network": "wifi"}
MAC = "02:00:00:00:01:00"
MANY_MACS = [f"02:00:00:00:{n // 256:02x}:{n % 256:02x}" for n in range(513)]


@dataclass
class Served:
    parts: WirelessParts
    network: Any
    wireless: Any
    interface: str
    publisher: Publisher
    table: NetworkTable

    def metadata(self, role: str = "owner") -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.publisher.token(role)}")]

    async def set_up(self, **changes: Any) -> None:
        radio = RadioConfig("phy0", channel=11)
        config = AccessPointConfig(self.interface, radio, Bss(**{"ssid": "Free WiFi", **changes}))
        await self.parts.access_points.ensure(config)

    @property
    def pid(self) -> int | None:
        return self.parts.access_points._running[self.interface].process.pid


@pytest.fixture
def interface() -> Iterator[str]:
    name = f"ph{os.getpid() % 100000}a"
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", f"{name[:-1]}b"], check=True)
    yield name
    subprocess.run(["ip", "link", "del", name], check=True)


@pytest.fixture
def runtime() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        yield Path(folder)


@pytest.fixture
async def served(tmp_path: Path, interface: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    opened = wireless.opened
    monkeypatch.setattr(wireless, "opened", lambda state, run, **_: opened(state, run, driver="none"))
    async with serving(tmp_path, interface) as running:
        yield running


@asynccontextmanager
async def serving(folder: Path, interface: str) -> AsyncIterator[Served]:
    table = NetworkTable()
    table.set("captive-portal", ["wlan0", "wifi"], Target(interface, None))
    with settings_in(folder) as settings:
        settings.prepare()
        publisher = await asyncio.to_thread(Publisher, settings.public_dir)
        async with (
            app.serving_networks(settings, table) as parts,
            grpc.aio.insecure_channel(settings.addresses["network"]) as channel,
        ):
            network, radios = NetworkServiceStub(channel), WirelessServiceStub(channel)
            yield Served(parts, network, radios, interface, publisher, table)


@needs_hostapd
async def test_names_and_states_as_documented(served: Served) -> None:
    await served.set_up(encryption="psk2", key="a secret key")
    settings = (await served.network.GetSsid(pb.GetSsidRequest(**WHERE), metadata=served.metadata())).settings
    assert settings["ssid"] == "Free WiFi"
    assert {"bssid", "wps_state", "wpa", "key_mgmt"} <= set(settings)
    status = await served.network.GetHostapdStatus(
        pb.GetHostapdStatusRequest(**WHERE), metadata=served.metadata("user")
    )
    assert status.status["ssid[0]"] == "Free WiFi"
    assert status.status["bss[0]"] == served.interface
    assert status.status["cac_time_left_seconds"] == "N/A"
    assert {"state", "phy", "freq", "channel", "num_sta[0]", "bssid[0]", "olbc_ht"} <= set(status.status)
    assert "a secret key" not in f"{settings}{status}"


@needs_hostapd
@pytest.mark.parametrize("ssid", ["Best Free WiFi", "Ü\"\\x41 |='$(x)", "é" * 16, " "])
async def test_an_ssid_is_set_and_comes_back_as_it_is(served: Served, ssid: str) -> None:
    await served.set_up()
    pid = served.pid
    reply = await served.network.SetSsid(pb.SetSsidRequest(**WHERE, ssid=ssid), metadata=served.metadata())
    assert reply.message == "OK"
    read = await served.network.GetSsid(pb.GetSsidRequest(**WHERE), metadata=served.metadata())
    assert read.settings["ssid"] == ssid
    assert served.pid == pid


@needs_hostapd
@pytest.mark.parametrize(
    "ssid", thorough_but(["", "x" * 33, "é" * 17, "a\nb", "a\x00", "a\x1b", "a\x85"], "é" * 17, "a\nb")
)
async def test_an_ssid_that_is_none_changes_nothing(served: Served, ssid: str) -> None:
    await served.set_up()
    request = pb.SetSsidRequest(**WHERE, ssid=ssid)
    assert await refusal(served.network.SetSsid(request, metadata=served.metadata())) == (
        "INVALID_ARGUMENT",
        "SSID_INVALID",
    )
    read = await served.network.GetSsid(pb.GetSsidRequest(**WHERE), metadata=served.metadata())
    assert read.settings["ssid"] == "Free WiFi"


@needs_hostapd
async def test_without_hostapd_every_call_is_unavailable_within_a_second(served: Served) -> None:
    m = served.metadata()
    calls = [
        lambda: served.network.GetSsid(pb.GetSsidRequest(**WHERE), metadata=m),
        lambda: served.network.SetSsid(pb.SetSsidRequest(**WHERE, ssid="x"), metadata=m),
        lambda: served.network.GetHostapdStatus(pb.GetHostapdStatusRequest(**WHERE), metadata=m),
        lambda: served.network.ListStations(pb.ListStationsRequest(**WHERE), metadata=m),
        lambda: served.network.RemoveStation(pb.RemoveStationRequest(**WHERE, mac=MAC), metadata=m),
        lambda: served.wireless.ListAssociations(wpb.ListAssociationsRequest(**WHERE), metadata=m),
        lambda: served.wireless.KickStation(wpb.KickStationRequest(**WHERE, mac=MAC), metadata=m),
        lambda: served.wireless.SetAccessList(wpb.SetAccessListRequest(**WHERE), metadata=m),
    ]
    for call in calls:
        began_s = time.monotonic()
        assert await refusal(call()) == ("UNAVAILABLE", "HOSTAPD_UNAVAILABLE")
        assert time.monotonic() - began_s < 1
    stream = served.wireless.WatchStations(wpb.WatchStationsRequest(**WHERE), metadata=m)
    assert await refusal(anext(aiter(stream))) == ("UNAVAILABLE", "HOSTAPD_UNAVAILABLE")


@needs_hostapd
async def test_a_silent_hostapd_is_unavailable_within_a_second(served: Served) -> None:
    await served.set_up()
    assert served.pid is not None
    os.kill(served.pid, signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        call = served.network.GetSsid(pb.GetSsidRequest(**WHERE), metadata=served.metadata())
        assert await refusal(call) == ("UNAVAILABLE", "HOSTAPD_UNAVAILABLE")
        assert time.monotonic() - began_s < 1
    finally:
        os.kill(served.pid, signal.SIGCONT)


@needs_hostapd
async def test_a_hostapd_that_dies_comes_back_with_its_rules_and_says_why(served: Served) -> None:
    await served.set_up()
    await served.wireless.SetAccessList(
        wpb.SetAccessListRequest(**WHERE, access_list={"mode": "MODE_ALLOW", "macs": [MAC.upper()]}),
        metadata=served.metadata(),
    )
    first = served.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(10):
        while served.pid in (first, None):
            await asyncio.sleep(0.02)
        present = served.parts.access_points._running[served.interface]
        assert present.process.exit_reason == "it was ended by SIGKILL"
        while MAC not in await _list(served, "ACCEPT_ACL SHOW"):
            await asyncio.sleep(0.05)
    assert served.parts.access_points.health(served.interface).ok


async def _list(served: Served, command: str) -> str:
    try:
        return await served.parts.access_points.ask(served.interface, command)
    except Unavailable:
        return ""


@needs_hostapd
async def test_bans_hold_lift_and_end(served: Served) -> None:
    await served.set_up()
    m = served.metadata()
    kick = wpb.KickStationRequest(**WHERE, mac=MAC, ban_s=600)
    ban = (await served.wireless.KickStation(kick, metadata=m)).ban
    assert ban.mac == MAC
    assert abs(ban.until.seconds - time.time() - 600) < 5
    assert MAC in await _list(served, "DENY_ACL SHOW")
    bans = await served.wireless.ListBans(wpb.ListBansRequest(**WHERE), metadata=m)
    assert [entry.mac for entry in bans.bans] == [MAC]
    await served.wireless.LiftBan(wpb.LiftBanRequest(**WHERE, mac=MAC), metadata=m)
    assert MAC not in await _list(served, "DENY_ACL SHOW")
    await served.wireless.KickStation(wpb.KickStationRequest(**WHERE, mac=MAC, ban_s=1), metadata=m)
    assert MAC in await _list(served, "DENY_ACL SHOW")
    async with asyncio.timeout(5):
        while MAC in await _list(served, "DENY_ACL SHOW"):
            await asyncio.sleep(0.05)
    bans = await served.wireless.ListBans(wpb.ListBansRequest(**WHERE), metadata=m)
    assert not bans.bans


@needs_hostapd
async def test_bans_and_lists_survive_a_restart(tmp_path: Path, served: Served, runtime: Path) -> None:
    await served.set_up()
    m = served.metadata()
    await served.wireless.KickStation(wpb.KickStationRequest(**WHERE, mac=MAC, ban_s=600), metadata=m)
    await served.wireless.SetAccessList(
        wpb.SetAccessListRequest(**WHERE, access_list={"mode": "MODE_DENY", "macs": ["02:00:00:00:00:09"]}),
        metadata=m,
    )
    async with wireless.opened(tmp_path / "network", runtime) as again:
        assert [mac for mac, _ in again.lists.bans(served.interface)] == [MAC]
        assert again.lists.access_list(served.interface).macs == ("02:00:00:00:00:09",)


@needs_hostapd
@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (("KickStation", {"mac": "nonsense"}), ("INVALID_ARGUMENT", "MAC_INVALID")),
        (("KickStation", {"mac": MAC, "ban_s": -1}), ("INVALID_ARGUMENT", "BAN_TIME_INVALID")),
        (("LiftBan", {"mac": "aa:bb"}), ("INVALID_ARGUMENT", "MAC_INVALID")),
        (("SetAccessList", {"access_list": {"macs": ["x"]}}), ("INVALID_ARGUMENT", "MAC_INVALID")),
        (
            ("SetAccessList", {"access_list": {"macs": MANY_MACS}}),
            ("INVALID_ARGUMENT", "ACCESS_LIST_TOO_LONG"),
        ),
        (("ListBans", {"page_size": 501}), ("INVALID_ARGUMENT", "PAGE_SIZE_OUT_OF_RANGE")),
        (("ListSessions", {"page_token": "x"}), ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")),
        (("ListBans", {"chute": "nobody"}), ("NOT_FOUND", "CHUTE_NOT_FOUND")),
        (("GetAccessList", {"network": "none"}), ("NOT_FOUND", "NETWORK_NOT_FOUND")),
    ],
)  # fmt: skip
async def test_refusals(served: Served, call: tuple[str, dict[str, Any]], answer: tuple[str, str]) -> None:
    await served.set_up()
    name, changes = call
    request = getattr(wpb, f"{name}Request")(**{**WHERE, **changes})
    assert await refusal(getattr(served.wireless, name)(request, metadata=served.metadata())) == answer


@needs_hostapd
@pytest.mark.skipif(Path("/sys/class/ieee80211").exists(), reason="this kernel has wireless support")
async def test_a_node_without_radios_says_so(served: Served) -> None:
    m = served.metadata()
    for call in (
        served.wireless.ListRadios(wpb.ListRadiosRequest(), metadata=m),
        served.wireless.ListSurveys(wpb.ListSurveysRequest(radio="phy0"), metadata=m),
        served.wireless.ScanRadio(wpb.ScanRadioRequest(radio="phy0"), metadata=m),
        served.wireless.SwitchChannel(wpb.SwitchChannelRequest(radio="phy0", channel=1), metadata=m),
    ):
        assert await refusal(call) == ("FAILED_PRECONDITION", "NL80211_UNAVAILABLE")


async def test_without_the_program_the_error_says_what_to_install(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    async with wireless.opened(tmp_path, runtime, driver="none") as parts:
        config = AccessPointConfig("vwlan7e1b", RadioConfig("phy0"), Bss("Free WiFi"))
        with pytest.raises(Unavailable, match="install the package hostapd") as raised:
            await parts.access_points.ensure(config)
        assert raised.value.reason == "HOSTAPD_UNAVAILABLE"
        assert not list(tmp_path.glob("**/*.conf"))


@needs_hostapd
async def test_what_hostapd_cannot_do_is_told_in_its_words_and_leaves_nothing(
    tmp_path: Path, runtime: Path
) -> None:
    async with wireless.opened(tmp_path, runtime, driver="none") as parts:
        config = AccessPointConfig("vwlan7e1b", RadioConfig("phy0"), Bss("Free WiFi"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
            taken.bind(str(runtime / "ap" / "vwlan7e1b"))
            with pytest.raises(FailedPrecondition, match="Failed to setup control interface") as raised:
                await parts.access_points.ensure(config)
        assert raised.value.reason == "HOSTAPD_FAILED"
        assert not list(tmp_path.glob("**/*.conf"))


@needs_hostapd
async def test_what_a_crash_left_is_removed(tmp_path: Path, interface: str, runtime: Path) -> None:
    folder = tmp_path / "hostapd"
    folder.mkdir()
    (folder / "hostapd-vwlanold.conf").write_text("interface=vwlanold\n")
    async with wireless.opened(tmp_path, runtime, driver="none") as parts:
        config = AccessPointConfig(interface, RadioConfig("phy0"), Bss("Free WiFi"))
        await parts.access_points.ensure(config)
        await parts.access_points.keep_only([interface])
        assert [path.name for path in folder.glob("*.conf")] == [f"hostapd-{interface}.conf"]
        assert (folder / f"hostapd-{interface}.conf").stat().st_mode & 0o777 == 0o600


@needs_hostapd
async def test_the_control_socket_over_a_stream(served: Served) -> None:
    await served.set_up()
    call = served.network.ControlHostapd(metadata=served.metadata("admin"))
    await call.write(pb.ControlHostapdRequest(target=pb.HostapdTarget(**WHERE)))
    assert (await call.read()).HasField("synced")
    for command, answer in ((b"PING", b"PONG\n"), (b"ATTACH", b"OK\n")):
        await call.write(pb.ControlHostapdRequest(datagram=command))
        assert (await call.read()).datagram == answer
    await call.write(pb.ControlHostapdRequest(datagram=b"TERMINATE"))
    end = (await call.read()).end
    assert "could hand over the node" in end.status.message
    assert served.parts.access_points.health(served.interface).ok


@needs_hostapd
async def test_only_admins_reach_the_control_socket(served: Served) -> None:
    for role, allowed in (("trusted", False), ("admin", True)):
        call = served.network.ControlHostapd(metadata=served.metadata(role))
        if allowed:
            await call.write(pb.ControlHostapdRequest(datagram=b"PING"))
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await anext(aiter(call))
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        else:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await anext(aiter(call))
            assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        call.cancel()


@pytest.mark.parametrize(
    "command",
    [
        b"SET bridge br0", b"RELOAD", b"ADD vwlan config=/tmp/x", b"REMOVE wlan0", b"TERMINATE", b"DISABLE",
        b"SET ctrl_interface /tmp", b"LOG_LEVEL DEBUG", b"DRIVER x", b"VENDOR 1 2", b"DPP_CONFIGURATOR_ADD",
        b"PING\nTERMINATE", b"PING\x00", b"ping", b"", b" PING", b"PINGX", b"STATUS;RELOAD",
        b"RELOAD_WPA_PSK",
        b"GET own_key", b"DATA_TEST_CONFIG 1", b"RAW", b"MGMT_TX 1", b"\xff",
    ],
)  # fmt: skip
def test_commands_that_could_hand_over_the_node_are_refused(command: bytes) -> None:
    with pytest.raises(PermissionDenied) as raised:
        check_command(command)
    assert raised.value.reason == "HOSTAPD_COMMAND_NOT_ALLOWED"


@given(st.binary(max_size=60))
def test_only_listed_commands_pass(data: bytes) -> None:
    try:
        check_command(data)
    except PermissionDenied:
        return
    assert data.split(b" ")[0].rstrip().decode() in ALLOWED


def test_keys_never_leave() -> None:
    said = b"bssid=02:00\npassphrase=very secret\npsk=aabb\nkey_mgmt=WPA-PSK\n"
    assert without_secrets(said) == b"bssid=02:00\npassphrase=(hidden)\npsk=(hidden)\nkey_mgmt=WPA-PSK\n"


def test_replies_are_read_as_the_interface_of_old_does() -> None:
    assert parse("ssid=Free=WiFi\nnonsense\nbss[0]=wlan0\n") == {"ssid": "Free=WiFi", "bss[0]": "wlan0"}
    assert parse("FAIL\n") == {"message": "FAIL"}
    assert parse('ssid[0]=Caf\\xc3\\xa9 \\"2\\"\n') == {"ssid[0]": 'Café "2"'}


@given(st.text())
def test_whatever_hostapd_says_is_read(text: str) -> None:
    assert all(isinstance(value, str) for value in parse(text).values())


async def test_events_between_a_command_and_its_answer_are_passed_over(tmp_path: Path) -> None:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(str(tmp_path / "wlan0"))
    peer.setblocking(False)
    loop = asyncio.get_running_loop()

    async def answer() -> None:
        _, sender = await loop.sock_recvfrom(peer, 100)
        await loop.sock_sendto(peer, b"<3>AP-STA-CONNECTED 02:00:00:00:01:00", sender)
        await loop.sock_sendto(peer, b"PONG\n", sender)

    answering = asyncio.create_task(answer())
    assert await hostapd_control.ask(tmp_path, "wlan0", "PING") == "PONG\n"
    await answering
    peer.close()
    with pytest.raises(Unavailable):
        await hostapd_control.ask(tmp_path, "wlan0", "PING")


def test_addresses_of_virtual_access_points_are_stable_and_differ() -> None:
    taken = {"02:11:22:33:44:55"}
    first = virtual_mac("00:11:22:33:44:55", "vwlan7e1b", taken)
    assert first == virtual_mac("00:11:22:33:44:55", "vwlan7e1b", taken)
    assert int(first[:2], 16) & 0b11 == 0b10
    assert virtual_mac("00:11:22:33:44:55", "vwlan7e1b", {first}) != first

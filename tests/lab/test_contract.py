"""Every documented example reply, live through the gateway: exactly the documented keys and JSON types."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.air import Client
from tests.lab.chutes import PLAN
from tests.lab.node import LabNode

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

NETWORKS = "/api/v1/chutes/captive-portal/networks"
LEASE = {"expires", "mac_addr", "ip_addr", "hostname", "client_id"}
STATION = {
    *("inactive_time", "rx_bytes", "rx_packets", "tx_bytes", "tx_packets", "tx_retries", "tx_failed"),
    *("signal", "signal_avg", "tx_bitrate", "rx_bitrate", "authorized", "authenticated", "preamble"),
    *("wmm_wme", "mfp", "tdls_peer", "mac_addr"),
}
HOSTAPD_STATUS = {
    *("state", "phy", "freq", "channel", "secondary_channel", "ieee80211n", "ieee80211ac", "ht_op_mode"),
    *("olbc", "olbc_ht", "cac_time_seconds", "cac_time_left_seconds", "num_sta_non_erp", "num_sta_no_ht"),
    *("num_sta_no_short_slot_time", "num_sta_no_short_preamble", "num_sta_ht_no_gf", "num_sta_ht_20_mhz"),
    *("num_sta_ht40_intolerant", "bss[0]", "bssid[0]", "ssid[0]", "num_sta[0]"),
}
"""iw and hostapd may tell more, as they always did."""


def types(document: dict[str, Any]) -> dict[str, type]:
    return {key: type(value) for key, value in document.items()}


@pytest.fixture(scope="module")
def joined(lab_session: LabNode) -> Iterator[Client]:
    """The device of the documentation's examples, with an address."""
    lab_session.settle(PLAN)
    client = lab_session.clients[0]
    client.join("Free WiFi")
    client.lease("paradrops-iPod")
    assert client.pings("192.168.128.2")
    yield client
    client.leave()


def test_networks(lab_session: LabNode, joined: Client) -> None:
    assert lab_session.get(NETWORKS) == [{"name": "wlan0", "type": "wifi-ap", "interface": "wlan0"}]
    for name in ("wlan0", "wifi"):
        network = lab_session.get(f"{NETWORKS}/{name}")
        assert network == {"name": "wlan0", "type": "wifi-ap", "interface": "wlan0"}


def test_leases(lab_session: LabNode, joined: Client) -> None:
    (lease,) = lab_session.get(f"{NETWORKS}/wifi/leases")
    assert types(lease) == dict.fromkeys(LEASE, str)
    assert lease["mac_addr"] == joined.mac
    assert lease["hostname"] == "paradrops-iPod"
    assert lease["ip_addr"].startswith("192.168.128.")
    assert lease["client_id"] == f"01:{joined.mac}"
    assert lease["expires"].isdecimal()


def test_devices(lab_session: LabNode, joined: Client) -> None:
    (device,) = [d for d in lab_session.get("/api/v1/network/devices") if d["mac_addr"] == joined.mac]
    strings = dict.fromkeys(LEASE - {"expires"}, str)
    assert types(device) == {**strings, "expires": int, "as_of": float}
    (lease,) = lab_session.get(f"{NETWORKS}/wifi/leases")
    assert device["expires"] == int(lease["expires"])
    assert {key: device[key] for key in strings} == {key: lease[key] for key in strings}


def test_ssid(lab_session: LabNode, joined: Client) -> None:
    settings = lab_session.get(f"{NETWORKS}/wifi/ssid")
    assert set(types(settings).values()) == {str}
    assert settings["ssid"] == "Free WiFi"
    assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", settings["bssid"])
    assert "wps_state" in settings
    joined_at = lab_session.get(f"{NETWORKS}/wifi/associations")[0]["joined_at"]
    answer = lab_session.request("PUT", f"{NETWORKS}/wifi/ssid", {"ssid": "Free WiFi"})
    assert (answer.status, answer.json) == (200, {"message": "OK"})
    # It has that name already, so that nobody has to join anew.
    assert lab_session.get(f"{NETWORKS}/wifi/associations")[0]["joined_at"] == joined_at


def test_hostapd_status(lab_session: LabNode, joined: Client) -> None:
    status = lab_session.get(f"{NETWORKS}/wlan0/hostapd_status")
    assert set(types(status).values()) == {str}
    assert status.keys() >= HOSTAPD_STATUS
    assert {"state": "ENABLED", "freq": "2462", "channel": "11", "phy": "phy0"}.items() <= status.items()
    assert (status["ssid[0]"], status["bss[0]"], status["num_sta[0]"]) == ("Free WiFi", "vwlan7e1b", "1")
    assert status["bssid[0]"] == lab_session.get(f"{NETWORKS}/wifi/ssid")["bssid"]
    assert status["cac_time_left_seconds"] == "N/A"


def test_stations(lab_session: LabNode, joined: Client) -> None:
    (station,) = lab_session.get(f"{NETWORKS}/wifi/stations")
    assert set(types(station).values()) == {str}
    assert station.keys() >= STATION
    assert re.fullmatch(r"\d+ ms", station["inactive_time"])
    assert re.fullmatch(r"-\d+ (\[.*\] )?dBm", station["signal"])
    assert re.match(r"\d+\.\d MBit/s", station["tx_bitrate"])
    assert (station["authorized"], station["preamble"], station["tdls_peer"]) == ("yes", "short", "no")
    one = lab_session.get(f"{NETWORKS}/wlan0/stations/{joined.mac}")
    assert one.keys() == station.keys()
    assert lab_session.get(f"{NETWORKS}/wifi/stations/02:00:00:00:77:00") == {}
    gone = lab_session.request("DELETE", f"{NETWORKS}/wifi/stations/02:00:00:00:77:00")
    assert (gone.status, gone.json) == (200, [])


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_pdconf(lab_session: LabNode, joined: Client, method: str) -> None:
    """PUT applies everything anew, which no station notices."""
    joined_at = lab_session.get(f"{NETWORKS}/wifi/associations")[0]["joined_at"]
    answer = lab_session.request(method, "/api/v1/config/pdconf")
    assert answer.status == 200
    documented = {"type": str, "name": str, "comment": str, "success": bool, "age": int}
    for section in answer.json:
        assert documented == types(section)
    named = {(s["type"], s["name"], s["comment"]): s["success"] for s in answer.json}
    assert named["wifi-iface", "vwlan7e1b", "captive-portal"]
    assert named["interface", "lan", "__PARADROP__"]
    assert all(named.values()), answer.json
    assert lab_session.get(f"{NETWORKS}/wifi/associations")[0]["joined_at"] == joined_at


@pytest.mark.parametrize("path", ["", "/leases", "/ssid", "/hostapd_status", "/stations"])
def test_what_is_not_there(lab_session: LabNode, joined: Client, path: str) -> None:
    unknown = lab_session.request("GET", f"/api/v1/chutes/nobody/networks/wifi{path}")
    assert (unknown.status, unknown.reason) == (404, "CHUTE_NOT_FOUND")
    unknown = lab_session.request("GET", f"{NETWORKS}/nothing{path}")
    assert (unknown.status, unknown.reason) == (404, "NETWORK_NOT_FOUND")

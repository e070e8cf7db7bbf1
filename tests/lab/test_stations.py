"""Stations join, are seen, and leave: real kernel radios, hostapd, dnsmasq and wpa_supplicant."""

import re
import time

import pytest

from tests.lab.air import Client
from tests.lab.node import LabNode

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

WIFI = "/api/v1/chutes/captive-portal/networks/wifi"


MOVING = {
    *("inactive_time", "connected_time", "rx_bytes", "rx_packets", "tx_bytes", "tx_packets", "rx_drop_misc"),
    *("tx_retries", "rx_duration", "tx_duration", "beacon_rx", "tx_bitrate", "rx_bitrate"),
}
"""What changes between two questions."""


def stations_as_iw_prints_them(lab: LabNode, interface: str) -> list[dict[str, str]]:
    """Reads `iw station dump` as the interface of old did."""
    found: list[dict[str, str]] = []
    for line in lab.machine.run("iw", "dev", interface, "station", "dump").output.splitlines():
        if match := re.match(r"Station (\S+) ", line):
            found.append({"mac_addr": match[1]})
        elif ":" in line:
            label, _, value = line.strip().partition(":")
            found[-1][re.sub(r"[ /]", "_", label.lower())] = value.strip()
    return found


def test_a_station_of_an_open_network_is_seen_as_iw_sees_it(lab: LabNode, client: Client) -> None:
    client.join("Free WiFi")
    address = client.lease("paradrops-iPod")
    assert client.pings("192.168.128.1")
    time.sleep(1)
    shown = lab.get(f"{WIFI}/stations")
    printed = stations_as_iw_prints_them(lab, "vwlan7e1b")
    assert [station["mac_addr"] for station in shown] == [client.mac]
    ours, theirs = shown[0], printed[0]
    timeless = {key for key in theirs if not key.startswith(("associated_at", "current_time"))}
    assert set(ours) == timeless
    assert {key: ours[key] for key in timeless - MOVING} == {key: theirs[key] for key in timeless - MOVING}
    for key in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets"):
        assert 0 < int(ours[key]) <= int(theirs[key]) <= int(ours[key]) + 5000
    assert re.fullmatch(r"\d+ ms", ours["inactive_time"])
    assert lab.get(f"{WIFI}/stations/{client.mac.upper()}")["mac_addr"] == client.mac
    typed = lab.get(f"{WIFI}/associations")[0]
    assert typed["signal_dbm"] == int(theirs["signal"].split()[0])
    assert (typed["ip_address"], typed["hostname"]) == (address, "paradrops-iPod")
    assert typed["rx_bytes"] >= int(ours["rx_bytes"])

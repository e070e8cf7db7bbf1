"""Stations join, are seen, and leave: real kernel radios, hostapd, dnsmasq and wpa_supplicant."""

import re
import signal
import statistics
import sys
import time
from typing import Any

import pytest
import websockets.exceptions
import websockets.sync.client
from paradrop.network.v1 import wireless_pb2 as wpb

from tests.lab.air import Client, wait_until
from tests.lab.chutes import CAFE, THREE, WPA2_KEY, WPA3_KEY
from tests.lab.node import SERVICE_PORT, LabNode

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

WHERE = {"chute": "captive-portal", "network": "wifi"}
WIFI = "/api/v1/chutes/captive-portal/networks/wifi"


MOVING = {
    *("inactive_time", "connected_time", "rx_bytes", "rx_packets", "tx_bytes", "tx_packets", "rx_drop_misc"),
    *("tx_retries", "rx_duration", "tx_duration", "beacon_rx", "tx_bitrate", "rx_bitrate"),
    "expected_throughput",
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
    assert client.pings("192.168.128.2")
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


@pytest.mark.parametrize(
    ("ssid", "key", "network", "security"),
    [(CAFE, WPA2_KEY, "cameras", "psk"), (THREE, WPA3_KEY, "guests", "sae")],
    ids=["wpa2", "wpa3"],
)
def test_a_station_of_a_protected_network(
    lab: LabNode, client: Client, ssid: str, key: str, network: str, security: str
) -> None:
    client.join(ssid, key=key, security=security)
    stations = wait_until(
        "the station may pass data",
        lambda: [
            station
            for station in lab.get(f"/api/v1/chutes/seccam/networks/{network}/stations")
            if station["authorized"] == "yes"
        ],
        timeout_s=3,
    )
    assert [station["mac_addr"] for station in stations] == [client.mac]
    assert stations[0]["mfp"] == "yes"
    settings = lab.get(f"/api/v1/chutes/seccam/networks/{network}/ssid")
    assert settings["ssid"] == ssid
    assert key not in str(settings)


def test_a_wrong_key_lets_nobody_in(lab: LabNode, client: Client) -> None:
    said = client.said()
    client.begin_to_join(CAFE, key="not the right one", security="psk")
    client.refused(said)
    assert not client.is_in(CAFE)
    stations = lab.get("/api/v1/chutes/seccam/networks/cameras/stations")
    assert all(station["authorized"] == "no" for station in stations)


def test_a_lease_is_in_the_api_within_a_second(lab: LabNode, client: Client) -> None:
    client.join("Free WiFi")
    stream = lab.wireless.WatchLeases(wpb.WatchLeasesRequest(**WHERE), metadata=lab.metadata, timeout=60)
    messages = iter(stream)
    while not next(messages).HasField("synced"):
        pass
    address = client.lease("phone")
    answered_s = time.monotonic()
    while True:
        message = next(messages)
        if any(lease.mac_addr == client.mac for lease in message.changes.upserts):
            break
    assert time.monotonic() - answered_s < 1
    lease = next(entry for entry in message.changes.upserts if entry.mac_addr == client.mac)
    assert (lease.ip_addr, lease.hostname) == (address, "phone")
    assert float(lease.expires) > time.time()
    associations = wait_until(
        "the name of the station",
        lambda: [s for s in lab.get(f"{WIFI}/associations") if s.get("hostname") == "phone"],
        timeout_s=2,
    )
    assert associations[0]["ip_address"] == address
    stream.cancel()


def test_who_joins_and_leaves_is_streamed_at_once(lab: LabNode, client: Client, other: Client) -> None:
    stream = lab.wireless.WatchStations(wpb.WatchStationsRequest(**WHERE), metadata=lab.metadata, timeout=120)
    messages = iter(stream)
    while not next(messages).HasField("synced"):
        pass
    for roaming in (client, other):
        roaming.join("Free WiFi")
        upsert = _next(messages, "upserts", roaming.mac)
        assert upsert.authorized
        assert upsert.signal_dbm < 0
    client.leave()
    left = _next(messages, "removals", client.mac)
    assert left.left_at.ToSeconds() >= left.joined_at.ToSeconds()
    sessions = lab.get(f"{WIFI}/sessions")
    assert sessions[0]["mac"] == client.mac
    assert sessions[0]["rx_bytes"] > 0
    assert [station["mac"] for station in lab.get(f"{WIFI}/associations")] == [other.mac]
    stream.cancel()


def test_joining_is_told_soon(lab: LabNode, client: Client, record_property: Any) -> None:
    """Compares when the client's kernel was connected with when a subscriber was told, by one clock."""
    told_log, events_log = "/run/lab/told", "/run/lab/client1-events"
    words = (sys.executable, "-m", "tests.lab.listener", f"127.0.0.1:{SERVICE_PORT}", lab.token)
    listener = lab.machine.spawn(*words, *WHERE.values(), log=told_log)
    kernel = lab.machine.spawn("ip", "netns", "exec", client.name, "iw", "event", "-t", log=events_log)

    def told() -> list[float]:
        """Returns when the subscriber was told of the client."""
        lines = lab.machine.read(told_log).splitlines()
        return [float(line.split()[0]) for line in lines if line.endswith(client.mac)]

    delays_s = []
    try:
        wait_until("the subscriber", lambda: "synced" in lab.machine.read(told_log), 90, 0.5)
        for _ in range(5):
            client.leave()
            wait_until("the departure", lambda: not lab.get(f"{WIFI}/associations"))
            before = len(told())
            client.join("Free WiFi")
            told_s = wait_until("the news", lambda before=before: told()[before:])[0]
            connected = re.findall(
                r"([0-9.]+): wlan\S+ \(phy #\d+\): connected to", lab.machine.read(events_log)
            )
            delays_s.append(told_s - float(connected[-1]))
    finally:
        for pid in (listener, kernel):
            lab.machine.signal(pid, signal.SIGTERM)
    median_ms = statistics.median(delays_s) * 1000
    record_property("join_to_event_median_ms", round(median_ms))
    print(f"join to event: median {median_ms:.0f} ms of {[round(s * 1000) for s in delays_s]}")
    assert median_ms < 100


def _next(messages: Any, kind: str, mac: str) -> Any:
    """Returns the next change of a station."""
    while True:
        for found in getattr(next(messages).changes, kind):
            if found.mac == mac:
                return found


def test_a_new_ssid_is_seen_on_the_air_and_the_old_is_not(lab: LabNode, client: Client) -> None:
    answer = lab.request("PUT", f"{WIFI}/ssid", {"ssid": "Best Free WiFi"})
    assert (answer.status, answer.json) == (200, {"message": "OK"})
    try:
        assert lab.get(f"{WIFI}/ssid")["ssid"] == "Best Free WiFi"
        assert "SSID: Free WiFi" not in client.finds("Best Free WiFi", 2462)
        client.join("Best Free WiFi")
    finally:
        lab.request("PUT", f"{WIFI}/ssid", {"ssid": "Free WiFi"})


def test_a_protected_network_can_be_joined_by_its_new_name(lab: LabNode, client: Client) -> None:
    path = "/api/v1/chutes/seccam/networks/cameras/ssid"
    assert lab.request("PUT", path, {"ssid": "Renamed"}).json == {"message": "OK"}
    try:
        client.join("Renamed", key=WPA2_KEY, security="psk")
    finally:
        lab.request("PUT", path, {"ssid": CAFE})


def test_a_station_is_removed_and_may_come_back(lab: LabNode, client: Client) -> None:
    client.join("Free WiFi")
    path = f"{WIFI}/stations/{client.mac}"
    assert lab.get(path)["mac_addr"] == client.mac
    answer = lab.request("DELETE", path)
    assert (answer.status, answer.json) == (200, [])
    wait_until("the session", lambda: lab.get(f"{WIFI}/sessions")[0]["mac"] == client.mac)
    wait_until("it comes back", lambda: lab.get(path).get("mac_addr") == client.mac, 30)
    assert lab.get(f"{WIFI}/stations/02:00:00:00:77:00") == {}
    assert lab.request("DELETE", f"{WIFI}/stations/02:00:00:00:77:00").json == []
    assert lab.request("GET", f"{WIFI}/stations/nonsense").reason == "MAC_INVALID"


def test_a_banned_station_stays_out_until_the_ban_is_lifted(
    lab: LabNode, client: Client, other: Client
) -> None:
    client.join("Free WiFi")
    other.join("Free WiFi")
    ban = lab.request("POST", f"{WIFI}/stations/{client.mac}/kick", {"ban_s": 600}).json["ban"]
    assert ban["mac"] == client.mac
    assert [entry["mac"] for entry in lab.get(f"{WIFI}/bans")] == [client.mac]
    time.sleep(4)  # It tries again meanwhile.
    assert [station["mac"] for station in lab.get(f"{WIFI}/associations")] == [other.mac]
    assert lab.request("DELETE", f"{WIFI}/bans/{client.mac}").status == 200
    assert lab.get(f"{WIFI}/bans") == []
    client.join("Free WiFi")
    assert other.is_in("Free WiFi")


def test_only_listed_stations_join(lab: LabNode, client: Client, other: Client) -> None:
    rules = {"mode": "MODE_ALLOW", "macs": [client.mac.upper()]}
    assert lab.request("PUT", f"{WIFI}/access_list", rules).json == {
        "mode": "MODE_ALLOW",
        "macs": [client.mac],
    }
    try:
        client.join("Free WiFi")
        other.begin_to_join("Free WiFi")
        time.sleep(4)
        assert not other.is_in("Free WiFi")
    finally:
        assert lab.request("PUT", f"{WIFI}/access_list", {"mode": "MODE_DENY", "macs": []}).status == 200
    other.join("Free WiFi")


def test_a_station_is_asked_to_move(lab: LabNode, client: Client) -> None:
    client.join("Free WiFi")
    answer = lab.request("POST", f"{WIFI}/stations/{client.mac}/transition", {})
    assert answer.status == 200, answer
    assert answer.json["accepted"] == (answer.json["status_code"] == 0)
    path = f"{WIFI}/stations/02:00:00:00:77:00/transition"
    assert lab.request("POST", path, {}).reason == "STATION_NOT_FOUND"


def test_the_control_socket_over_a_websocket(lab: LabNode, client: Client) -> None:
    url = f"ws://{lab.target}{WIFI}/hostapd_control/ws"
    with websockets.sync.client.connect(
        url, additional_headers={"authorization": f"Bearer {lab.token}"}, proxy=None
    ) as socket:
        for command, answer in (("PING", "PONG\n"), ("ATTACH", "OK\n")):
            socket.send(command)
            assert socket.recv(5) == answer
        client.join("Free WiFi")
        event = socket.recv(10)
        while "AP-STA-CONNECTED" not in str(event):
            event = socket.recv(10)
        assert client.mac in str(event)
        socket.send("TERMINATE")
        with pytest.raises(websockets.exceptions.ConnectionClosed, match="could hand over the node"):
            _read_to_the_end(socket)
    assert client.is_in("Free WiFi")


def _read_to_the_end(socket: Any) -> None:
    while True:
        socket.recv(5)

"""Radios: what they can do, what is on the air, other channels, and what happens when something dies."""

import copy

import pytest

from tests.lab.air import Client, wait_until
from tests.lab.chutes import CAFE, HOST_CONFIG, THREE, WPA2_KEY, WPA3_KEY, access_point, wanted
from tests.lab.machine import Machine
from tests.lab.node import LabNode

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

WIFI = "/api/v1/chutes/captive-portal/networks/wifi"
EXTRA = access_point("wlan0", "Extra")
RADIOS = "/api/v1/network/radios"


def processes(machine: Machine, program: str, interface: str = "") -> list[int]:
    """Returns the processes of a program, of the one interface if it is named."""
    found = machine.run("pgrep", "-f", f"^[^ ]*/{program} .*{interface}", check=False).output
    return sorted(int(pid) for pid in found.split())


def test_radios_tell_what_they_can_do(lab: LabNode) -> None:
    radios = lab.get(RADIOS)
    assert [radio["phy"] for radio in radios] == ["phy0", "phy1", "phy2"]
    first = radios[0]
    assert {"HT", "VHT"} <= set(first["generations"])
    assert "AP" in first["modes"]
    assert first["max_access_points"] >= 8
    assert first["channel_switch"]
    names = {interface["name"]: interface for interface in first["interfaces"]}
    assert names["vwlan7e1b"]["ssid"] == "Free WiFi"
    assert names["vwlan7e1b"]["frequency_mhz"] == 2462
    usable = {channel["number"] for channel in first["channels"] if channel["usable"]}
    assert {1, 6, 11} <= usable


def test_a_scan_hears_the_other_access_points(lab: LabNode) -> None:
    name = lab.get(RADIOS)[2]["name"]
    lab.machine.run("ip", "link", "set", "wlan2", "up")
    answer = lab.request("POST", f"{RADIOS}/{name}/scan", {})
    assert answer.status == 200, answer
    heard = {found["ssid"]: found for found in answer.json}
    assert (heard["Free WiFi"]["security"], heard["Free WiFi"]["channel"]) == ("none", 11)
    assert heard[CAFE]["security"] == "wpa2"
    assert (heard[THREE]["security"], heard[THREE]["frequency_mhz"]) == ("wpa3", 2437)
    assert all(-100 < found["signal_dbm"] < 0 for found in answer.json)
    few = lab.request("POST", f"{RADIOS}/{name}/scan", {"channels": [6]})
    assert few.status == 200
    surveys = lab.get(f"{RADIOS}/{name}/survey")
    printed = lab.machine.run("iw", "dev", "wlan2", "survey", "dump").output
    assert len(surveys) == printed.count("Survey data from")
    for survey in surveys:
        assert f"{survey['frequency_mhz']} MHz" in printed
        assert survey.get("noise_dbm", -1) < 0


def test_refusals_of_radios(lab: LabNode) -> None:
    assert lab.request("GET", f"{RADIOS}/phy99/survey").reason == "RADIO_NOT_FOUND"
    assert lab.request("POST", f"{RADIOS}/phy0/channel", {"channel": 0}).reason == "CHANNEL_NOT_ALLOWED"
    assert lab.request("POST", f"{RADIOS}/phy0/channel", {"channel": 52}).reason == "CHANNEL_NOT_ALLOWED"
    assert lab.request("POST", f"{RADIOS}/phy2/channel", {"channel": 1}).reason == "CHANNEL_SWITCH_REFUSED"


def test_stations_come_along_to_another_channel(lab: LabNode, client: Client, other: Client) -> None:
    client.join("Free WiFi")
    other.join(CAFE, key=WPA2_KEY, security="psk")
    client.lease()
    before = lab.get(f"{WIFI}/associations")[0]["joined_at"]
    sessions = len(lab.get(f"{WIFI}/sessions"))
    answer = lab.request("POST", f"{RADIOS}/phy0/channel", {"channel": 1})
    assert answer.status == 200, answer
    assert sorted(answer.json["interfaces"]) == ["vwlan3cbe", "vwlan7e1b"]
    for roaming in (client, other):
        wait_until(
            "the channel", lambda who=roaming: "2412" in who.run("iw", "dev", who.interface, "link").output
        )
    assert client.pings("192.168.128.2", 3)
    assert lab.get(f"{WIFI}/associations")[0]["joined_at"] == before
    assert len(lab.get(f"{WIFI}/sessions")) == sessions
    assert lab.get(f"{WIFI}/hostapd_status")["channel"] == "1"
    # What comes later to the radio goes where it is now.
    lab.apply("hello-world", [EXTRA])
    assert lab.get("/api/v1/chutes/hello-world/networks/wlan0/hostapd_status")["channel"] == "1"
    lab.release("hello-world")
    assert client.is_in("Free WiFi")
    assert lab.request("POST", f"{RADIOS}/phy0/channel", {"channel": 11}).status == 200
    assert client.is_in("Free WiFi")


def test_all_access_points_of_a_radio_go_where_the_host_configuration_says(
    lab: LabNode, client: Client
) -> None:
    changed = copy.deepcopy(HOST_CONFIG)
    changed["wifi"][0]["channel"] = 6
    lab.configure(changed)
    try:
        for path in (WIFI, "/api/v1/chutes/seccam/networks/cameras"):
            status = lab.get(f"{path}/hostapd_status")
            assert (status["state"], status["channel"]) == ("ENABLED", "6")
        client.join("Free WiFi")
        client.lease()
        assert client.pings("192.168.128.2")
    finally:
        lab.configure(HOST_CONFIG)
    assert lab.get(f"{WIFI}/hostapd_status")["channel"] == "11"


def test_another_access_point_comes_and_goes_without_disturbing_stations(
    lab: LabNode, client: Client
) -> None:
    client.join("Free WiFi")
    client.lease()
    before = lab.get(f"{WIFI}/associations")[0]["joined_at"]
    pid = processes(lab.machine, "hostapd", "vwlan7e1b")
    lab.apply("hello-world", [EXTRA])
    assert lab.get("/api/v1/chutes/hello-world/networks/wlan0/hostapd_status")["state"] == "ENABLED"
    lab.release("hello-world")
    assert lab.request("GET", "/api/v1/chutes/hello-world/networks/wlan0/hostapd_status").status == 404
    assert lab.machine.run("ip", "link", "show", "vwlan5f88", check=False).code
    assert client.pings("192.168.128.2", 3)
    assert lab.get(f"{WIFI}/associations")[0]["joined_at"] == before
    assert processes(lab.machine, "hostapd", "vwlan7e1b") == pid


def test_hostapd_and_dnsmasq_come_back_when_they_are_killed(
    lab: LabNode, client: Client, other: Client
) -> None:
    other.join(CAFE, key=WPA2_KEY, security="psk")
    before = lab.get("/api/v1/chutes/seccam/networks/cameras/associations")[0]["joined_at"]
    client.join("Free WiFi")
    for program in ("hostapd", "dnsmasq"):
        (pid,) = processes(lab.machine, program, "vwlan7e1b")
        lab.machine.run("kill", "-9", str(pid))
        wait_until(
            f"a new {program}",
            lambda p=program, old=pid: processes(lab.machine, p, "vwlan7e1b") not in ([], [old]),
        )
    wait_until("the access point", lambda: lab.request("GET", f"{WIFI}/hostapd_status").status == 200)
    client.join("Free WiFi")
    client.lease()
    assert client.pings("192.168.128.2")
    assert lab.get("/api/v1/chutes/seccam/networks/cameras/associations")[0]["joined_at"] == before


def test_a_chute_listens_with_a_whole_radio_and_gives_it_back(lab: LabNode) -> None:
    monitor = wanted("mon0", type="wifi-monitor", requests={"device": "other-wifi-2"})
    lab.apply("listener", [monitor])
    container = lab.attach("listener")
    assert "type monitor" in container.run("iw", "dev", "mon0", "info")
    assert "UP" in container.run("ip", "-br", "link", "show", "mon0")
    assert len(lab.get(RADIOS)) == 2
    container.run("iw", "dev", "mon0", "set", "channel", "11")
    heard = "import socket\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300)\n"
    heard += "s.bind(('mon0', 0))\nwhile b'Free WiFi' not in s.recv(4096): pass"
    container.run("timeout", "10", "python3", "-c", heard)
    lab.release("listener")
    wait_until("the radio", lambda: len(lab.get(RADIOS)) == 3)


def test_a_radio_is_taken_out_and_comes_back(lab: LabNode, client: Client) -> None:
    radio = next(
        found for found in lab.get(RADIOS) if any(i["name"] == "vwlan3cbf" for i in found["interfaces"])
    )
    path = "/api/v1/chutes/seccam/networks/guests"
    number = int(lab.machine.run("cat", f"/sys/class/ieee80211/{radio['phy']}/index").output)
    lab.machine.ask("radio", command="del", radio_id=number)
    wait_until("the loss is told", lambda: lab.request("GET", f"{path}/stations").status in (404, 503))
    assert lab.get(f"{WIFI}/hostapd_status")["state"] == "ENABLED"
    lab.machine.ask("radio", command="new", mac=radio["mac"])
    wait_until(
        "the access point", lambda: lab.request("GET", f"{path}/hostapd_status").status == 200, 45, 0.5
    )
    # All of the network is back: addresses are given out, and the chute is reached.
    container = lab.containers["seccam"]
    wait_until("the chute's interface", lambda: "wlan1" in container.addresses(), 30, 0.5)
    client.join(THREE, key=WPA3_KEY, security="sae")
    assert client.lease().startswith("192.168.130.")
    assert client.pings("192.168.130.2")


def test_a_service_that_starts_without_a_radio_takes_it_up_later(lab: LabNode, client: Client) -> None:
    radio = next(
        found for found in lab.get(RADIOS) if any(i["name"] == "vwlan3cbf" for i in found["interfaces"])
    )
    number = int(lab.machine.run("cat", f"/sys/class/ieee80211/{radio['phy']}/index").output)
    lab.kill_service()
    lab.machine.ask("radio", command="del", radio_id=number)
    lab.start_service()
    sections = lab.get("/api/v1/config/pdconf?explain=true")
    (section,) = [s for s in sections if (s["type"], s["name"]) == ("wifi-iface", "vwlan3cbf")]
    assert (section["success"], section["reason"]) == (False, "RADIO_NOT_AVAILABLE")
    assert lab.get(f"{WIFI}/hostapd_status")["state"] == "ENABLED"
    lab.machine.ask("radio", command="new", mac=radio["mac"])
    wait_until("the chute's interface", lambda: "wlan1" in lab.containers["seccam"].addresses(), 45, 0.5)
    client.join(THREE, key=WPA3_KEY, security="sae")
    assert client.lease().startswith("192.168.130.")

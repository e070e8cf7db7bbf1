"""Radios: what they can do, what is on the air, other channels, and what happens when something dies."""

import json
import signal
import time

import pytest

from tests.lab.air import Client, wait_until
from tests.lab.conftest import PLAN, WPA2
from tests.lab.machine import Machine
from tests.lab.node import LabNode, open_network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

WIFI = "/api/v1/chutes/captive-portal/networks/wifi"
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
    assert heard[WPA2["ssid"]]["security"] == "wpa2"
    assert (heard["Three"]["security"], heard["Three"]["frequency_mhz"]) == ("wpa3", 2437)
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
    other.join(WPA2["ssid"], key=WPA2["key"], security="psk")
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
    assert client.pings("192.168.128.1", 3)
    assert lab.get(f"{WIFI}/associations")[0]["joined_at"] == before
    assert len(lab.get(f"{WIFI}/sessions")) == sessions
    assert lab.get(f"{WIFI}/hostapd_status")["channel"] == "1"
    assert lab.request("POST", f"{RADIOS}/phy0/channel", {"channel": 11}).status == 200
    assert client.is_in("Free WiFi")


def test_another_access_point_comes_and_goes_without_disturbing_stations(
    lab: LabNode, client: Client
) -> None:
    client.join("Free WiFi")
    client.lease()
    before = lab.get(f"{WIFI}/associations")[0]["joined_at"]
    pid = processes(lab.machine, "hostapd", "vwlan7e1b")
    extra = open_network(
        chute="hello-world",
        name="wlan0",
        section="x",
        interface="vwlan5f88",
        ssid="Extra",
        subnet="192.168.131.0/24",
    )
    lab.set_plan([*PLAN, extra])
    assert lab.get("/api/v1/chutes/hello-world/networks/wlan0/hostapd_status")["state"] == "ENABLED"
    lab.set_plan(PLAN)
    assert lab.request("GET", "/api/v1/chutes/hello-world/networks/wlan0/hostapd_status").status == 503
    assert lab.machine.run("ip", "link", "show", "vwlan5f88", check=False).code
    assert client.pings("192.168.128.1", 3)
    assert lab.get(f"{WIFI}/associations")[0]["joined_at"] == before
    assert processes(lab.machine, "hostapd", "vwlan7e1b") == pid


def test_hostapd_and_dnsmasq_come_back_when_they_are_killed(
    lab: LabNode, client: Client, other: Client
) -> None:
    other.join(WPA2["ssid"], key=WPA2["key"], security="psk")
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
    assert client.pings("192.168.128.1")
    assert lab.get("/api/v1/chutes/seccam/networks/cameras/associations")[0]["joined_at"] == before


def test_the_service_is_killed_while_it_applies(lab: LabNode, client: Client) -> None:
    extra = open_network(
        chute="hello-world",
        name="wlan0",
        section="x",
        interface="vwlan5f88",
        ssid="Extra",
        subnet="192.168.131.0/24",
    )
    lab.machine.write("/run/lab/plan.json", json.dumps([extra, *PLAN]))
    lab.machine.run("kill", "-HUP", str(lab.pid))
    time.sleep(0.3)
    lab.machine.signal(lab.pid, signal.SIGKILL)
    assert wait_until("its children are gone", lambda: not processes(lab.machine, "hostapd"))
    assert not processes(lab.machine, "dnsmasq")
    lab.pid = 0
    lab.set_plan(PLAN)
    lab.start_service()
    assert len(processes(lab.machine, "hostapd")) == len(PLAN)
    assert len(processes(lab.machine, "dnsmasq")) == len(PLAN)
    interfaces = lab.machine.run("iw", "dev").output
    assert "vwlan5f88" not in interfaces
    client.join("Free WiFi")
    client.lease()
    assert client.pings("192.168.128.1")


def test_a_radio_is_taken_out_and_comes_back(lab: LabNode, client: Client) -> None:
    mac = lab.get(RADIOS)[1]["mac"]
    path = "/api/v1/chutes/seccam/networks/guests"
    lab.machine.ask("radio", command="del", radio_id=1)
    wait_until("the loss is told", lambda: lab.request("GET", f"{path}/stations").status in (404, 503))
    assert lab.get(f"{WIFI}/hostapd_status")["state"] == "ENABLED"
    lab.machine.ask("radio", command="new", mac=mac)
    wait_until(
        "the access point", lambda: lab.request("GET", f"{path}/hostapd_status").status == 200, 45, 0.5
    )
    client.join("Three", key="correct horse", security="sae")

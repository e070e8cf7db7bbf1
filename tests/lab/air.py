"""What roams around the node: clients with a radio and a network namespace of their own."""

import re
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from services.network.domain.hostapd_text import parse
from tests.lab.machine import LabError, Machine

JOIN_TIMEOUT_S = 60.0
CHANNELS_MHZ = "2412 2437 2462"
"""Where the lab's access points are; to listen everywhere takes a client five seconds."""
DHCP_SCRIPT = """#!/bin/sh
case $1 in
bound|renew) ip address flush dev "$interface"; ip address add "$ip/$mask" dev "$interface"
    [ -n "$router" ] && ip route replace default via "${router%% *}" dev "$interface" ;;
deconfig) ip address flush dev "$interface"; ip link set "$interface" up ;;
esac
exit 0
"""


def wait_until(what: str, holds: Any, timeout_s: float = 10.0, every_s: float = 0.1) -> Any:
    """Waits until `holds()` is true and returns its value."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > deadline_s:
            raise LabError(f"{what}: not within {timeout_s} s")
        time.sleep(every_s)


CROWD = "crowd"


def gather(machine: Machine, radios: range) -> None:
    """Takes radios away from the node and puts them into the namespace of the crowd."""
    if radios:
        move = f"iw phy phy$n set netns name {CROWD}"
        script = f"ip netns add {CROWD}; for n in $(seq {radios[0]} {radios[-1]}); do {move}; done"
        machine.run("sh", "-ec", script, timeout_s=120)


def let_crowd_join(machine: Machine, ssid: str, frequency_mhz: int, interfaces: list[str]) -> int:
    """Lets a station on each of these interfaces join an open network; returns the process that does it."""
    network = f'network={{\nssid="{ssid}"\nkey_mgmt=NONE\nscan_freq={frequency_mhz}\n}}\n'
    machine.write("/run/lab/crowd.conf", network)
    stations = [("-Dnl80211", f"-i{interface}", "-c/run/lab/crowd.conf", "-N") for interface in interfaces]
    words = [word for station in stations for word in station][:-1]
    enter = ("nsenter", f"--net=/run/netns/{CROWD}")
    return machine.spawn(*enter, "wpa_supplicant", *words, log="/run/lab/crowd.log")


@dataclass
class Client:
    """A station: wpa_supplicant on a radio in a namespace of its own."""

    machine: Machine
    name: str
    interface: str
    supplicant: int = field(default=0)
    _wants_network: bool = False

    @classmethod
    def create(cls, machine: Machine, name: str, phy: str, interface: str) -> "Client":
        """Takes a radio away from the node and gives it to a new client."""
        machine.run("ip", "netns", "add", name)
        machine.run("iw", "phy", phy, "set", "netns", "name", name)
        client = cls(machine, name, interface)
        client.run("ip", "link", "set", "lo", "up")
        client.run("ip", "link", "set", interface, "up")
        machine.write(f"/run/lab/{name}-dhcp", DHCP_SCRIPT)
        machine.run("chmod", "+x", f"/run/lab/{name}-dhcp")
        machine.write(
            f"/run/lab/{name}.conf",
            f"ctrl_interface=/run/lab/wpa-{name}\nap_scan=1\npmf=1\nupdate_config=0\n",
        )
        client.supplicant = machine.spawn(
            *("ip", "netns", "exec", name, "wpa_supplicant", "-Dnl80211", f"-i{interface}"),
            f"-c/run/lab/{name}.conf",
            log=f"/run/lab/{name}.log",
        )
        wait_until("wpa_supplicant", client._answers)
        return client

    @cached_property
    def mac(self) -> str:
        """Hardware address."""
        return str(self.run("iw", "dev", self.interface, "info").output.split("addr ")[1].split()[0])

    def run(self, *argv: str, check: bool = True, timeout_s: float = 30) -> Any:
        """Runs a program as this client."""
        argv = ("nsenter", f"--net=/run/netns/{self.name}", *argv)
        return self.machine.run(*argv, check=check, timeout_s=timeout_s)

    def control(self, *commands: str) -> list[str]:
        """Gives its wpa_supplicant commands, one after another, and returns the replies."""
        path = f"/run/lab/wpa-{self.name}/{self.interface}"
        replies: list[str] = self.machine.ask("control", path=path, commands=commands)["replies"]
        for command, reply in zip(commands, replies, strict=True):
            if reply.startswith("FAIL"):
                raise LabError(f"{self.name}, {command}: {reply}")
        return replies

    def _answers(self) -> bool:
        try:
            return self.control("PING") == ["PONG\n"]
        except LabError:
            return False

    def status(self) -> dict[str, str]:
        """Returns what its wpa_supplicant tells."""
        return parse(self.control("STATUS")[0])

    def said(self) -> int:
        """Returns how much its wpa_supplicant has said, for `refused`."""
        return len(self.machine.read(f"/run/lab/{self.name}.log"))

    def refused(self, since: int, timeout_s: float = 20) -> None:
        """Waits until it has given up joining because of its key or password."""
        log = f"/run/lab/{self.name}.log"
        wait_until("the refusal", lambda: "SSID-TEMP-DISABLED" in self.machine.read(log)[since:], timeout_s)

    def join(
        self,
        ssid: str,
        *,
        key: str = "",
        security: str = "none",
        timeout_s: float = JOIN_TIMEOUT_S,
        **more: str,
    ) -> float:
        """Joins a network and returns how many seconds that took; `more` is as wpa_supplicant writes it."""
        self.begin_to_join(ssid, key=key, security=security, **more)
        began_s = time.monotonic()
        wait_until(f"{self.name} joins {ssid}", lambda: self.is_in(ssid), timeout_s)
        return time.monotonic() - began_s

    def begin_to_join(self, ssid: str, *, key: str = "", security: str = "none", **more: str) -> None:
        """Tells wpa_supplicant which network is wanted."""
        self.leave()
        settings = {"ssid": ssid.encode().hex(), "scan_ssid": "1", "scan_freq": CHANNELS_MHZ}
        if security == "none":
            settings["key_mgmt"] = "NONE"
        elif security == "sae":
            settings |= {"key_mgmt": "SAE", "sae_password": f'"{key}"', "ieee80211w": "2"}
        elif security == "eap":
            settings |= {"key_mgmt": "WPA-EAP", "ieee80211w": "1"}
        else:
            settings |= {"key_mgmt": "WPA-PSK", "psk": f'"{key}"', "ieee80211w": "1"}
        self._wants_network = True
        settings |= more
        self.control(
            "ADD_NETWORK",
            *(f"SET_NETWORK 0 {name} {value}" for name, value in settings.items()),
            "ENABLE_NETWORK 0",
            "REASSOCIATE",
        )

    def is_in(self, ssid: str) -> bool:
        """Tells whether it may pass data in a network."""
        status = self.status()
        return status.get("wpa_state") == "COMPLETED" and status.get("ssid") == ssid

    def leave(self) -> None:
        """Leaves whatever network it is in."""
        if self._wants_network:
            self.control("REMOVE_NETWORK all")
            self.run("ip", "address", "flush", "dev", self.interface)
            self._wants_network = False

    def lease(self, hostname: str = "", timeout_s: float = 20) -> str:
        """Asks for an address and returns it."""
        name = ("-x", f"hostname:{hostname}") if hostname else ()
        self.run(
            *("busybox", "udhcpc", "-i", self.interface, "-n", "-q", "-f", "-t", "10", "-T", "1"),
            *("-s", f"/run/lab/{self.name}-dhcp", *name),
            timeout_s=timeout_s,
        )
        found = re.search(
            r"inet ([0-9.]+)/", self.run("ip", "-4", "address", "show", "dev", self.interface).output
        )
        if not found:
            raise LabError(f"{self.name} has no address")
        return found[1]

    def pings(self, address: str, count: int = 2) -> bool:
        """Tells whether an address answers."""
        return (
            self.run(
                "ping", "-c", str(count), "-i", "0.2", "-W", "2", address, check=False, timeout_s=20
            ).code
            == 0
        )

    def hears(self, *addresses: str) -> set[str]:
        """Asks all of these at once and returns those that answer."""
        pings = (f"(ping -c2 -i0.3 -W1 {address} >/dev/null && echo {address}) &" for address in addresses)
        return set(self.run("sh", "-c", f"{' '.join(pings)} wait", check=False).output.split())

    def finds(self, ssid: str, frequency_mhz: int, timeout_s: float = 30) -> str:
        """Listens on a channel until a network is there; returns all that is there, as iw prints it."""
        scan = ("iw", "dev", self.interface, "scan")
        deadline_s = time.monotonic() + timeout_s
        while True:
            # "iw scan" alone waits for ever if the scan ends before it listens for the end.
            self.run(*scan, "trigger", "freq", str(frequency_mhz), "flush", check=False)
            time.sleep(0.5)
            heard = str(self.run(*scan, "dump").output)
            if f"SSID: {ssid}\n" in heard:
                return heard
            if time.monotonic() > deadline_s:
                raise LabError(f"{self.name} does not hear {ssid}: {heard}")

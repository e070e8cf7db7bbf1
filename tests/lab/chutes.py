"""The chutes of the lab: what their authors ask for, and what stands for their containers."""

from dataclasses import dataclass, field
from typing import Any

from paradrop.network.v1 import chute_networks_pb2 as pb

from services.common.documents import to_struct
from tests.lab.machine import Machine

SERVICE = "main"
WPA2_KEY = 'pass "word\\ 1'
WPA3_KEY = "correct horse"


def wanted(name: str, section: str = "", **definition: Any) -> pb.WantedNetwork:
    """Returns a network as the chute service asks for it."""
    return pb.WantedNetwork(name=name, section=section, service=SERVICE, definition=to_struct(definition))


def access_point(
    name: str, ssid: str, subnet: str = "", section: str = "", radio: str = "other-wifi-0", **more: Any
) -> pb.WantedNetwork:
    """Returns an access point on a radio; what it gets is up to the node."""
    definition: dict[str, Any] = {
        "type": "wifi-ap",
        "dhcp": {"leasetime": "12h", "start": 10, "limit": 100},
        "requests": {"device": radio},
        **more,
    }
    definition["wireless"] = {"ssid": ssid, **definition.get("wireless", {})}
    if subnet:
        definition["ipv4_network"] = subnet
    return wanted(name, section, **definition)


CAFE, THREE = 'Café "2"|\\', "Three"
PLAN: dict[str, list[pb.WantedNetwork]] = {
    "captive-portal": [access_point("wlan0", "Free WiFi", "192.168.128.0/24", "wifi")],
    "seccam": [
        access_point(
            "wlan0",
            CAFE,
            "192.168.129.0/24",
            "cameras",
            wireless={"encryption": "psk2", "key": WPA2_KEY},
        ),
        access_point(
            "wlan1",
            THREE,
            "192.168.130.0/24",
            "guests",
            radio="other-wifi-1",
            wireless={"encryption": "sae", "key": WPA3_KEY},
        ),
    ],
}
"""What the node has whenever a test begins."""

HOST_CONFIG: dict[str, Any] = {
    "firewall": {"defaults": {"input": "ACCEPT", "output": "ACCEPT", "forward": "ACCEPT"}},
    "lan": {
        "interfaces": [],
        "proto": "static",
        "ipaddr": "10.0.0.1",
        "netmask": "255.255.255.0",
        "dhcp": {"start": 100, "limit": 100, "leasetime": "12h"},
        "firewall": {"forwarding": [{"src": "lan", "dest": "wan"}]},
    },
    "wan": {"interface": "wan0", "proto": "dhcp", "firewall": {"defaults": {"masq": "1"}}},
    "wifi": [
        {"id": "other-wifi-0", "hwmode": "11g", "channel": 11, "htmode": "HT20"},
        {"id": "other-wifi-1", "hwmode": "11g", "channel": 6, "htmode": "HT20"},
        {"id": "other-wifi-2", "hwmode": "11g", "channel": 1, "htmode": "HT20"},
    ],
    "wifi-interfaces": [],
    "system": {"chuteSubnetPool": "10.128.0.0/9", "chutePrefixSize": 24, "onMissingWiFi": "warn"},
    "telemetry": {"enabled": False, "interval": 60},
    "zerotier": {"enabled": False, "networks": []},
}


@dataclass
class Container:
    """A process with a network namespace of its own: all that the network service sees of a container."""

    machine: Machine
    pid: int = field(default=0)

    @classmethod
    def start(cls, machine: Machine) -> "Container":
        """Starts one."""
        container = cls(machine, machine.spawn("unshare", "--net", "sleep", "1000000"))
        # Until "unshare" has become "sleep", the process is still outside.
        machine.run("sh", "-c", f"until grep -q sleep /proc/{container.pid}/comm; do sleep 0.05; done")
        container.run("ip", "link", "set", "lo", "up")
        return container

    def run(self, *argv: str, check: bool = True) -> str:
        """Runs a program in it and returns what it says."""
        return self.machine.run("nsenter", "-t", str(self.pid), "-n", *argv, check=check).output

    def addresses(self) -> dict[str, str]:
        """Returns its interfaces that have an address, and that."""
        lines = self.run("ip", "-br", "-4", "addr").splitlines()
        return {
            words[0].partition("@")[0]: words[2]
            for line in lines
            if len(words := line.split()) > 2 and words[0] != "lo"
        }

    def stop(self) -> None:
        """Ends it."""
        self.machine.signal(self.pid, 9)

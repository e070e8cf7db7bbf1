"""Host configurations for tests."""

import copy
from typing import Any

EXAMPLE: dict[str, Any] = {
    "firewall": {"defaults": {"input": "ACCEPT", "output": "ACCEPT", "forward": "ACCEPT"}},
    "lan": {
        "interfaces": ["eth1"],
        "proto": "static",
        "ipaddr": "10.0.0.1",
        "netmask": "255.255.255.0",
        "dhcp": {"start": 100, "limit": 100, "leasetime": "12h"},
        "firewall": {
            "defaults": {"conntrack": "1", "input": "ACCEPT", "output": "ACCEPT", "forward": "ACCEPT"},
            "forwarding": [{"src": "lan", "dest": "wan"}],
        },
    },
    "wan": {
        "interface": "eth0",
        "proto": "dhcp",
        "firewall": {
            "defaults": {
                "conntrack": "1",
                "masq": "1",
                "input": "ACCEPT",
                "output": "ACCEPT",
                "forward": "ACCEPT",
                "masq_src": ["10.0.0.0/24", "10.128.0.0/9"],
            }
        },
    },
    "wifi": [
        {
            "id": "pci-wifi-0",
            "hwmode": "11a",
            "channel": 157,
            "htmode": "VHT20",
            "tx_stbc": 1,
            "rx_stbc": 1,
            "short_gi_20": True,
            "short_gi_40": True,
            "short_gi_80": True,
        }
    ],
    "wifi-interfaces": [{"device": "pci-wifi-0", "ssid": "Paradrop", "mode": "ap", "network": "lan"}],
    "system": {
        "autoUpdate": True,
        "chuteSubnetPool": "10.128.0.0/9",
        "chutePrefixSize": 24,
        "onMissingWiFi": "warn",
    },
    "telemetry": {"enabled": True, "interval": 60},
    "zerotier": {"enabled": True, "networks": []},
}
"""The complete document of a node with one 802.11ac radio."""


def example(**places: Any) -> dict[str, Any]:
    """Returns the example with values in other places; "lan__ipaddr" stands for {"lan": {"ipaddr": …}}."""
    document = copy.deepcopy(EXAMPLE)
    for place, value in places.items():
        *path, last = place.replace("___", "-").split("__")
        target = document
        for part in path:
            target = target.setdefault(part, {})
        target[last] = value
    return document

"""The JSON Schema of the host configuration. Keys it does not know are allowed everywhere and kept."""

from collections.abc import Mapping
from typing import Any

from services.network.domain.access_points import ENCRYPTIONS
from services.network.domain.naming import MAX_INTERFACE_CHARACTERS

Schema = Mapping[str, Any]

OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
ADDRESS = rf"^{OCTET}(\.{OCTET}){{3}}$"
NETWORK = rf"^{OCTET}(\.{OCTET}){{3}}/([0-9]|[12][0-9]|3[0-2])$"
NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
LEASE_TIME = r"^([0-9]{1,6}[smhd]?|infinite)$"
INTERFACE = rf"^[A-Za-z0-9_][A-Za-z0-9_.@-]{{0,{MAX_INTERFACE_CHARACTERS - 1}}}$"


def _object(properties: Schema, *required: str, nullable: bool = False) -> Schema:
    kind: Any = ["object", "null"] if nullable else "object"
    return {"type": kind, "properties": properties, **({"required": list(required)} if required else {})}


def _list(items: Schema, limit: int) -> Schema:
    return {"type": "array", "items": items, "maxItems": limit}


def _number(minimum: int, maximum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _pattern(pattern: str, example: str) -> Schema:
    return {"type": "string", "pattern": pattern, "examples": [example]}


VERDICT: Schema = {"enum": ["ACCEPT", "REJECT", "DROP"]}
SWITCH: Schema = {"enum": ["0", "1", 0, 1, True, False]}
"""UCI writes booleans as texts; people write all of these."""
NAME = _pattern(INTERFACE, "eth1")
IP = _pattern(ADDRESS, "10.0.0.1")
IP_OR_NETWORK: Schema = {
    "type": "string",
    "anyOf": [{"pattern": ADDRESS}, {"pattern": NETWORK}],
    "examples": ["10.0.0.0/24"],
}
PORTS: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": r"^[0-9]{1,5}([:-][0-9]{1,5})?$"},
    ],
    "examples": [80, "8000-8080"],
}
MAC = _pattern(r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$", "02:00:00:00:00:01")

DHCP = _object(
    {
        "start": _number(1, 2**24),
        "limit": _number(1, 2**24),
        "leasetime": _pattern(LEASE_TIME, "12h"),
    },
    "start",
    "limit",
)
ZONE_DEFAULTS = _object(
    {
        "conntrack": SWITCH,
        "masq": SWITCH,
        "input": VERDICT,
        "output": VERDICT,
        "forward": VERDICT,
        "masq_src": _list(IP_OR_NETWORK, 64),
        "masq_dest": _list(IP_OR_NETWORK, 64),
    }
)
FORWARDING = _list(_object({"src": NAME, "dest": NAME}, "src", "dest"), 64)
RULES = _list(
    _object(
        {
            "name": {"type": "string", "maxLength": 64, "pattern": NO_CONTROLS},
            "src": {"anyOf": [NAME, {"const": "*"}]},
            "dest": {"anyOf": [NAME, {"const": "*"}]},
            "proto": {"enum": ["tcp", "udp", "icmp", "tcpudp", "all", "any"]},
            "src_ip": IP_OR_NETWORK,
            "dest_ip": IP_OR_NETWORK,
            "src_port": PORTS,
            "dest_port": PORTS,
            "src_mac": MAC,
            "target": VERDICT,
            "family": {"enum": ["ipv4", "ipv6", "any"]},
        },
        "target",
    ),
    256,
)
STATIC = {"proto": {"enum": ["static", "auto", "dhcp"]}, "ipaddr": IP, "netmask": IP}

WIFI = _object(
    {
        "id": {"type": "string", "maxLength": 64, "pattern": NO_CONTROLS},
        "macaddr": MAC,
        "hwmode": {"enum": ["11a", "11b", "11g"]},
        "channel": _number(1, 196),
        "htmode": _pattern(r"^(NONE|HT20|HT40[+-]?|VHT20|VHT40|VHT80|VHT160)$", "HT20"),
        "country": _pattern(r"^[A-Z]{2}$", "DE"),
        "txpower": _number(0, 40),
        "beacon_int": _number(15, 65535),
        "rts": _number(0, 65535),
        "frag": _number(256, 65535),
        "tx_stbc": _number(0, 4),
        "rx_stbc": _number(0, 4),
        "short_gi_20": {"type": "boolean"},
        "short_gi_40": {"type": "boolean"},
        "short_gi_80": {"type": "boolean"},
        "ldpc": {"type": "boolean"},
    },
    "id",
)
WIFI_INTERFACE = _object(
    {
        "device": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": NO_CONTROLS},
        "ssid": {"type": "string", "minLength": 1, "maxLength": 32},
        "mode": {"enum": ["ap", "airshark", "managed", "monitor"]},
        "network": NAME,
        "ifname": NAME,
        "encryption": {"enum": list(ENCRYPTIONS)},
        "key": {"type": "string", "minLength": 8, "maxLength": 64},
        "hidden": SWITCH,
        "isolate": SWITCH,
        "maxassoc": _number(0, 2007),
    },
    "device",
)
VLAN_INTERFACE = _object(
    {
        **STATIC,
        "name": NAME,
        "id": _number(1, 4094),
        "dhcp": DHCP,
        "firewall": _object({"defaults": ZONE_DEFAULTS, "forwarding": FORWARDING, "rules": RULES}),
    },
    "id",
    "proto",
)
SYSTEM = _object(
    {
        "autoUpdate": {"type": "boolean"},
        "chuteSubnetPool": {"anyOf": [{"const": "auto"}, {"type": "string", "pattern": NETWORK}]},
        "chutePrefixSize": _number(8, 29),
        "onMissingWiFi": {"enum": [None, "warn", "reboot"]},
    }
)

HOST_CONFIG_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Host configuration of a Paradrop node",
    **_object(
        {
            "firewall": _object(
                {
                    "defaults": _object({"input": VERDICT, "output": VERDICT, "forward": VERDICT}),
                    "rules": RULES,
                }
            ),
            "lan": _object(
                {
                    **STATIC,
                    "interfaces": {**_list(NAME, 64), "uniqueItems": True},
                    "dhcp": DHCP,
                    "firewall": _object({"defaults": ZONE_DEFAULTS, "forwarding": FORWARDING}),
                },
                "proto",
            ),
            "wan": _object(
                {
                    "interface": NAME,
                    "proto": {"enum": ["dhcp", "static"]},
                    "ipaddr": IP,
                    "netmask": IP,
                    "gateway": IP,
                    "firewall": _object({"defaults": ZONE_DEFAULTS, "forwarding": FORWARDING}),
                },
                "interface",
            ),
            "wifi": _list(WIFI, 16),
            "wifi-interfaces": _list(WIFI_INTERFACE, 64),
            "vlan-interfaces": _list(VLAN_INTERFACE, 256),
            "system": SYSTEM,
            "telemetry": _object({"enabled": {"type": "boolean"}, "interval": _number(1, 86400)}),
            "zerotier": _object(
                {
                    "enabled": {"type": "boolean"},
                    "networks": _list(_pattern(r"^[0-9a-f]{16}$", "8056c2e21c000001"), 64),
                }
            ),
        },
        "firewall",
        "lan",
        "system",
    ),
}
"""What a host configuration may hold (JSON Schema, draft 2020-12)."""

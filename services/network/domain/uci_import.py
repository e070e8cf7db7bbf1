"""Turns the configuration of a node of Paradrop 0.13, or of an OpenWrt router, into a host configuration.

What belongs to chutes is left out: they get their networks when they are installed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.network.domain.sections import NODE
from services.network.domain.uci import UciSection, parse_uci

FILES = ("network", "wireless", "dhcp", "firewall")
NUMBERS = ("channel", "txpower", "beacon_int", "rts", "frag", "tx_stbc", "rx_stbc")
BOOLEANS = ("short_gi_20", "short_gi_40", "short_gi_80", "ldpc")
VERDICTS = ("input", "output", "forward")
RULE_TEXTS = (
    "name",
    "src",
    "dest",
    "proto",
    "src_ip",
    "dest_ip",
    "src_port",
    "dest_port",
    "src_mac",
    "family",
)
BRIDGE_VLAN = "br-lan."


def import_uci(files: Mapping[str, str], base: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns a host configuration and what could not be taken over, a sentence each.

    `files` are texts by the names network, wireless, dhcp and firewall, those that there are; `base` is a
    document for what they do not tell, such as that of `generate`. Raises InvalidArgument (UCI_INVALID). The
    document is not checked: that is done where it is put into force.
    """
    sections = {
        name: [s for s in parse_uci(files[name], name) if s.owner in ("", NODE)]
        for name in FILES
        if name in files
    }
    document = dict(base)
    left: list[str] = []
    _network(document, sections.get("network", ()), sections.get("dhcp", ()), left)
    if "wireless" in sections:
        _wireless(document, sections["wireless"], left)
    if "firewall" in sections:
        _firewall(document, sections["firewall"], left)
    return document, left


def _network(
    document: dict[str, Any], networks: Sequence[UciSection], dhcp: Sequence[UciSection], left: list[str]
) -> None:
    served = {section.get("interface") or section.name: section for section in dhcp if section.type == "dhcp"}
    vlans = []
    for section in networks:
        name, proto = section.name, section.get("proto")
        if section.type != "interface" or name == "loopback":
            continue
        if name == "wan":
            document["wan"] = {
                **document.get("wan", {}),
                "interface": section.get("ifname"),
                "proto": "dhcp",
                **(_address(section, "gateway") if proto == "static" else {}),
            }
            if proto not in ("dhcp", "static"):
                left.append(f"network.wan: the uplink's proto {proto} stays the business of the host.")
        elif name == "lan":
            document["lan"] = {
                **document.get("lan", {}),
                **_address(section),
                "interfaces": section.words("ifname"),
                **_dhcp(served.get(name)),
            }
        elif (section.get("ifname") or name).startswith(BRIDGE_VLAN):
            number = (section.get("ifname") or name).removeprefix(BRIDGE_VLAN)
            if number.isdecimal() and len(number) <= 4:
                vlan = {"name": name, "id": int(number), **_address(section), **_dhcp(served.get(name))}
                vlans.append(vlan)
        else:
            left.append(f"network.{name}: only lan, wan and VLANs of br-lan are known.")
    if vlans:
        document["vlan-interfaces"] = vlans


def _address(section: UciSection, *more: str) -> dict[str, Any]:
    found = {key: section.get(key) for key in ("ipaddr", "netmask", *more)}
    return {"proto": section.get("proto") or "static", **{key: text for key, text in found.items() if text}}


def _dhcp(section: UciSection | None) -> dict[str, Any]:
    if section is None or section.get("ignore") == "1":
        return {}
    start, limit = (_number(section.get(key)) for key in ("start", "limit"))
    return {
        "dhcp": {"start": start or 100, "limit": limit or 150, "leasetime": section.get("leasetime") or "12h"}
    }


def _wireless(document: dict[str, Any], sections: Sequence[UciSection], left: list[str]) -> None:
    devices = {section.name: section for section in sections if section.type == "wifi-device"}
    document["wifi"] = [dict(_device(section)) for section in devices.values()]
    points = []
    for number, section in enumerate(s for s in sections if s.type == "wifi-iface"):
        device = devices.get(section.get("device") or "")
        if section.get("disabled") == "1" or (device is not None and device.get("disabled") == "1"):
            continue
        mode = section.get("mode") or "ap"
        if mode not in ("ap", "monitor", "airshark", "managed"):
            left.append(f"wireless.@wifi-iface[{number}]: its mode {mode} is not known.")
            continue
        point: dict[str, Any] = {
            "device": (device.get("macaddr") if device else None) or section.get("device"),
            "mode": mode,
        }
        texts = {key: section.get(key) for key in ("ssid", "network", "ifname", "encryption", "key")}
        point |= {key: text for key, text in texts.items() if text}
        if "encryption" in point:
            point["encryption"] = point["encryption"].partition("+")[
                0
            ]  # "psk2+ccmp" names the cipher as well.
        point |= {key: True for key in ("hidden", "isolate") if section.get(key) == "1"}
        most = _number(section.get("maxassoc"))
        points.append(point | ({"maxassoc": most} if most is not None else {}))
    document["wifi-interfaces"] = points


def _device(section: UciSection) -> Iterator[tuple[str, Any]]:
    yield "id", section.name
    for key in ("macaddr", "hwmode", "htmode", "country"):
        if (text := section.get(key)) is not None:
            yield key, text
    for key in NUMBERS:
        if (number := _number(section.get(key))) is not None:
            yield key, number
    for key in BOOLEANS:
        if (text := section.get(key)) is not None:
            yield key, text == "1"


def _firewall(document: dict[str, Any], sections: Sequence[UciSection], left: list[str]) -> None:
    rules: list[dict[str, Any]] = []
    zones: dict[str, dict[str, Any]] = {"lan": {}, "wan": {}}
    for number, section in enumerate(sections):
        if section.type == "defaults":
            document["firewall"] = {**document.get("firewall", {}), "defaults": _verdicts(section)}
        elif section.type == "zone" and section.get("name") in zones:
            switches = {key: text for key in ("conntrack", "masq") if (text := section.get(key))}
            zones[section.get("name") or ""]["defaults"] = {**switches, **_verdicts(section)}
        elif section.type == "forwarding" and section.get("src") in zones:
            pair = {"src": section.get("src"), "dest": section.get("dest")}
            zones[section.get("src") or ""].setdefault("forwarding", []).append(pair)
        elif section.type == "rule":
            texts = {key: section.get(key) for key in RULE_TEXTS}
            target = {"target": (section.get("target") or "DROP").upper()}
            rules.append({key: text for key, text in texts.items() if text} | target)
        elif section.type not in ("zone", "include") or section.get("name") != "loopback":
            left.append(f"firewall.@{section.type}[{number}]: it has no place in a host configuration.")
    if rules:
        document["firewall"] = {**document.get("firewall", {}), "rules": rules}
    for name, firewall in zones.items():
        if firewall and name in document:
            document[name] = {**document[name], "firewall": firewall}


def _verdicts(section: UciSection) -> dict[str, str]:
    return {key: text.upper() for key in VERDICTS if (text := section.get(key))}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) <= 9 else None

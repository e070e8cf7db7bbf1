"""Networks that chutes ask for, in one form whatever way they are spelt.

What comes out has the keys "type", and as far as they are asked for "dhcp" ("lease", "start", "limit", "dns",
"relay"), "wireless", "requests", "ipv4_network", "vlan_id", "port-bindings" (a map of port and protocol in
the chute to port outside) and "l3bridge".
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from services.chutes.domain.chutefields import port_bindings, port_map, texts
from services.chutes.domain.chuteyaml import invalid

Interface = Mapping[str, Any]

OLD_WIRELESS_KEYS = (
    "ssid", "key", "nasid", "acct_server", "acct_secret", "acct_interval",
    "hidden", "isolate", "maxassoc", "encryption",
)  # fmt: skip
"""What the old form has beside the type, and the new form below "wireless"."""

_SAME = {"vlan_id": "vlan-id", "requests": "requirements"}
_DHCP_SAME = {"lease": "leasetime"}
_TYPES = {"monitor": "wifi-monitor"}
_PLAIN_KEYS = ("requests", "ipv4_network", "vlan_id", "l3bridge")


def old_to_new(net: Mapping[str, Any] | None, field: str) -> dict[str, Interface]:
    """Returns the networks of the old form as the new form writes them, by `intfName`."""
    interfaces: dict[str, Interface] = {}
    for name, old in (net or {}).items():
        interface = {
            key: value
            for key, value in old.items()
            if key not in (*OLD_WIRELESS_KEYS, "mode", "options", "intfName")
        }
        wireless = {**(old.get("wireless") or {})}
        wireless |= {key: old[key] for key in OLD_WIRELESS_KEYS if old.get(key) is not None}
        wireless |= {key: value for key, value in (old.get("options") or {}).items() if value is not None}
        if old["type"] == "wifi":
            interface["type"] = f"wifi-{old.get('mode') or 'ap'}"
        if wireless:
            interface["wireless"] = wireless
        if old["intfName"] in interfaces:
            raise invalid(
                f"{field}.{name}.intfName is the name of another network; each needs its own.",
                f"{field}.{name}.intfName",
            )
        interfaces[old["intfName"]] = interface
    return interfaces


def read_interfaces(interfaces: Mapping[str, Interface] | None, field: str) -> dict[str, Interface]:
    """Returns the networks of a service by the name of their interface."""
    return {name: _interface(name, given, f"{field}.{name}") for name, given in (interfaces or {}).items()}


def _interface(name: str, given: Interface, field: str) -> Interface:
    if given.get("intfName") not in (None, name):
        raise invalid(f"{field}.intfName must be {name}, as the key is, or left out.", f"{field}.intfName")
    values = _one_spelling(given, _SAME, field)
    kind = _TYPES.get(values["type"], values["type"])
    interface: dict[str, Any] = {"type": kind}
    dhcp = _dhcp(values, field)
    if dhcp:
        interface["dhcp"] = dhcp
    wireless = {key: value for key, value in (values.get("wireless") or {}).items() if value is not None}
    if wireless:
        interface["wireless"] = wireless
    interface |= {key: values[key] for key in _PLAIN_KEYS if values.get(key) is not None}
    bindings = port_bindings(values.get("port-bindings"), f"{field}.port-bindings")
    if bindings:
        interface["port-bindings"] = port_map(bindings)
    _check(interface, field)
    return interface


def _one_spelling(given: Interface, same: Mapping[str, str], field: str) -> dict[str, Any]:
    """Renames keys that have two names; both at once must not differ."""
    values = dict(given)
    for key, other in same.items():
        spelt_otherwise = values.pop(other, None)
        if spelt_otherwise is None:
            continue
        if values.get(key) not in (None, spelt_otherwise):
            raise invalid(
                f"{field}.{key} and {field}.{other} mean the same; leave one out.", f"{field}.{other}"
            )
        values[key] = spelt_otherwise
    return values


def _dhcp(values: Mapping[str, Any], field: str) -> dict[str, Any]:
    given = values.get("dhcp")
    if not given:
        if values.get("dns"):
            raise invalid(
                f"{field}.dns is told by DHCP, which {field}.dhcp does not ask for.", f"{field}.dns"
            )
        return {}
    dhcp = {
        key: value
        for key, value in _one_spelling(given, _DHCP_SAME, f"{field}.dhcp").items()
        if value is not None
    }
    if "lease" not in dhcp:
        raise invalid(f"{field}.dhcp.lease is missing; it must be a time such as 12h.", f"{field}.dhcp.lease")
    servers = texts(dhcp.pop("dns", None)) or texts(values.get("dns"))
    if servers:
        dhcp["dns"] = list(addresses(servers, f"{field}.dhcp.dns"))
    if "relay" in dhcp:
        dhcp["relay"] = list(texts(dhcp["relay"]))
    return dhcp


def addresses(values: tuple[str, ...], field: str) -> tuple[str, ...]:
    """Returns IP addresses if they are some."""
    for value in values:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise invalid(f"{field}: {value} is no IP address.", field) from None
    return values


def _check(interface: Mapping[str, Any], field: str) -> None:
    kind, wireless = interface["type"], interface.get("wireless", {})
    if kind == "wifi-ap" and "ssid" not in wireless:
        where = f"{field}.wireless.ssid"
        raise invalid(f"{where} is missing; it must be a text of 1 to 32 characters.", where)
    if kind == "vlan" and "vlan_id" not in interface:
        raise invalid(f"{field}.vlan_id is missing; it must be a VLAN from 1 to 4094.", f"{field}.vlan_id")
    if wireless.get("encryption", "").startswith("psk") and "key" not in wireless:
        raise invalid(
            f"{field}.wireless.key is missing; {wireless['encryption']} needs one.", f"{field}.wireless.key"
        )
    network = interface.get("ipv4_network")
    if network is not None:
        try:
            ipaddress.IPv4Network(network)
        except ValueError:
            where = f"{field}.ipv4_network"
            raise invalid(f"{where} must be a network such as 192.168.33.0/24.", where) from None

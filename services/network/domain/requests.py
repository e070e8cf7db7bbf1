"""Reads what a chute's author wrote about a network; every refusal names the field.

Every value that is accepted here may stand in a configuration file of hostapd or dnsmasq: none has a line
break or a control character, and only an SSID and a passphrase may have quotes.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any, Literal, cast

from services.network.domain.access_points import ENCRYPTIONS, Bss, Encryption, RadiusServer
from services.network.domain.addresses import wanted_subnet
from services.network.domain.errors import network_invalid
from services.network.domain.hostcheck import MAX_SSID_BYTES, is_key
from services.network.domain.hostschema import LEASE_TIME
from services.network.domain.model import NETWORK_TYPES, Dhcp, NetworkType, PortForward, Wanted
from services.network.domain.naming import MAX_INTERFACE_CHARACTERS

WIRELESS_OPTIONS = (
    "ssid", "key", "encryption", "hidden", "isolate", "maxassoc", "nasid",
    "auth_server", "auth_port", "auth_secret", "acct_server", "acct_port", "acct_secret", "acct_interval",
)  # fmt: skip
KNOWN = (
    "type", "intfName", "mode", "wireless", "options", "dhcp", "dns", "vlan_id", "vlan-id", "ipv4_network",
    "requests", "requirements", "port-bindings", "l3bridge", *WIRELESS_OPTIONS,
)  # fmt: skip
DEMANDS = ("hwmode", "channel", "htmode", "device", "band")
BANDS = ("2.4", "5")
ENTERPRISE = "wpa"
"""Begins the names of encryptions whose stations a RADIUS server lets in."""
MAX_PORT_FORWARDS = 64
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def read_wanted(name: str, section: str, service: str, definition: Mapping[str, Any]) -> Wanted:
    """Returns a network as its author wants it, or raises InvalidArgument (NETWORK_INVALID)."""
    field = f"interfaces.{name[:MAX_INTERFACE_CHARACTERS]}"
    if not _NAME.fullmatch(name) or len(name) > MAX_INTERFACE_CHARACTERS:
        raise network_invalid(
            f"{field}: an interface's name has 1 to {MAX_INTERFACE_CHARACTERS} letters, digits, '-', '_' "
            "or '.', and begins with a letter.",
            field,
        )
    _only(definition, KNOWN, field)
    if definition.get("l3bridge"):
        raise network_invalid(f"{field}.l3bridge is not supported; leave it out.", f"{field}.l3bridge")
    kind = _type(definition, field)
    demands = _demands(definition, field)
    wireless = _wireless(definition, field) if kind == "wifi-ap" else None
    wanted = definition.get("ipv4_network", demands.pop("ipv4_network", None))
    subnet = (
        wanted_subnet(_text(wanted, f"{field}.ipv4_network"), f"{field}.ipv4_network") if wanted else None
    )
    dhcp = _dhcp(definition, field)
    if dhcp and kind == "wifi-monitor":
        raise network_invalid(f"{field}.dhcp: a monitor has no addresses; leave it out.", f"{field}.dhcp")
    return Wanted(
        name=name,
        service=service,
        type=kind,
        section=section,
        wireless=wireless,
        dhcp=dhcp,
        vlan_id=_vlan_id(definition, field) if kind == "vlan" else None,
        subnet=subnet,
        device=demands,
        ports=tuple(_ports(definition.get("port-bindings"), f"{field}.port-bindings")),
    )


def _type(definition: Mapping[str, Any], field: str) -> NetworkType:
    kind = definition.get("type")
    if kind in ("wifi", "monitor"):
        kind = "wifi-monitor" if kind == "monitor" else f"wifi-{definition.get('mode') or 'ap'}"
    if kind not in NETWORK_TYPES:
        raise network_invalid(f"{field}.type must be one of {', '.join(NETWORK_TYPES)}.", f"{field}.type")
    return cast(NetworkType, kind)


def _demands(definition: Mapping[str, Any], field: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in ("requirements", "requests"):
        section = _mapping(definition.get(key), f"{field}.{key}")
        _only(section, (*DEMANDS, "id", "ipv4_network"), f"{field}.{key}")
        found |= {name: value for name, value in section.items() if value not in (None, "auto")}
    if "id" in found:
        found["device"] = found.pop("id")
    if "band" in found and found["band"] not in BANDS:
        raise network_invalid(f"{field}.requests.band must be 2.4 or 5.", f"{field}.requests.band")
    return found


def _wireless(definition: Mapping[str, Any], field: str) -> Bss:
    options = {key: definition[key] for key in WIRELESS_OPTIONS if definition.get(key) is not None}
    for part in ("wireless", "options"):
        section = _mapping(definition.get(part), f"{field}.{part}")
        _only(section, WIRELESS_OPTIONS, f"{field}.{part}")
        options |= {name: value for name, value in section.items() if value is not None}
    ssid = _ssid(options.get("ssid"), f"{field}.ssid")
    encryption, key = _security(options, field)
    auth = _radius(options, "auth", 1812, field)
    if encryption.startswith(ENTERPRISE) and auth is None:
        raise network_invalid(
            f"{field}.auth_server: the encryption {encryption} needs auth_server and auth_secret.",
            f"{field}.auth_server",
        )
    return Bss(
        ssid=ssid,
        encryption=encryption,
        key=key,
        hidden=_flag(options, "hidden", field),
        isolate=_flag(options, "isolate", field),
        max_stations=_number(options, "maxassoc", 0, 2007, field),
        nasid=_line(options.get("nasid"), 48, f"{field}.nasid"),
        auth_server=auth,
        acct_server=_radius(options, "acct", 1813, field),
        acct_interval_s=_number(options, "acct_interval", 1, 86400, field),
    )


def _security(options: Mapping[str, Any], field: str) -> tuple[Encryption, str | None]:
    """Returns the encryption and the key that it needs."""
    key = options.get("key")
    encryption = options.get("encryption") or ("psk2" if key is not None else "none")
    if encryption not in ENCRYPTIONS:
        raise network_invalid(
            f"{field}.encryption must be one of {', '.join(ENCRYPTIONS)}.", f"{field}.encryption"
        )
    needs_key = encryption != "none" and not encryption.startswith(ENTERPRISE)
    if needs_key != (key is not None):
        says = "needs a key" if needs_key else "takes no key"
        raise network_invalid(f"{field}.key: the encryption {encryption} {says}.", f"{field}.key")
    if key is not None and not (isinstance(key, str) and is_key(key)):
        raise network_invalid(
            f"{field}.key must be 8 to 63 ASCII characters, or 64 hexadecimal digits.", f"{field}.key"
        )
    return encryption, key


def _ssid(value: Any, field: str) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value.encode()) <= MAX_SSID_BYTES
        or not _no_controls(value)
    ):
        raise network_invalid(
            f"{field} must be a text of 1 to {MAX_SSID_BYTES} bytes of UTF-8 without control characters.",
            field,
        )
    return value


def _radius(options: Mapping[str, Any], kind: str, port: int, field: str) -> RadiusServer | None:
    address = options.get(f"{kind}_server")
    secret = _line(options.get(f"{kind}_secret"), 128, f"{field}.{kind}_secret")
    if address is None:
        return None
    if secret is None:
        raise network_invalid(
            f"{field}.{kind}_secret must be given with {kind}_server.", f"{field}.{kind}_secret"
        )
    checked = _address(address, f"{field}.{kind}_server")
    return RadiusServer(str(checked), _number(options, f"{kind}_port", 1, 65535, field) or port, secret)


def _dhcp(definition: Mapping[str, Any], field: str) -> Dhcp | None:
    value = definition.get("dhcp")
    if value is None:
        return None
    place = f"{field}.dhcp"
    section = _mapping(value, place)
    _only(section, ("lease", "leasetime", "start", "limit", "dns", "relay"), place)
    lease = str(section.get("lease") or section.get("leasetime") or "12h")
    if not re.fullmatch(LEASE_TIME, lease):
        raise network_invalid(
            f"{place}.leasetime must be written like 12h, 30m or 600s.", f"{place}.leasetime"
        )
    dns = section.get("dns", definition.get("dns")) or ()
    servers = [dns] if isinstance(dns, str) else dns
    if not isinstance(servers, list | tuple) or len(servers) > 8:
        raise network_invalid(f"{place}.dns must be a list of at most 8 addresses.", f"{place}.dns")
    relays = section.get("relay") or ()
    relays = [relays] if isinstance(relays, str) else relays
    if not isinstance(relays, list | tuple) or len(relays) > 1:
        raise network_invalid(f"{place}.relay must be one address.", f"{place}.relay")
    start, limit = (_number(section, key, 1, 2**24, place) for key in ("start", "limit"))
    if start is not None and start < 3:
        raise network_invalid(f"{place}.start must be at least 3: the first two are taken.", f"{place}.start")
    return Dhcp(
        start=3 if start is None else start,
        limit=250 if limit is None else limit,
        lease_time=lease,
        dns=tuple(_address(server, f"{place}.dns") for server in servers),
        relay=_address(relays[0], f"{place}.relay") if relays else None,
    )


def _vlan_id(definition: Mapping[str, Any], field: str) -> int:
    number = _number(definition, "vlan_id", 1, 4094, field) or _number(definition, "vlan-id", 1, 4094, field)
    if number is None:
        raise network_invalid(f"{field}.vlan_id must be a number from 1 to 4094.", f"{field}.vlan_id")
    return number


def _ports(value: Any, field: str) -> Iterator[PortForward]:
    if value is None:
        return
    pairs: list[tuple[Any, Any, str]]
    if isinstance(value, Mapping):
        pairs = [(external, *_key(internal)) for internal, external in value.items()]
    elif isinstance(value, list):
        entries = [_mapping(item, field) for item in value]
        for entry in entries:
            _only(entry, ("external", "internal", "protocol"), field)
        pairs = [(e.get("external"), e.get("internal"), str(e.get("protocol") or "tcp")) for e in entries]
    else:
        raise network_invalid(
            f"{field} must be a map of ports in the chute to ports outside, or a list.", field
        )
    if len(pairs) > MAX_PORT_FORWARDS:
        raise network_invalid(f"{field} has more than {MAX_PORT_FORWARDS} ports.", field)
    for external, internal, protocol in pairs:
        if protocol not in ("tcp", "udp"):
            raise network_invalid(f"{field}: a port's protocol is tcp or udp.", field)
        yield PortForward(
            cast(Literal["tcp", "udp"], protocol), _port(external, field), _port(internal, field)
        )


def _key(text: str) -> tuple[str, str]:
    number, _, protocol = text.partition("/")
    return number, protocol or "tcp"


def _port(value: Any, field: str) -> int:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise network_invalid(f"{field}: a port is a number from 1 to 65535.", field)
    return int(text)


def _only(section: Mapping[str, Any], known: Collection[str], field: str) -> None:
    for key in section:
        if key not in known:
            raise network_invalid(
                f"{field}.{key[:64]} is not known; known are {', '.join(sorted(known))}.",
                f"{field}.{key[:64]}",
            )


def _mapping(value: Any, field: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise network_invalid(f"{field} must be a mapping of names to values.", field)
    return dict(value)


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise network_invalid(f"{field} must be a text.", field)
    return value


def _line(value: Any, limit: int, field: str) -> str | None:
    if value is None:
        return None
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= limit
        or not value.isascii()
        or not value.isprintable()
    ):
        raise network_invalid(f"{field} must have 1 to {limit} printable ASCII characters.", field)
    return value


def _number(section: Mapping[str, Any], key: str, minimum: int, maximum: int, field: str) -> int | None:
    value = section.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        place = f"{field}.{key}"
        raise network_invalid(f"{place} must be a whole number from {minimum} to {maximum}.", place)
    return value


def _flag(section: Mapping[str, Any], key: str, field: str) -> bool:
    value = section.get(key, False)
    if value not in (True, False, "0", "1"):
        raise network_invalid(f"{field}.{key} must be true or false.", f"{field}.{key}")
    return value in (True, "1")


def _address(value: Any, field: str) -> IPv4Address:
    try:
        return IPv4Address(_text(value, field))
    except ValueError:
        raise network_invalid(f"{field} must be an IPv4 address.", field) from None


def _no_controls(text: str) -> bool:
    return all(ord(char) >= 32 and not 127 <= ord(char) < 160 for char in text)

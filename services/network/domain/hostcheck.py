"""Tells what is wrong with a host configuration, place by place, without ever repeating a value of it."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from services.network.domain.hostdiff import MASK
from services.network.domain.hostschema import HOST_CONFIG_SCHEMA
from services.network.domain.violation import Violation

Document = Mapping[str, Any]

MAX_BYTES = 256 * 1024
MAX_VIOLATIONS = 50
MAX_EXACT_INTEGER = 2**53
MAX_SSID_BYTES = 32
MAX_PORT = 65535

_VALIDATOR = Draft202012Validator(HOST_CONFIG_SCHEMA)


def violations(document: Document) -> list[Violation]:
    """Returns what is wrong with a document; empty if it may be put into force."""
    found = list(_beyond_json(document, ""))
    if not found and len(json.dumps(document)) > MAX_BYTES:
        found = [Violation("", f"The document is larger than {MAX_BYTES} bytes of JSON; shorten it.")]
    if found:
        return found[:MAX_VIOLATIONS]
    errors = sorted(_VALIDATOR.iter_errors(document), key=lambda error: list(map(str, error.absolute_path)))
    found = [Violation(field_of(error.absolute_path), _description(error)) for error in errors]
    # What belongs together is only looked at when each part is what it should be.
    return (found or list(_contradictions(document)))[:MAX_VIOLATIONS]


def field_of(path: Sequence[str | int]) -> str:
    """Returns the name of a place, such as "wifi-interfaces[0].ssid"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _beyond_json(value: Any, field: str) -> Iterator[Violation]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _beyond_json(item, f"{field}.{key}" if field else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _beyond_json(item, f"{field}[{index}]")
    elif isinstance(value, int | float) and (not math.isfinite(value) or abs(value) > MAX_EXACT_INTEGER):
        yield Violation(field, f"must be a number from -{MAX_EXACT_INTEGER} to {MAX_EXACT_INTEGER}.")


def _description(error: ValidationError) -> str:
    """Returns what is wrong in our words: those of the library repeat the value, which may be a key."""
    wanted: Any = error.validator_value
    instance: Any = error.instance
    schema = error.schema
    example = schema.get("examples", [None])[0] if isinstance(schema, Mapping) else None
    such_as = f", such as {json.dumps(example)}" if example is not None else ""
    match error.validator:
        case "required":
            missing = [key for key in wanted if key not in instance]
            return f"must have {', '.join(missing)}."
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return f"must be {' or '.join(_A_KIND[kind] for kind in kinds)}{such_as}."
        case "enum":
            return f"must be one of {', '.join(map(json.dumps, wanted))}."
        case "minimum":
            return f"must be at least {wanted}."
        case "maximum":
            return f"must be at most {wanted}."
        case "minLength":
            return f"must have at least {wanted} characters."
        case "maxLength":
            return f"must have at most {wanted} characters."
        case "maxItems":
            return f"must have at most {wanted} entries."
        case "uniqueItems":
            return "must not name anything twice."
        case _:
            return f"is not written as it has to be{such_as}."


_A_KIND = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def _contradictions(document: Document) -> Iterator[Violation]:
    lan, wan = document["lan"], document.get("wan")
    if wan and wan["interface"] in lan.get("interfaces", ()):
        yield Violation(
            "lan.interfaces", "must not have the interface of wan: the node would cut itself off."
        )
    yield from _network(lan, "lan")
    if wan and wan.get("proto") == "static":
        wrong = [*_network(wan, "wan")]
        yield from wrong or _uplink(wan, lan)
    ids: set[int] = set()
    for index, vlan in enumerate(document.get("vlan-interfaces", ())):
        field = f"vlan-interfaces[{index}]"
        if vlan["id"] in ids:
            yield Violation(f"{field}.id", "must not be that of another VLAN.")
        ids.add(vlan["id"])
        yield from _network(vlan, field)
    radios = [radio["id"] for radio in document.get("wifi", ())]
    if len(set(radios)) < len(radios):
        yield Violation("wifi", "must not have two entries with the same id.")
    yield from _rules((document["firewall"].get("rules") or ()), "firewall.rules")
    for index, vlan in enumerate(document.get("vlan-interfaces", ())):
        rules = (vlan.get("firewall") or {}).get("rules") or ()
        yield from _rules(rules, f"vlan-interfaces[{index}].firewall.rules")
    yield from _wireless(document.get("wifi-interfaces", ()))


def _rules(rules: Sequence[Document], field: str) -> Iterator[Violation]:
    for index, rule in enumerate(rules):
        for key in ("src_port", "dest_port"):
            if key not in rule:
                continue
            numbers = [int(text) for text in str(rule[key]).replace(":", "-").split("-")]
            if not all(1 <= number <= MAX_PORT for number in numbers) or numbers != sorted(numbers):
                yield Violation(f"{field}[{index}].{key}", f"must be a port or a range up to {MAX_PORT}.")
            if rule.get("proto") == "icmp":
                yield Violation(f"{field}[{index}].{key}", "must be left out, because proto is icmp.")


def _wireless(interfaces: Sequence[Document]) -> Iterator[Violation]:
    if sum(entry.get("mode") == "airshark" for entry in interfaces) > 1:
        yield Violation("wifi-interfaces", "must have at most one entry of mode airshark.")
    for index, entry in enumerate(interfaces):
        field = f"wifi-interfaces[{index}]"
        if entry.get("mode", "ap") != "ap":
            continue
        ssid, key, encryption = entry.get("ssid"), entry.get("key"), entry.get("encryption")
        if ssid is None:
            yield Violation(field, "must have ssid.")
        elif len(ssid.encode()) > MAX_SSID_BYTES or any(ord(char) < 32 or char == "\x7f" for char in ssid):
            yield Violation(f"{field}.ssid", "must be at most 32 bytes of UTF-8 without control characters.")
        if encryption in _NEED_KEY and key is None:
            yield Violation(field, f"must have key, because encryption is {encryption}.")
        if encryption in ("wpa", "wpa2", "wpa-mixed", "wpa3"):
            yield Violation(f"{field}.encryption", "of the host's access points cannot be enterprise.")
        if key == MASK:
            yield Violation(
                f"{field}.key", "must be written out: no key is kept that the mask could stand for."
            )
        elif key is not None and not is_key(key):
            yield Violation(f"{field}.key", "must be 8 to 63 ASCII characters, or 64 hexadecimal digits.")


_NEED_KEY = ("psk", "psk2", "psk-mixed", "sae", "sae-mixed")


def is_key(key: str) -> bool:
    """Tells whether a text can be the key of an access point."""
    if len(key) == 64:
        return all(char in "0123456789abcdefABCDEF" for char in key)
    return 8 <= len(key) <= 63 and all(32 <= ord(char) < 127 for char in key)


def _network(section: Document, field: str) -> Iterator[Violation]:
    if section["proto"] != "static":
        return
    address, netmask = section.get("ipaddr"), section.get("netmask")
    if address is None or netmask is None:
        yield Violation(field, "must have ipaddr and netmask, because proto is static.")
        return
    try:
        network = IPv4Network((address, netmask), strict=False)
    except ValueError:
        yield Violation(f"{field}.netmask", "must be a netmask such as 255.255.255.0.")
        return
    if not 8 <= network.prefixlen <= 30:
        yield Violation(f"{field}.netmask", "must be from 255.0.0.0 to 255.255.255.252.")
        return
    if IPv4Address(address) in (network.network_address, network.broadcast_address):
        yield Violation(f"{field}.ipaddr", "must be an address of a host, not that of the network itself.")
    dhcp = section.get("dhcp")
    if dhcp and dhcp["start"] + dhcp["limit"] >= network.num_addresses:
        yield Violation(f"{field}.dhcp", "start and limit must stay within the network.")


def _uplink(wan: Document, lan: Document) -> Iterator[Violation]:
    """Looks at an uplink whose address is written as it has to be."""
    network = IPv4Network((wan["ipaddr"], wan["netmask"]), strict=False)
    if "gateway" not in wan:
        yield Violation("wan", "must have gateway, because proto is static.")
    elif IPv4Address(wan["gateway"]) not in network or wan["gateway"] == wan["ipaddr"]:
        yield Violation("wan.gateway", "must be the address of another machine in the network of wan.")
    well_formed = lan["proto"] == "static" and not [*_network(lan, "lan")]
    if well_formed and network.overlaps(IPv4Network((lan["ipaddr"], lan["netmask"]), strict=False)):
        yield Violation("wan.ipaddr", "must not be in the network of lan.")

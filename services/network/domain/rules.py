"""Works out what the firewall does from the networks there are; a pure function."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from services.network.domain.facts import Facts
from services.network.domain.firewall import PortRule, Rule, Ruleset, Service, Zone
from services.network.domain.hostplan import LAN, WAN, HostNetwork, HostPlan, forwardings, is_on
from services.network.domain.model import Network

DNS_AND_DHCP: Sequence[Service] = (("udp", 53), ("tcp", 53), ("udp", 67))


def ruleset(networks: Iterable[Network], plan: HostPlan, facts: Facts) -> Ruleset:
    """Returns the whole firewall: chutes apart from each other, the host as its configuration says."""
    mine = [network for network in networks if network.subnet is not None]
    zones = [_chute_zone(network) for network in mine]
    masquerade = [network.subnet for network in mine if network.subnet is not None]
    if not facts.managed:
        return Ruleset(zones=zones, uplink=facts.wan, masquerade=masquerade)
    document = facts.document
    interfaces = {network.name: network.interface for network in plan.networks}
    if facts.wan:
        interfaces[WAN] = facts.wan
    zones += map(_host_zone, plan.networks)
    wan = _defaults((document.get("wan") or {}).get("firewall") or {})
    if facts.wan:
        zones.append(Zone(name=WAN, interface=facts.wan, input=wan.get("input", "ACCEPT")))
    if is_on(wan.get("masq")):
        given = [IPv4Network(text, strict=False) for text in wan.get("masq_src", ())]
        lan = [zone.network for zone in zones if zone.name == LAN and zone.network]
        masquerade += given or lan
    pairs = [
        (interfaces[src], interfaces[dest])
        for src, dest in forwardings(plan.networks, document)
        if src in interfaces and dest in interfaces
    ]
    return Ruleset(
        zones=zones,
        uplink=facts.wan,
        masquerade=_distinct(masquerade),
        forward=tuple(dict.fromkeys(pairs)),
        rules=tuple(_rules(document, interfaces)),
    )


def _chute_zone(network: Network) -> Zone:
    address = network.chute_address
    ports = network.wanted.ports if address else ()
    return Zone(
        name=network.title,
        interface=network.interface,
        network=network.subnet,
        input="REJECT",
        services=DNS_AND_DHCP if network.wanted.dhcp else (),
        isolated=True,
        ports=[PortRule(p.protocol, p.external, address.ip, p.internal) for p in ports if address],
        side_door=network.side_door,
    )


def _host_zone(network: HostNetwork) -> Zone:
    return Zone(
        name=network.name,
        interface=network.interface,
        network=network.address.network if network.address else None,
        input=_defaults(network.firewall).get("input", "ACCEPT"),
        services=DNS_AND_DHCP if network.dhcp else (),
    )


def _defaults(firewall: Mapping[str, Any]) -> Mapping[str, Any]:
    return firewall.get("defaults") or {}


def _distinct(networks: Sequence[IPv4Network]) -> tuple[IPv4Network, ...]:
    """Returns the networks without those that lie within another; the kernel's sets take no overlaps."""
    wide = sorted(set(networks), key=lambda network: network.prefixlen)
    kept: list[IPv4Network] = []
    for network in wide:
        if not any(network.subnet_of(other) for other in kept):
            kept.append(network)
    return tuple(kept)


def _rules(document: Mapping[str, Any], interfaces: Mapping[str, str]) -> Iterator[Rule]:
    entries = [*((document.get("firewall") or {}).get("rules") or ())]
    for vlan in document.get("vlan-interfaces", ()):
        entries += (vlan.get("firewall") or {}).get("rules") or ()
    for entry in entries:
        if entry.get("family") == "ipv6":
            continue
        with_ports = "src_port" in entry or "dest_port" in entry
        for protocol in _protocols(entry.get("proto"), with_ports):
            yield Rule(
                verdict=entry["target"],
                src=_interface(entry.get("src"), interfaces),
                dest=_interface(entry["dest"], interfaces) if "dest" in entry else "",
                protocol=protocol,
                src_network=_network(entry.get("src_ip")),
                dest_network=_network(entry.get("dest_ip")),
                src_ports=_ports(entry.get("src_port")),
                dest_ports=_ports(entry.get("dest_port")),
                src_mac=(entry.get("src_mac") or "").lower() or None,
            )


def _protocols(text: str | None, with_ports: bool) -> tuple[str | None, ...]:
    every = text in (None, "all", "any")
    if text == "tcpudp" or (every and with_ports):
        return "tcp", "udp"
    return (None if every else text,)


def _interface(zone: str | None, interfaces: Mapping[str, str]) -> str | None:
    return None if zone in (None, "*") else interfaces.get(str(zone), zone)


def _network(text: str | None) -> IPv4Network | None:
    return IPv4Network(text, strict=False) if text else None


def _ports(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    first, _, last = str(value).replace(":", "-").partition("-")
    return int(first), int(last or first)

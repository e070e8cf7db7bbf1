"""Works out what the host configuration means for the host's own interfaces; a pure function."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from services.common.errors import DomainError
from services.network.domain.access_points import AccessPointConfig, Bss
from services.network.domain.addresses import automatic_lan_address
from services.network.domain.allocation import HostUse
from services.network.domain.dhcp import DhcpConfig
from services.network.domain.errors import nl80211_unavailable, radio_not_available
from services.network.domain.facts import Facts
from services.network.domain.hostcheck import Document
from services.network.domain.naming import HOST_BRIDGE, host_access_point_name, vlan_name

LOCAL_DOMAIN = "paradrop.io"
LAN, WAN = "lan", "wan"


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """A network of the host: its LAN or one of its VLANs."""

    name: str
    """"lan", or the name of the VLAN."""
    interface: str
    address: IPv4Interface | None
    dhcp: DhcpConfig | None
    firewall: Mapping[str, Any]
    vlan_id: int | None = None


@dataclass(frozen=True, slots=True)
class HostAccessPoint:
    """An access point of the host, or why it cannot be."""

    name: str
    """Its interface, or "wifi-interfaces[0]" if that cannot be told."""
    config: AccessPointConfig | None
    error: DomainError | None = None


@dataclass(frozen=True, slots=True)
class Uplink:
    """The way out of a node whose address there is fixed."""

    interface: str
    address: IPv4Interface
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What the host's own interfaces shall be."""

    bridge_ports: tuple[str, ...]
    networks: tuple[HostNetwork, ...]
    """The LAN first."""
    access_points: tuple[HostAccessPoint, ...]
    use: HostUse
    """What is left for chutes follows from it."""
    uplink: Uplink | None = None
    """None if the host gives its uplink an address itself."""

    @property
    def borrowed(self) -> frozenset[str]:
        """Interfaces that get back what they had before, once the node does not need them any more."""
        return frozenset(self.bridge_ports) | ({self.uplink.interface} if self.uplink else frozenset())


def plan_host(facts: Facts, lease_dir: Path) -> HostPlan:
    """Returns what the configuration in force means; nothing but reservations if the host is not managed."""
    points, use = _wireless(facts)
    if not facts.managed:
        return HostPlan((), (), (), HostUse(exclusive=use.exclusive))
    document = facts.document
    lan = document["lan"]
    address = _address(lan, facts)
    networks = [
        HostNetwork(
            LAN,
            HOST_BRIDGE,
            address,
            _dhcp(lan, HOST_BRIDGE, address, lease_dir),
            lan.get("firewall") or {},
        )
    ]
    for vlan in document.get("vlan-interfaces", ()):
        name = vlan_name(vlan["id"])
        address = _address(vlan, facts)
        dhcp = _dhcp(vlan, name, address, lease_dir)
        networks.append(
            HostNetwork(vlan.get("name") or name, name, address, dhcp, vlan.get("firewall") or {}, vlan["id"])
        )
    ports = tuple(name for name in lan.get("interfaces", ()) if name in facts.links)
    return HostPlan(ports, tuple(networks), points, use, _uplink(document.get("wan") or {}))


def _uplink(wan: Document) -> Uplink | None:
    if wan.get("proto") != "static":
        return None
    address = IPv4Interface((wan["ipaddr"], wan["netmask"]))
    return Uplink(wan["interface"], address, IPv4Address(wan["gateway"]))


def _address(section: Document, facts: Facts) -> IPv4Interface | None:
    if section["proto"] == "static":
        return IPv4Interface((section["ipaddr"], section["netmask"]))
    if section["proto"] == "auto":
        return IPv4Interface((automatic_lan_address(facts.uplink_address), 24))
    return None


def _dhcp(
    section: Document, interface: str, address: IPv4Interface | None, lease_dir: Path
) -> DhcpConfig | None:
    dhcp = section.get("dhcp")
    if not dhcp or address is None:
        return None
    network = address.network
    return DhcpConfig(
        interface=interface,
        network=network,
        range_start=_nth(network, dhcp["start"]),
        range_end=_nth(network, dhcp["start"] + dhcp["limit"]),
        lease_time=str(dhcp.get("leasetime", "12h")),
        lease_file=lease_dir / f"dnsmasq-{interface}.leases",
        address=address.ip,
        domain=LOCAL_DOMAIN,
        names={LOCAL_DOMAIN: address.ip},
    )


def _nth(network: IPv4Network, offset: int) -> IPv4Address:
    # The last address of a network is its broadcast address.
    return IPv4Address(int(network.network_address) + min(offset, network.num_addresses - 2))


def _wireless(facts: Facts) -> tuple[tuple[HostAccessPoint, ...], HostUse]:
    points: list[HostAccessPoint] = []
    exclusive: set[str] = set()
    loads: dict[str, int] = {}
    names: set[str] = set()
    for index, entry in enumerate(facts.document.get("wifi-interfaces", ())):
        radio = facts.radio(entry["device"])
        if entry.get("mode", "ap") != "ap":
            if radio is not None:
                exclusive.add(radio.id)
            continue
        place = f"wifi-interfaces[{index}]"
        if radio is None:
            points.append(HostAccessPoint(place, None, _missing(entry["device"], facts)))
            continue
        if loads.get(radio.id, 0) >= facts.room(radio):
            error = radio_not_available(place, "the radio is used to capacity")
            points.append(HostAccessPoint(place, None, error))
            continue
        name = entry.get("ifname") or host_access_point_name(radio.interface or f"ap-{radio.phy}", names)
        names.add(name)
        loads[radio.id] = loads.get(radio.id, 0) + 1
        key = entry.get("key")
        config = AccessPointConfig(
            interface=name,
            radio=facts.radio_config(radio),
            bss=Bss(
                ssid=entry["ssid"],
                encryption=entry.get("encryption") or ("psk2" if key else "none"),
                key=key if entry.get("encryption") != "none" else None,
                hidden=is_on(entry.get("hidden")),
                isolate=is_on(entry.get("isolate")),
                max_stations=entry.get("maxassoc"),
            ),
            bridge=HOST_BRIDGE if entry.get("network", LAN) == LAN else _bridge(entry["network"], facts),
        )
        points.append(HostAccessPoint(name, config))
    return tuple(points), HostUse(loads, exclusive, names)


def _bridge(network: str, facts: Facts) -> str | None:
    """Returns the interface of a network by its name; None leaves the access point on its own."""
    for vlan in facts.document.get("vlan-interfaces", ()):
        if vlan.get("name") == network:
            return vlan_name(vlan["id"])
    return None


def _missing(device: str, facts: Facts) -> DomainError:
    if facts.radios_missing is not None:
        return nl80211_unavailable(facts.radios_missing.facts.get("why", "it does not answer"))
    return radio_not_available(device, "this machine has no such radio")


def is_on(value: Any) -> bool:
    """Tells whether a switch is on, however it is written."""
    return value in (True, 1, "1")


def forwardings(networks: Sequence[HostNetwork], document: Document) -> Iterator[tuple[str, str]]:
    """Yields pairs of zone names between which packets may pass."""
    for network in networks:
        for pair in network.firewall.get("forwarding", ()):
            yield pair["src"], pair["dest"]
    wan = (document.get("wan") or {}).get("firewall") or {}
    for pair in wan.get("forwarding", ()):
        yield pair["src"], pair["dest"]

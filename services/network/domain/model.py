"""Networks of chutes: what is asked for, and what was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Literal

from services.network.domain.access_points import Bss
from services.network.domain.naming import side_door_name

NetworkType = Literal["wifi-ap", "wifi-monitor", "vlan", "lan"]
NETWORK_TYPES: tuple[NetworkType, ...] = ("wifi-ap", "wifi-monitor", "vlan", "lan")


@dataclass(frozen=True, slots=True)
class Dhcp:
    """How addresses are given out."""

    start: int = 3
    """First address, counted from that of the network."""
    limit: int = 250
    """How many addresses follow the first."""
    lease_time: str = "12h"
    dns: tuple[IPv4Address, ...] = ()
    relay: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class PortForward:
    """A port of the node's uplink that leads to the chute."""

    protocol: Literal["tcp", "udp"]
    external: int
    internal: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A network that a chute asks for, checked in itself."""

    name: str
    """Interface in the container, such as "wlan0"."""
    service: str
    type: NetworkType
    section: str = ""
    """Another name of it; empty if there is none."""
    wireless: Bss | None = None
    dhcp: Dhcp | None = None
    vlan_id: int | None = None
    subnet: IPv4Network | None = None
    """The one it insists on."""
    device: Mapping[str, Any] = field(default_factory=dict)
    """What its radio must be, such as {"hwmode": "11g"}; "device" names a radio or a wired interface."""
    ports: tuple[PortForward, ...] = ()

    @property
    def has_subnet(self) -> bool:
        """Whether it has addresses."""
        return self.type != "wifi-monitor"


@dataclass(frozen=True, slots=True)
class Network:
    """A network that a chute has."""

    chute: str
    wanted: Wanted
    interface: str
    """The host's interface, such as "vwlan7e1b"."""
    subnet: IPv4Network | None = None
    radio: str | None = None
    """Id of its radio, such as "pci-wifi-0"."""
    phy: str | None = None
    """The kernel's name of the radio when it was given."""
    lease_file: str = ""
    radio_mac: str = ""
    """By which its radio is known when others were plugged in or taken out."""

    @property
    def name(self) -> str:
        """Interface in the container."""
        return self.wanted.name

    @property
    def title(self) -> str:
        """Name by which the firewall and the kernel's marks know it."""
        return f"{self.chute}:{self.name}"

    @property
    def side_door(self) -> str | None:
        """The interface over which the node itself reaches the chute, if ports lead to it.

        A macvlan and the interface below it do not hear each other; two macvlans over the same one do.
        """
        if not self.wanted.ports or self.subnet is None:
            return None
        return side_door_name(self.interface)

    @property
    def host_address(self) -> IPv4Interface | None:
        """The node's address in it."""
        return None if self.subnet is None else _address(self.subnet, 1)

    @property
    def chute_address(self) -> IPv4Interface | None:
        """The chute's address in it."""
        return None if self.subnet is None else _address(self.subnet, 2)


def _address(subnet: IPv4Network, offset: int) -> IPv4Interface:
    return IPv4Interface((int(subnet.network_address) + offset, subnet.prefixlen))


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where an interface of a chute is."""

    chute: str
    name: str
    pid: int
    process_mark: str
    """Tells the process from a later one with the same number."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a chute."""

    chute: str
    name: str = ""
    domain: str = ""

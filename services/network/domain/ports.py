"""What the domain needs from the world outside.

Making what is there already and removing what is absent is no error: everything can be done again after a
crash. What is made carries a mark of ours, and nothing without it is ever changed or removed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Protocol

from services.network.domain.access_points import AccessPointConfig, Health, Radio
from services.network.domain.dhcp import DhcpConfig, Lease
from services.network.domain.firewall import Ruleset


class AccessPoints(Protocol):
    """Runs hostapd. Raises Unavailable (HOSTAPD_UNAVAILABLE) or FailedPrecondition with hostapd's words."""

    async def ensure(self, config: AccessPointConfig) -> None:
        """Makes the interface if it is absent and lets an access point run on it as it says.

        Returns when the access point sends. Stations of the other access points of the radio stay connected.
        If it raises, the radio's other access points are as before and the interface is gone again.
        """

    async def remove(self, interface: str) -> None:
        """Stops an access point and removes the interface, unless it is the radio's own."""

    async def keep_only(self, interfaces: Collection[str]) -> None:
        """Removes all access points of ours that are not named; at the start, what crashes have left."""

    def health(self, interface: str) -> Health:
        """Tells whether the access point runs now; costs nothing."""


class DhcpServers(Protocol):
    """Runs dnsmasq, one process for each interface."""

    async def ensure(self, config: DhcpConfig) -> None:
        """Lets a server run on the interface as it says; the interface has its address already."""

    async def remove(self, interface: str) -> None:
        """Stops the server of an interface and removes its lease file."""

    async def keep_only(self, interfaces: Collection[str]) -> None:
        """Stops all servers of ours on other interfaces."""

    def health(self, interface: str) -> Health:
        """Tells whether the server runs now; costs nothing."""


class LeaseFiles(Protocol):
    """Reads what dnsmasq has given out."""

    async def read(self, lease_file: Path) -> tuple[Sequence[Lease], float] | None:
        """Returns the leases in the file's order and when it was written (seconds since 1970).

        None if there is no file: nothing was given out yet.
        """


class Radios(Protocol):
    """Asks the kernel for radios."""

    async def list(self) -> Sequence[Radio]:
        """Returns the radios by id; raises FailedPrecondition (NL80211_UNAVAILABLE)."""

    async def lend(self, phy: str, pid: int, name: str) -> None:
        """Puts a radio into the network namespace of a process, to listen (monitor mode).

        Its interface has that name there and is up. It is back when the namespace ends.
        """


class Firewall(Protocol):
    """Keeps the one nftables table of ours; nothing else is touched."""

    async def apply(self, ruleset: Ruleset) -> None:
        """Replaces the table in one transaction; an empty ruleset removes it."""

    async def applied(self) -> bool:
        """Tells whether the table is in the kernel."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """An interface of the host."""

    name: str
    index: int
    kind: str
    """"" for a physical one, else "bridge", "vlan", "macvlan", "veth" …"""
    up: bool
    mac: str
    addresses: tuple[IPv4Interface, ...] = ()
    master: str | None = None
    owner: str | None = None
    """Whom it was made for, if it is ours."""
    physical: bool = False
    """Whether a device of the machine stands behind it."""
    wireless: bool = False


class Links(Protocol):
    """Changes the kernel's interfaces. FailedPrecondition (NETWORK_PERMISSION_MISSING) if it may not."""

    async def list(self) -> Mapping[str, LinkState]:
        """Returns the interfaces of the host by name."""

    async def default_route(self) -> tuple[str, IPv4Address | None] | None:
        """Returns interface and gateway of the default route, if there is one."""

    async def ensure_bridge(self, name: str, owner: str, ports: Collection[str]) -> None:
        """Makes a bridge with exactly these ports and brings all up."""

    async def ensure_vlan(self, name: str, owner: str, parent: str, vlan_id: int) -> None:
        """Makes a VLAN interface over a parent and brings it up."""

    async def set_address(self, name: str, address: IPv4Interface | None) -> None:
        """Gives an interface exactly this IPv4 address, or none, and brings it up."""

    async def ensure_side_door(self, name: str, owner: str, parent: str, host: IPv4Interface) -> None:
        """Makes a macvlan over `parent` by which the node reaches what else is over it."""

    async def remove(self, name: str) -> None:
        """Removes an interface of ours; the ports of a bridge get back what they had before."""

    async def set_default_route(self, interface: str, gateway: IPv4Address) -> None:
        """Lets the default route of an interface lead to this gateway alone.

        Raises FailedPrecondition (DEFAULT_ROUTE_TAKEN) if it leads over another interface.
        """

    async def enable_forwarding(self) -> None:
        """Lets the kernel pass IPv4 packets on."""

    async def attach(self, parent: str, pid: int, name: str, address: IPv4Interface | None) -> None:
        """Puts a macvlan (bridge mode) over `parent` into a process's network namespace.

        It has that name and address there and is up. One that is there already is replaced.
        """

    async def detach(self, pid: int, name: str) -> None:
        """Removes an interface that `attach` made, if the process still is."""

    async def attached(self, pid: int, name: str) -> bool:
        """Tells whether the process has the interface."""

    async def process_mark(self, pid: int) -> str | None:
        """Returns what tells a process from a later one with its number; None if there is none.

        Raises FailedPrecondition (NOT_A_CONTAINER) for a process in the host's own network.
        """

    async def neighbour_answers(self, interface: str, address: IPv4Address, timeout_s: float) -> bool:
        """Tells whether a neighbour answers to ARP."""

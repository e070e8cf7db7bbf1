"""What the firewall lets pass, as data; the adapter puts it into the kernel's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

Verdict = Literal["ACCEPT", "REJECT", "DROP"]
Service = tuple[Literal["tcp", "udp"], int]
"""Protocol and port."""


@dataclass(frozen=True, slots=True)
class PortRule:
    """A port of the node's uplink that leads to an address of a chute."""

    protocol: Literal["tcp", "udp"]
    port: int
    to_address: IPv4Address
    to_port: int


@dataclass(frozen=True, slots=True)
class Zone:
    """A network and what its devices may reach."""

    name: str
    """Whose it is: "CHUTE:NETWORK", or "lan", "wan" …"""
    interface: str
    network: IPv4Network | None = None
    input: Verdict = "REJECT"
    """What happens to packets to the node itself that no service asked for."""
    services: Sequence[Service] = ()
    """Ports of the node that answer all the same, such as ("udp", 67)."""
    isolated: bool = False
    """Whether packets may only leave to the uplink, and come only as answers or by `ports`."""
    ports: Sequence[PortRule] = ()
    side_door: str | None = None
    """Interface over which the node itself reaches the chute; needed for `ports`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the host configuration; what is None does not matter."""

    verdict: Verdict
    src: str | None = None
    dest: str | None = None
    """Interfaces; None is any; a dest "" is the node itself."""
    protocol: str | None = None
    src_network: IPv4Network | None = None
    dest_network: IPv4Network | None = None
    src_ports: tuple[int, int] | None = None
    dest_ports: tuple[int, int] | None = None
    src_mac: str | None = None


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything that the firewall does for us."""

    zones: Sequence[Zone] = ()
    uplink: str | None = None
    """Interface of the uplink."""
    masquerade: Sequence[IPv4Network] = ()
    """Networks whose packets get the uplink's address."""
    forward: Sequence[tuple[str, str]] = ()
    """Pairs of interfaces between which packets may pass in this direction."""
    rules: Sequence[Rule] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.zones and not self.rules

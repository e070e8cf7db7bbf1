"""What serves addresses and names on a network, whichever program does it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DhcpConfig:
    """A DHCP and DNS server on one interface."""

    interface: str
    """Host interface that it serves, such as "vwlan7e1b" or "br-lan"."""
    network: IPv4Network
    range_start: IPv4Address
    range_end: IPv4Address
    """Both ends are given out."""
    lease_time: str
    """A number and one of "s", "m", "h", "d", such as "12h"; or "infinite"."""
    lease_file: Path
    router: IPv4Address | None = None
    """Gateway that clients are told; None for the host's own address."""
    dns: tuple[IPv4Address, ...] = ()
    """Servers that queries are passed to; empty for those that the host uses."""
    relay: IPv4Address | None = None
    """Server that requests are relayed to instead of being answered here."""
    address: IPv4Address | None = None
    """The host's own address on the interface."""
    domain: str = "paradrop.io"
    names: Mapping[str, IPv4Address] = field(default_factory=dict)
    """Names that are answered here, such as "paradrop.io"."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease, as far as the lease file tells."""

    expires_s: int
    """Seconds since 1970; 0 if never."""
    mac: str
    address: str
    hostname: str | None = None
    """"*" if the device gave none; None if the file does not say."""
    client_id: str | None = None
    """"*" if there is none; None if the file does not say."""

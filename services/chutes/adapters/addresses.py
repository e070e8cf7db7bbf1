"""Addresses that the node fetches from: those of the internet, not those behind its own doors."""

import ipaddress
import socket
from collections.abc import Collection

from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable

MAX_ADDRESSES = 8


def resolve(host: str, port: int, trusted: Collection[str]) -> list[str]:
    """Returns the addresses of a host, or raises if one of them is not of the internet. Blocking.

    Whoever names a host could otherwise have the node ask its own services and its neighbours. `trusted`
    hosts may be anywhere. Connect to what this returns and not to the name: another look may have another
    answer.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(
            "The host of the download has no address; see that its name is right and that the node has a "
            "working DNS.",
            reason="DOWNLOAD_HOST_UNKNOWN",
        ) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))[:MAX_ADDRESSES]
    if host.lower() not in trusted and not all(is_public(address) for address in addresses):
        raise FailedPrecondition(
            "The download is on a host of a private network, and this node does not fetch from there; use "
            "another, or have the operator add it to PARADROP_DOWNLOAD_HOSTS.",
            reason="DOWNLOAD_HOST_NOT_ALLOWED",
            field="download.url",
        )
    if not addresses:
        raise InvalidArgument("The host of the download has no address.", reason="DOWNLOAD_HOST_UNKNOWN")
    return addresses


def is_public(text: str) -> bool:
    """Tells whether an IP address is one of the internet."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _nat64(address)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in ipaddress.IPv6Network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None

"""Finds free subnets for chutes."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from services.common.errors import ResourceExhausted
from services.network.domain.errors import network_invalid

POOL = IPv4Network("10.128.0.0/9")
POOL_BEHIND_TEN = IPv4Network("192.168.128.0/17")
"""Pool of a node whose uplink has an address in 10.0.0.0/8."""
HOST_OFFSET, CHUTE_OFFSET = 1, 2
MIN_PREFIX, MAX_PREFIX = 8, 29


def automatic_pool(uplink: IPv4Address | None) -> IPv4Network:
    """Returns the pool that does not meet the network before the node."""
    return POOL_BEHIND_TEN if _behind_ten(uplink) else POOL


def automatic_lan_address(uplink: IPv4Address | None) -> IPv4Address:
    """Returns the address of the node in its LAN that does not meet the network before the node."""
    return IPv4Address("192.168.0.1" if _behind_ten(uplink) else "10.0.0.1")


def _behind_ten(uplink: IPv4Address | None) -> bool:
    return uplink is not None and uplink.packed[0] == 10


def free_subnet(pool: IPv4Network, prefix: int, taken: Iterable[IPv4Network]) -> IPv4Network:
    """Returns the first subnet of the pool that overlaps none of `taken`."""
    if prefix < pool.prefixlen:
        raise network_invalid(
            f"Subnets of /{prefix} do not fit into the pool {pool}; "
            "change system.chuteSubnetPool or system.chutePrefixSize.",
            "system.chutePrefixSize",
        )
    size = 1 << (32 - prefix)
    start, end = int(pool.network_address), int(pool.broadcast_address) + 1
    # In order of their ends, so that each is looked at once: a pool may have 2^21 subnets.
    for low, high in sorted((int(net.network_address), int(net.broadcast_address)) for net in taken):
        if low < start + size and high >= start:
            start = high // size * size + size
    if start + size > end:
        raise ResourceExhausted(
            f"No subnet of /{prefix} is free in {pool}; remove a chute or enlarge system.chuteSubnetPool.",
            reason="ADDRESS_POOL_EXHAUSTED",
            pool=str(pool),
            prefix=str(prefix),
        )
    return IPv4Network((start, prefix))


def wanted_subnet(text: str, field: str) -> IPv4Network:
    """Reads a subnet that a chute asks for."""
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise network_invalid(f"{field} must be an IPv4 network such as 192.168.5.0/24.", field) from None
    if not MIN_PREFIX <= network.prefixlen <= MAX_PREFIX:
        raise network_invalid(
            f"{field} must have a prefix from /{MIN_PREFIX} to /{MAX_PREFIX}, not {network}.", field
        )
    if not network.is_private or network.is_loopback or network.is_link_local:
        raise network_invalid(f"{field} must be a private network, not {network}.", field)
    return network


def host_address(network: IPv4Network) -> IPv4Interface:
    """Returns the node's own address in a subnet."""
    return IPv4Interface((int(network.network_address) + HOST_OFFSET, network.prefixlen))


def chute_address(network: IPv4Network) -> IPv4Interface:
    """Returns the chute's address in a subnet."""
    return IPv4Interface((int(network.network_address) + CHUTE_OFFSET, network.prefixlen))

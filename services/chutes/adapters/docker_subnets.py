"""Subnets for the networks of chutes when the engine has none left to give.

An engine as it comes divides its addresses into about thirty networks, and every chute has one of its own.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import docker

POOL = IPv4Network("10.213.0.0/16")
PREFIX = 24
ROUTES = Path("/proc/net/route")


def free_subnet(client: docker.APIClient) -> IPv4Network | None:
    """Returns a subnet that neither the engine nor the node's routes use, or None."""
    taken = [*_of_networks(client), *_of_routes(ROUTES)]
    return next(
        (subnet for subnet in POOL.subnets(new_prefix=PREFIX) if not any(map(subnet.overlaps, taken))), None
    )


def _of_networks(client: docker.APIClient) -> Iterator[IPv4Network]:
    for network in client.networks():
        for config in (network.get("IPAM") or {}).get("Config") or ():
            subnet = ip_network(config.get("Subnet") or "::/0", strict=False)
            if isinstance(subnet, IPv4Network):
                yield subnet


def _of_routes(routes: Path) -> Iterator[IPv4Network]:
    try:
        lines = routes.read_text().splitlines()[1:]
    except OSError:  # No Linux, or no permission: then the engine alone knows.
        return
    for line in lines:
        fields = line.split()
        # As the kernel has them: hexadecimal, the bytes in the order of a little-endian machine.
        address, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
        if mask:  # The default route overlaps everything.
            yield IPv4Network((address & mask, mask.bit_count()))

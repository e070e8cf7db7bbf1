"""Brings single networks of chutes up and takes them down."""

from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

from services.common.errors import DomainError, FailedPrecondition
from services.network.domain.access_points import AccessPointConfig
from services.network.domain.dhcp import DhcpConfig
from services.network.domain.errors import radio_not_available
from services.network.domain.facts import Facts
from services.network.domain.hostplan import LOCAL_DOMAIN
from services.network.domain.model import Attachment, Network
from services.network.domain.naming import HOST_BRIDGE
from services.network.domain.sections import Key, Sections
from services.network.domain.world import World


def section_keys(network: Network) -> list[Key]:
    """Returns the sections of a network in the order in which they are applied."""
    kinds = ["interface"]
    if network.wanted.type == "wifi-ap":
        kinds.insert(0, "wifi-iface")
    if network.wanted.dhcp:
        kinds += ["dnsmasq"]
    if network.subnet is not None:
        kinds += ["zone"]
    return [(kind, network.interface, network.chute) for kind in kinds]


def access_point_config(network: Network, facts: Facts) -> AccessPointConfig:
    """Returns how the access point of a network is run."""
    wireless, radio = network.wanted.wireless, facts.radio_of(network)
    if wireless is None:
        raise ValueError(f"{network.title} is no access point")
    if radio is None:
        raise radio_not_available(network.title, "its radio was taken out; plug it in again")
    return AccessPointConfig(network.interface, facts.radio_config(radio), wireless)


def dhcp_config(network: Network, lan_address: IPv4Address | None) -> DhcpConfig | None:
    """Returns how addresses are given out in a network; None if they are not."""
    dhcp, subnet = network.wanted.dhcp, network.subnet
    host, chute = network.host_address, network.chute_address
    if dhcp is None or subnet is None or host is None or chute is None:
        return None
    last = subnet.num_addresses - 2
    start = min(dhcp.start, last)
    return DhcpConfig(
        interface=network.interface,
        network=subnet,
        range_start=IPv4Address(int(subnet.network_address) + start),
        range_end=IPv4Address(int(subnet.network_address) + min(start + dhcp.limit, last)),
        lease_time=dhcp.lease_time,
        lease_file=Path(network.lease_file),
        router=chute.ip,
        dns=dhcp.dns,
        relay=dhcp.relay,
        address=host.ip,
        domain=LOCAL_DOMAIN,
        names={LOCAL_DOMAIN: lan_address or host.ip},
    )


class ChuteSetup:
    """Does for one network what its sections say."""

    def __init__(self, world: World, sections: Sections) -> None:
        self._world = world
        self._sections = sections

    async def bring_up(self, network: Network, facts: Facts, lan_address: IPv4Address | None) -> None:
        """Makes a network all but its firewall; the section that fails is noted and the error raised."""
        world = self._world
        if network.wanted.type == "wifi-ap":
            if facts.radio_of(network) is None:
                facts = await world.facts(facts.document)

            async def ensure() -> None:
                await world.access_points.ensure(access_point_config(network, facts))

            await self._do(network, "wifi-iface", ensure)
        await self._do(network, "interface", lambda: self._interface(network))
        dhcp = dhcp_config(network, lan_address)
        if dhcp is not None:
            await self._do(network, "dnsmasq", lambda: world.dhcp.ensure(dhcp))

    async def _interface(self, network: Network) -> None:
        links, wanted = self._world.links, network.wanted
        if wanted.type == "wifi-monitor":
            return  # The radio moves as it is when the container is there.
        if wanted.type == "vlan":
            await links.ensure_vlan(network.interface, network.title, HOST_BRIDGE, wanted.vlan_id or 0)
        await links.set_address(network.interface, network.host_address)
        if network.side_door and network.host_address:
            await links.ensure_side_door(
                network.side_door, network.title, network.interface, network.host_address
            )

    async def take_down(self, network: Network) -> None:
        """Removes what `bring_up` made; what is absent is no error.

        What cannot be removed keeps nothing else from being removed; the first error is raised at the end.
        """
        first: Exception | None = None
        for remove in self._removals(network):
            try:
                await remove()
            except (DomainError, OSError) as error:
                first = first or error
        if first is not None:
            raise first

    def _removals(self, network: Network) -> Iterator[Callable[[], Awaitable[None]]]:
        world, kind, interface = self._world, network.wanted.type, network.interface
        if network.wanted.dhcp:
            yield lambda: world.dhcp.remove(interface)
        if network.side_door:
            yield lambda: world.links.remove(network.side_door or "")
        if kind == "wifi-ap":
            yield lambda: world.access_points.remove(interface)
        elif kind == "vlan":
            yield lambda: world.links.remove(interface)
        elif kind == "lan":
            yield lambda: self._give_back(interface)

    async def _give_back(self, interface: str) -> None:
        if interface in await self._world.links.list():
            await self._world.links.set_address(interface, None)

    async def attach(self, network: Network, pid: int) -> Attachment:
        """Puts a network's interface into a container."""
        mark = await self._world.links.process_mark(pid)
        if mark is None:
            raise FailedPrecondition(
                f"The container of {network.wanted.service} has ended; see its log.",
                reason="SERVICE_NOT_RUNNING",
                service=network.wanted.service,
                network=network.name,
            )
        if network.wanted.type == "wifi-monitor":
            await self._world.radios.lend(network.phy or "", pid, network.name)
        else:
            await self._world.links.attach(network.interface, pid, network.name, network.chute_address)
        return Attachment(network.chute, network.name, pid, mark)

    async def _do(self, network: Network, kind: str, act: Callable[[], Awaitable[None]]) -> None:
        key = (kind, network.interface, network.chute)
        try:
            await act()
        except DomainError as error:
            self._sections.failed(key, error)
            raise
        self._sections.succeeded(key)

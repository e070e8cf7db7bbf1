"""Brings the host's own interfaces into the shape that its configuration asks for."""

from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface

from services.common.errors import DomainError, FailedPrecondition
from services.network.domain.errors import DEFAULT_ROUTE_TAKEN
from services.network.domain.facts import Facts
from services.network.domain.hostplan import LAN, WAN, HostNetwork, HostPlan, Uplink
from services.network.domain.naming import HOST_BRIDGE
from services.network.domain.sections import NODE, Key, Sections
from services.network.domain.store import Borrowed, NetworkStore
from services.network.domain.world import World

TOLERATED = ("RADIO_NOT_AVAILABLE", "NL80211_UNAVAILABLE")
"""A radio that is not there now is no reason to refuse a configuration; it may be plugged in later."""


def host_keys(plan: HostPlan, facts: Facts) -> Iterator[Key]:
    """Yields the sections of the host in the order in which they are applied."""
    for kind, name in _named(plan, facts):
        yield kind, name, NODE


def _named(plan: HostPlan, facts: Facts) -> Iterator[tuple[str, str]]:
    if not facts.managed:
        yield from (("interface", LAN), ("zone", LAN))
        return
    for network in plan.networks:
        yield "interface", network.name
    if plan.uplink is not None:
        yield "interface", WAN
    for point in plan.access_points:
        yield "wifi-iface", point.name
    for network in plan.networks:
        if network.dhcp:
            yield "dnsmasq", network.name
    yield "defaults", "firewall"
    for network in plan.networks:
        yield "zone", network.name
    if facts.wan:
        yield "zone", WAN


class HostSetup:
    """Applies what the host configuration says of bridges, VLANs, access points and addresses."""

    def __init__(self, world: World, store: NetworkStore, sections: Sections) -> None:
        self._world = world
        self._store = store
        self._sections = sections

    async def apply(self, plan: HostPlan, facts: Facts) -> DomainError | None:
        """Applies everything but the firewall; returns the first error that must not be overlooked."""
        if not facts.managed:
            for key in host_keys(plan, facts):
                self._sections.failed(key, _not_managed())
            return None
        first: DomainError | None = None
        for key, act in self._work(plan, facts):
            try:
                await act()
                self._sections.succeeded(key)
            except DomainError as error:
                self._sections.failed(key, error)
                if error.reason not in TOLERATED:
                    first = first or error
        return first

    async def release(self) -> None:
        """Gives back what the ports of the bridge had, when it is removed."""
        for interface, borrowed in (await self._store.borrowed()).items():
            await self._give_back(interface, borrowed)

    def _work(self, plan: HostPlan, facts: Facts) -> Iterator[tuple[Key, Callable[[], Awaitable[None]]]]:
        world = self._world
        for network in plan.networks:

            async def interface(network: HostNetwork = network) -> None:
                await self._interface(network, plan, facts)

            yield ("interface", network.name, NODE), interface
        if plan.uplink is not None:

            async def uplink(wanted: Uplink = plan.uplink) -> None:
                await self._uplink(wanted, facts)

            yield ("interface", WAN, NODE), uplink
        for point in plan.access_points:

            async def access_point(point=point) -> None:  # type: ignore[no-untyped-def]
                if point.config is None:
                    raise point.error
                await world.access_points.ensure(point.config)

            yield ("wifi-iface", point.name, NODE), access_point
        for network in plan.networks:
            if network.dhcp:

                async def dhcp(config=network.dhcp) -> None:  # type: ignore[no-untyped-def]
                    await world.dhcp.ensure(config)

                yield ("dnsmasq", network.name, NODE), dhcp

    async def _interface(self, network: HostNetwork, plan: HostPlan, facts: Facts) -> None:
        links = self._world.links
        if network.vlan_id is not None:
            await links.ensure_vlan(network.interface, network.name, HOST_BRIDGE, network.vlan_id)
        else:
            await self._bridge(plan, facts)
        if network.address is not None:
            await links.set_address(network.interface, network.address)

    async def _bridge(self, plan: HostPlan, facts: Facts) -> None:
        borrowed = await self._store.borrowed()
        for port in plan.bridge_ports:
            if facts.links[port].master != HOST_BRIDGE:
                await self._borrow(port, facts)
        await self._world.links.ensure_bridge(HOST_BRIDGE, LAN, plan.bridge_ports)
        for port in plan.bridge_ports:
            await self._world.links.set_address(port, None)
        for port, before in borrowed.items():
            if port not in plan.borrowed:
                await self._give_back(port, before)

    async def _uplink(self, uplink: Uplink, facts: Facts) -> None:
        links = self._world.links
        await self._borrow(uplink.interface, facts)
        await links.set_address(uplink.interface, uplink.address)
        await links.set_default_route(uplink.interface, uplink.gateway)

    async def _borrow(self, interface: str, facts: Facts) -> None:
        """Notes what an interface has, unless that is noted already."""
        link = facts.links.get(interface)
        if link is None or interface in await self._store.borrowed():
            return
        route = await self._world.links.default_route()
        address = str(link.addresses[0]) if link.addresses else None
        gateway = str(route[1]) if route and route[0] == interface and route[1] else None
        await self._store.set_borrowed(interface, Borrowed(address, gateway))

    async def _give_back(self, interface: str, borrowed: Borrowed) -> None:
        links = self._world.links
        if interface in await links.list():
            # Routes go with the last address, those of a gateway that was ours too.
            await links.set_address(interface, None)
            if borrowed.address:
                await links.set_address(interface, IPv4Interface(borrowed.address))
            if borrowed.gateway:
                await self._restore_route(interface, IPv4Address(borrowed.gateway))
        await self._store.set_borrowed(interface, None)

    async def _restore_route(self, interface: str, gateway: IPv4Address) -> None:
        try:
            await self._world.links.set_default_route(interface, gateway)
        except DomainError as error:
            if error.reason != DEFAULT_ROUTE_TAKEN:  # There is another way out by now.
                raise


def _not_managed() -> FailedPrecondition:
    return FailedPrecondition(
        "This node leaves the host's own interfaces alone; set PARADROP_HOST_NETWORK=managed to change that.",
        reason="HOST_NOT_MANAGED",
    )

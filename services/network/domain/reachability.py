"""Tells whether the node can still be reached the way it could before."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from services.network.domain.ports import Links

PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Path:
    """How the node was reached."""

    gateway: IPv4Address | None
    """Of the default route, if it answered."""
    had_default_route: bool
    had_address: bool


class Reachability:
    """Looks at the default route and its gateway; without one, at whether there is any address at all."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def path(self) -> Path:
        """Returns how the node can be reached now."""
        route = await self._links.default_route()
        answers = (
            route is not None
            and route[1] is not None
            and await self._links.neighbour_answers(route[0], route[1], PROBE_TIMEOUT_S)
        )
        gateway = route[1] if route and answers else None
        return Path(gateway, route is not None, await self._has_address())

    async def lost(self, before: Path) -> str:
        """Returns what is lost in comparison, as a clause; empty if nothing is."""
        route = await self._links.default_route()
        if before.had_default_route and route is None:
            return "the default route is gone"
        if before.gateway is not None:
            if route is None or route[1] is None:
                return "the default route leads to no gateway"
            if not await self._links.neighbour_answers(route[0], route[1], PROBE_TIMEOUT_S):
                return f"the gateway {route[1]} does not answer"
        if before.had_address and not await self._has_address():
            return "no interface has an address"
        return ""

    async def _has_address(self) -> bool:
        links = await self._links.list()
        return any(link.addresses and link.up and link.name != "lo" for link in links.values())

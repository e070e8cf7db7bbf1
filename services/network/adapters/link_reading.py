"""Reads what rtnetlink tells of interfaces and routes."""

from collections import defaultdict
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from services.network.domain.ports import LinkState

AF_INET = 2
IFF_UP = 1
MARK = "paradrop:"
"""What the alias of an interface of ours begins with."""
SYS_NET = Path("/sys/class/net")


def read_links(route: Any) -> dict[str, LinkState]:
    """Returns the interfaces by name."""
    addresses: dict[int, list[IPv4Interface]] = defaultdict(list)
    for entry in route.get_addr(family=AF_INET):
        local = entry.get("local") or entry.get("address")
        addresses[entry["index"]].append(IPv4Interface(f"{local}/{entry['prefixlen']}"))
    links = list(route.get_links())
    names = {link["index"]: link.get("ifname") for link in links}
    return {
        link.get("ifname"): LinkState(
            name=link.get("ifname"),
            index=link["index"],
            kind=_kind(link),
            up=bool(link["flags"] & IFF_UP),
            mac=(link.get("address") or "").lower(),
            addresses=tuple(addresses[link["index"]]),
            master=names.get(link.get("master")),
            owner=owner_of(link),
            physical=(SYS_NET / link.get("ifname") / "device").exists(),
            wireless=(SYS_NET / link.get("ifname") / "phy80211").exists(),
        )
        for link in links
    }


def owner_of(link: Any) -> str | None:
    """Returns whom an interface of ours was made for; None if it is not ours."""
    alias = link.get("ifalias") or ""
    return alias.removeprefix(MARK) if alias.startswith(MARK) else None


def default_route(route: Any) -> tuple[str, IPv4Address | None] | None:
    """Returns interface and gateway of the default route with the best metric."""
    routes = [entry for entry in route.get_default_routes(family=AF_INET) if entry.get("oif") is not None]
    if not routes:
        return None
    best = min(routes, key=lambda entry: entry.get("priority") or 0)
    (link,) = route.get_links(best.get("oif"))
    gateway = best.get("gateway")
    return link.get("ifname"), IPv4Address(gateway) if gateway else None


def _kind(link: Any) -> str:
    info = link.get("linkinfo")
    return str((info.get("kind") if info else None) or "")

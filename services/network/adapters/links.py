"""The interfaces of the kernel, by rtnetlink."""

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import NetlinkError

from services.common.errors import FailedPrecondition
from services.network.adapters.kernel import in_host, in_namespace, namespace_of
from services.network.adapters.link_reading import MARK, default_route, owner_of, read_links
from services.network.domain.errors import default_route_taken
from services.network.domain.ports import LinkState

T = TypeVar("T")

AF_INET = 2
MACVLAN_BRIDGE = "bridge"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
NUD_REACHABLE, NUD_PROBE = 0x02, 0x10
NUD_FIXED = 0x40 | 0x80  # NOARP, PERMANENT
PROBE_INTERVAL_S = 0.1


class KernelLinks:
    """Makes, changes and removes interfaces; those of ours carry a mark (ifalias)."""

    def __init__(self, namespace: Path | None = None) -> None:
        self._namespace = namespace
        """The network namespace that is the host's; None for the one of this process."""

    async def list(self) -> Mapping[str, LinkState]:
        """Returns the interfaces of the host by name."""
        return await self._here(read_links)

    async def default_route(self) -> tuple[str, IPv4Address | None] | None:
        """Returns interface and gateway of the default route, if there is one."""
        return await self._here(default_route)

    async def ensure_bridge(self, name: str, owner: str, ports: Collection[str]) -> None:
        """Makes a bridge with exactly these ports and brings all up."""

        def work(route: Any) -> None:
            bridge = _ensure(route, name, owner, kind="bridge")
            for link in route.get_links():
                port, attached = link.get("ifname"), link.get("master") == bridge
                if port in ports and not attached:
                    route.link("set", index=link["index"], master=bridge)
                elif attached and port not in ports and not link.get("ifalias") and not _is_wireless(port):
                    route.link("set", index=link["index"], master=0)
            for port in ports:
                route.link("set", index=_index(route, port), state="up")
            route.link("set", index=bridge, state="up")

        await self._here(work)

    async def ensure_vlan(self, name: str, owner: str, parent: str, vlan_id: int) -> None:
        """Makes a VLAN interface over a parent and brings it up."""

        def work(route: Any) -> None:
            below = _index(route, parent)
            index = _ensure(route, name, owner, kind="vlan", link=below, vlan_id=vlan_id)
            route.link("set", index=index, state="up")

        await self._here(work)

    async def ensure_side_door(self, name: str, owner: str, parent: str, host: IPv4Interface) -> None:
        """Makes a macvlan over `parent` by which the node reaches what else is over it."""

        def work(route: Any) -> None:
            below = _index(route, parent)
            index = _ensure(route, name, owner, kind="macvlan", link=below, macvlan_mode=MACVLAN_BRIDGE)
            _set_address(route, index, IPv4Interface(f"{host.ip}/32"))
            route.link("set", index=index, state="up")
            chute = host.ip + 1
            route.route("replace", dst=f"{chute}/32", oif=index, prefsrc=str(host.ip), scope="link")

        await self._here(work)

    async def set_address(self, name: str, address: IPv4Interface | None) -> None:
        """Gives an interface exactly this IPv4 address, or none, and brings it up."""

        def work(route: Any) -> None:
            index = _index(route, name)
            _set_address(route, index, address)
            route.link("set", index=index, state="up")

        await self._here(work)

    async def remove(self, name: str) -> None:
        """Removes an interface of ours."""

        def work(route: Any) -> None:
            for link in route.get_links(ifname=name) if route.link_lookup(ifname=name) else ():
                if owner_of(link) is not None:
                    with _gone_is_fine():
                        route.link("del", index=link["index"])

        await self._here(work)

    async def enable_forwarding(self) -> None:
        """Lets the kernel pass IPv4 packets on."""
        await self._here(lambda _route: _write_if_other(FORWARDING, "1"))

    async def attach(self, parent: str, pid: int, name: str, address: IPv4Interface | None) -> None:
        """Puts a macvlan (bridge mode) over `parent` into a process's network namespace."""
        namespace = namespace_of(pid)
        temporary = f"tmp{secrets.token_hex(4)}"

        def make(route: Any) -> None:
            route.link(
                "add",
                ifname=temporary,
                kind="macvlan",
                link=_index(route, parent),
                macvlan_mode=MACVLAN_BRIDGE,
                net_ns_pid=pid,
            )

        def settle(route: Any) -> None:
            for old in route.link_lookup(ifname=name):
                route.link("del", index=old)
            index = _index(route, temporary)
            route.link("set", index=index, ifname=name)
            _set_address(route, index, address)
            route.link("set", index=index, state="up")

        await self._here(make)
        try:
            await in_namespace(namespace, settle)
        except BaseException:
            with suppress(Exception):
                await self.detach(pid, temporary)
            raise

    async def detach(self, pid: int, name: str) -> None:
        """Removes an interface that `attach` made, if the process still is."""

        def work(route: Any) -> None:
            for index in route.link_lookup(ifname=name):
                with _gone_is_fine():
                    route.link("del", index=index)

        with suppress(FileNotFoundError):
            await in_namespace(namespace_of(pid), work)

    async def attached(self, pid: int, name: str) -> bool:
        """Tells whether the process has the interface."""
        with suppress(FileNotFoundError):
            return bool(await in_namespace(namespace_of(pid), lambda route: route.link_lookup(ifname=name)))
        return False

    async def process_mark(self, pid: int) -> str | None:
        """Returns what tells a process from a later one with its number; None if there is none."""
        host = self._namespace or Path("/proc/self/ns/net")
        return await asyncio.to_thread(_process_mark, pid, host)

    async def neighbour_answers(self, interface: str, address: IPv4Address, timeout_s: float) -> bool:
        """Tells whether a neighbour answers to ARP."""

        def look(route: Any) -> tuple[int, str | None]:
            for entry in route.get_neighbours(AF_INET, ifindex=_index(route, interface), dst=str(address)):
                return entry["state"], entry.get("lladdr")
            return 0, None

        def ask(route: Any) -> None:
            state, mac = look(route)
            if mac is not None and not state & NUD_FIXED:
                # What is known from before proves nothing: the kernel asks anew.
                route.neigh(
                    "replace", dst=str(address), ifindex=_index(route, interface), lladdr=mac, state=NUD_PROBE
                )

        await self._here(ask)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while loop.time() < deadline:
            await self._here(lambda _route: _touch(str(address)))
            state, _ = await self._here(look)
            if state & (NUD_REACHABLE | NUD_FIXED):
                return True
            await asyncio.sleep(PROBE_INTERVAL_S)
        return False

    async def set_default_route(self, interface: str, gateway: IPv4Address) -> None:
        """Lets the default route of an interface lead to this gateway alone; see the port."""

        def work(route: Any) -> None:
            index, there = _index(route, interface), False
            for entry in route.get_default_routes(family=AF_INET):
                if entry.get("oif") != index:
                    continue
                if entry.get("gateway") == str(gateway):
                    there = True
                else:
                    priority = entry.get("priority") or 0
                    route.route("del", family=AF_INET, dst="default", oif=index, priority=priority)
            other = default_route(route)
            if other is not None and other[0] != interface:
                raise default_route_taken(other[0])
            if not there:
                route.route("add", dst="default", gateway=str(gateway), oif=index)

        await self._here(work)

    async def _here(self, work: Callable[[Any], T]) -> T:
        if self._namespace is None:
            return await in_host(work)
        return await in_namespace(self._namespace, work)


def _process_mark(pid: int, host: Path) -> str | None:
    try:
        if namespace_of(pid).stat().st_ino == host.stat().st_ino:
            raise FailedPrecondition(
                "The container shares the network of the host; a chute with networks cannot have that.",
                reason="NOT_A_CONTAINER",
            )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name may hold blanks and brackets; what counts comes after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return f"{boot}/{fields[19]}"


def _touch(address: str) -> None:
    """Lets the kernel ask for a neighbour by sending it an empty datagram that nobody reads."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"", (address, 9))


def _ensure(route: Any, name: str, owner: str, **options: Any) -> int:
    """Makes an interface of ours if it is absent, or makes it anew if it is of another kind."""
    for index in route.link_lookup(ifname=name):
        link = next(iter(route.get_links(index)))
        if owner_of(link) is None:
            raise FailedPrecondition(
                f"There is an interface {name} that is not Paradrop's; rename or remove it.",
                reason="INTERFACE_NAME_TAKEN",
                interface=name,
            )
        below = options.get("link")
        if below is None or link.get("link") == below:
            return int(index)
        route.link("del", index=index)
    route.link("add", ifname=name, **options)
    index = _index(route, name)
    route.link("set", index=index, ifalias=f"{MARK}{owner}")
    return index


def _index(route: Any, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise FailedPrecondition(
            f"There is no interface {name} now; see whether its device is plugged in.",
            reason="INTERFACE_MISSING",
            interface=name,
        )
    return int(found[0])


def _set_address(route: Any, index: int, address: IPv4Interface | None) -> None:
    there = False
    for entry in route.get_addr(family=AF_INET, index=index):
        text = f"{entry.get('local') or entry.get('address')}/{entry['prefixlen']}"
        if address is not None and text == str(address):
            there = True
        else:
            route.addr("del", index=index, address=text.split("/")[0], prefixlen=entry["prefixlen"])
    if address is not None and not there:
        # A macvlan of ours may have the same address: it is asked for on both.
        route.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)


def _is_wireless(name: str) -> bool:
    return Path(f"/sys/class/net/{name}/phy80211").exists()


def _write_if_other(path: Path, text: str) -> None:
    if path.read_text().strip() != text:
        path.write_text(text)


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    """Suppresses that what is to be removed has gone already."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.ESRCH):
            raise

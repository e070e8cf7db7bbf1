"""Leases of networks: kept from the lease files, told to whoever watches, joined to stations."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from services.common.keyed import KeyedFeed, KeyedSubscription
from services.network.domain.dhcp import Lease


class WatchedLeaseFiles(Protocol):
    """Reads lease files and tells when they change."""

    async def read(self, lease_file: Path) -> tuple[list[Lease], float] | None:
        """Returns the leases in the file's order and when it was written; None if there is no file."""

    def changes(self, lease_file: Path) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Gives an item after each change of a file, which need not be there yet."""


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """A lease that is no more."""

    mac: str


LeaseEvent = Lease | LeaseEnded


@dataclass
class _Watched:
    follower: asyncio.Task[None]
    leases: dict[str, Lease] = field(default_factory=dict)
    feed: KeyedFeed[str, LeaseEvent] = field(default_factory=KeyedFeed)
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class LeaseBook:
    """The leases of the networks that are followed, by interface."""

    def __init__(self, files: WatchedLeaseFiles, changed: Callable[[str], None]) -> None:
        self._files = files
        self._changed = changed
        """Told the interface whose leases have changed."""
        self._watched: dict[str, _Watched] = {}

    def follow(self, interface: str, lease_file: Path) -> None:
        """Keeps the leases of a network from now on."""
        if interface not in self._watched:
            self._watched[interface] = _Watched(asyncio.create_task(self._follow(interface, lease_file)))

    async def forget(self, interface: str) -> None:
        """Ends that; watchers finish."""
        watched = self._watched.pop(interface, None)
        if watched is not None:
            watched.feed.close()
            watched.follower.cancel()
            await asyncio.gather(watched.follower, return_exceptions=True)

    def of(self, interface: str, mac: str) -> tuple[str, str | None] | None:
        """Returns address and name of a device, if it has a lease."""
        watched = self._watched.get(interface)
        lease = watched.leases.get(mac) if watched else None
        if lease is None:
            return None
        return lease.address, lease.hostname if lease.hostname != "*" else None

    async def leases(self, interface: str) -> Mapping[str, Lease]:
        """Returns the leases by hardware address."""
        watched = self._watched.get(interface)
        if watched is None:
            return {}
        await watched.ready.wait()
        return watched.leases

    @contextmanager
    def watch(self, interface: str) -> Iterator[KeyedSubscription[str, LeaseEvent]]:
        """Subscribes to what changes; a network that gives out nothing has nothing to tell."""
        watched = self._watched.get(interface)
        feed: KeyedFeed[str, LeaseEvent] = watched.feed if watched else KeyedFeed()
        with feed.subscribe() as subscription:
            yield subscription

    async def close(self) -> None:
        """Ends all streams and tasks."""
        for interface in list(self._watched):
            await self.forget(interface)

    async def _follow(self, interface: str, lease_file: Path) -> None:
        async with self._files.changes(lease_file) as changes:
            await self._read(interface, lease_file)
            async for _ in changes:
                await self._read(interface, lease_file)

    async def _read(self, interface: str, lease_file: Path) -> None:
        watched = self._watched[interface]
        found = await self._files.read(lease_file)
        now = {lease.mac: lease for lease in (found[0] if found else [])}
        before, watched.leases = watched.leases, now
        for mac, lease in now.items():
            if before.get(mac) != lease:
                watched.feed.publish(mac, lease)
        for mac in before.keys() - now.keys():
            watched.feed.publish(mac, LeaseEnded(mac))
        watched.ready.set()
        if before != now:
            self._changed(interface)

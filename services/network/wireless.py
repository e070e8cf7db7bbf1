"""Builds what the service does with radios: access points, stations, leases."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.common.errors import DomainError
from services.network.adapters.dnsmasq import DnsmasqServers
from services.network.adapters.hostapd import HostapdAccessPoints
from services.network.adapters.lease_files import DnsmasqLeaseFiles
from services.network.adapters.nl80211 import Nl80211
from services.network.adapters.radios import KernelRadios
from services.network.adapters.rule_store import JsonRuleStore
from services.network.domain.access_lists import AccessLists
from services.network.domain.lease_watch import LeaseBook
from services.network.domain.station_book import StationBook
from services.network.domain.wireless import Wireless

log = structlog.get_logger()

DEPARTURES_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class WirelessParts:
    """What others need of it."""

    access_points: HostapdAccessPoints
    servers: DnsmasqServers
    lease_files: DnsmasqLeaseFiles
    radios: KernelRadios
    book: StationBook
    leases: LeaseBook
    lists: AccessLists
    wireless: Wireless

    async def network_began(
        self, interface: str, lease_file: Path | None, *, access_point: bool = True
    ) -> None:
        """Takes notice of a network that was set up."""
        if lease_file is not None:
            self.leases.follow(interface, lease_file)
        if access_point:
            await self.lists.apply(interface)

    async def network_ended(self, interface: str, *, for_good: bool = True) -> None:
        """Takes notice of a network that was removed."""
        self.book.forget(interface)
        await self.leases.forget(interface)
        if for_good:
            await self.lists.forget(interface)


@asynccontextmanager
async def opened(state_dir: Path, runtime_dir: Path, driver: str = "nl80211") -> AsyncIterator[WirelessParts]:
    """Keeps all of it for the time of the context.

    Nothing here fails for want of a radio, a driver or a program: what needs it says so when it is used.
    """
    async with AsyncExitStack() as stack:
        kernel = await stack.enter_async_context(Nl80211.opened())
        lease_files = DnsmasqLeaseFiles()
        book = StationBook(
            kernel, time.time, time.monotonic, lambda interface, mac: leases.of(interface, mac)
        )
        leases = LeaseBook(lease_files, book.on_leases)

        def on_event(interface: str, event: str) -> None:
            book.on_event(interface, event)
            wireless.on_event(interface, event)

        access_points = await stack.enter_async_context(
            HostapdAccessPoints.opened(state_dir / "hostapd", runtime_dir / "ap", kernel, on_event, driver)
        )
        servers = await stack.enter_async_context(DnsmasqServers.opened(state_dir / "dnsmasq"))
        lists = AccessLists(access_points, JsonRuleStore(state_dir / "access-lists.json"), time.time)
        await lists.load()
        radios = KernelRadios(kernel)
        wireless = Wireless(kernel, radios, access_points, book, lists)
        departures = asyncio.create_task(_tell_departures(kernel, book))
        try:
            yield WirelessParts(access_points, servers, lease_files, radios, book, leases, lists, wireless)
        finally:
            departures.cancel()
            await asyncio.gather(departures, return_exceptions=True)
            lists.close()
            await book.close()
            await leases.close()


async def _tell_departures(kernel: Nl80211, book: StationBook) -> None:
    """Passes on the last counters of stations; without a wireless kernel there are none."""
    while True:
        with contextlib.suppress(DomainError):
            async for interface, info in kernel.departures():
                book.on_departure(interface, info)
        await asyncio.sleep(DEPARTURES_RETRY_S)

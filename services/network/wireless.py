"""Builds what the service does with radios: access points, stations, leases."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
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
from services.network.adapters.standin import StandInAir, StandInRadios
from services.network.domain.access_lists import AccessLists
from services.network.domain.lease_watch import LeaseBook
from services.network.domain.ports import Radios
from services.network.domain.station_book import StationBook
from services.network.domain.stations import InterfaceGone, RadioCame, StationLeft
from services.network.domain.wireless import Wireless

log = structlog.get_logger()

EVENTS_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class WirelessParts:
    """What others need of it."""

    access_points: HostapdAccessPoints
    servers: DnsmasqServers
    lease_files: DnsmasqLeaseFiles
    radios: Radios
    book: StationBook
    leases: LeaseBook
    lists: AccessLists
    wireless: Wireless
    radio_came: asyncio.Event
    """Set when a radio was plugged in, or an access point was made anew after that."""


@asynccontextmanager
async def opened(
    state_dir: Path, runtime_dir: Path, *, driver: str = "nl80211", stand_in: bool = False
) -> AsyncIterator[WirelessParts]:
    """Keeps all of it for the time of the context, with the radios of this machine or one that stands in.

    Nothing here fails for want of a radio, a driver or a program: what needs it says so when it is used.
    """
    async with AsyncExitStack() as stack:
        kernel = await stack.enter_async_context((StandInAir if stand_in else Nl80211).opened())
        lease_files = DnsmasqLeaseFiles()
        book = StationBook(
            kernel, time.time, time.monotonic, lambda interface, mac: leases.of(interface, mac)
        )
        leases = LeaseBook(lease_files, book.on_leases)

        radio_came = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def spawn(work: Coroutine[None, None, None]) -> None:
            task = asyncio.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        def on_event(interface: str, event: str) -> None:
            book.on_event(interface, event)
            wireless.on_event(interface, event)
            if event == "REMADE":
                radio_came.set()
            if event == "REMOVED":
                book.forget(interface)
                spawn(lists.forget(interface))

        def on_server(interface: str, lease_file: Path | None) -> None:
            if lease_file is not None:
                leases.follow(interface, lease_file)
            else:
                spawn(leases.forget(interface))

        access_points = await stack.enter_async_context(
            HostapdAccessPoints.opened(
                state_dir / "hostapd",
                runtime_dir / "ap",
                kernel,
                on_event,
                lambda interface: lists.commands(interface),
                kernel.driver if stand_in else driver,
            )
        )
        servers = await stack.enter_async_context(DnsmasqServers.opened(state_dir / "dnsmasq", on_server))
        lists = AccessLists(access_points, JsonRuleStore(state_dir / "access-lists.json"), time.time)
        await lists.load()
        radios: Radios = StandInRadios() if stand_in else KernelRadios(kernel)
        wireless = Wireless(kernel, radios, access_points, book, lists)
        events = asyncio.create_task(_tell_events(kernel, book, access_points, radio_came))
        try:
            yield WirelessParts(
                access_points, servers, lease_files, radios, book, leases, lists, wireless, radio_came
            )
        finally:
            events.cancel()
            await asyncio.gather(events, *tasks, return_exceptions=True)
            lists.close()
            await book.close()
            await leases.close()


async def _tell_events(
    kernel: Nl80211, book: StationBook, access_points: HostapdAccessPoints, radio_came: asyncio.Event
) -> None:
    """Passes on what the kernel tells; without wireless support it tells nothing."""
    while True:
        with contextlib.suppress(DomainError):
            async for event in kernel.events():
                match event:
                    case StationLeft(interface, station):
                        book.on_departure(interface, station)
                    case InterfaceGone(interface):
                        access_points.interface_gone(interface)
                    case RadioCame():
                        radio_came.set()
        await asyncio.sleep(EVENTS_RETRY_S)

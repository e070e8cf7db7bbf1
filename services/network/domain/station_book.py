"""Who is associated where: kept from the kernel's answers and hostapd's events, told to whoever watches."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from services.common.errors import DomainError
from services.common.keyed import KeyedFeed, KeyedSubscription
from services.network.domain.stations import StationInfo
from services.network.domain.wireless_ports import WirelessKernel

MAX_AGE_S = 0.5
"""A list is at most so old: many callers share one question to the kernel."""
STATISTICS_INTERVAL_S = 5.0
SIGNAL_STEP_DB = 1
KEPT_SESSIONS = 256
JOIN_DELAYS_S = (0.0, 0.01, 0.03, 0.1, 0.3)
"""How long to wait before each question whether a station that has joined may pass data."""


@dataclass(frozen=True, slots=True)
class Association:
    """A station of an access point."""

    info: StationInfo
    joined_s: float
    """Seconds since 1970, as far as the service knows."""
    address: str | None = None
    hostname: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A station that has left."""

    last: Association
    left_s: float


StationEvent = Association | Session


@dataclass
class _Book:
    stations: dict[str, Association] = field(default_factory=dict)
    sessions: deque[Session] = field(default_factory=lambda: deque(maxlen=KEPT_SESSIONS))
    feed: KeyedFeed[str, StationEvent] = field(default_factory=KeyedFeed)
    read_s: float = float("-inf")
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    ticker: asyncio.Task[None] | None = None


LeaseOf = Callable[[str, str], tuple[str, str | None] | None]
"""Interface and hardware address to the address that was leased and the name that was given."""


class StationBook:
    """The stations of all access points, by interface."""

    def __init__(
        self,
        kernel: WirelessKernel,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        lease_of: LeaseOf = lambda _interface, _mac: None,
    ) -> None:
        self._kernel = kernel
        self._clock = clock
        self._monotonic = monotonic
        self._lease_of = lease_of
        self._books: dict[str, _Book] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def on_event(self, interface: str, event: str) -> None:
        """Takes an event of hostapd; what it means for the stations is read from the kernel at once."""
        name, _, rest = event.partition(" ")
        if name == "AP-STA-CONNECTED":
            self._spawn(self._joined(interface, rest.split(" ")[0]))
        elif name in ("ATTACHED", "AP-STA-DISCONNECTED", "AP-DISABLED"):
            self._spawn(self._refresh_quietly(interface))

    def on_departure(self, interface: str, info: StationInfo) -> None:
        """Takes the last counters of a station from the kernel."""
        book = self._books.get(interface)
        present = book.stations.get(info.mac) if book else None
        if book is not None and present is not None:
            book.stations = {**book.stations, info.mac: replace(present, info=info)}
            self._spawn(self._refresh_quietly(interface))

    def on_leases(self, interface: str) -> None:
        """Takes notice that leases have changed: names and addresses of stations may have as well."""
        if interface in self._books:
            self._spawn(self._refresh_quietly(interface))

    def forget(self, interface: str) -> None:
        """Ends the book of an access point that is no more; its watchers finish."""
        book = self._books.pop(interface, None)
        if book is not None:
            book.feed.close()

    async def associations(self, interface: str) -> Mapping[str, Association]:
        """Returns the stations by address, sorted, at most half a second old."""
        book = self._book(interface)
        if self._monotonic() - book.read_s > MAX_AGE_S:
            asked_s = self._monotonic()
            async with book.turn:
                if book.read_s < asked_s:  # Else another caller asked while this one waited.
                    await self._read(interface, book)
        return book.stations

    def sessions(self, interface: str) -> list[Session]:
        """Returns who has left, the latest first."""
        book = self._books.get(interface)
        return list(reversed(book.sessions)) if book else []

    @contextmanager
    def watch(self, interface: str) -> Iterator[KeyedSubscription[str, StationEvent]]:
        """Subscribes to what changes; the counters are read regularly as long as anybody does."""
        book = self._book(interface)
        with book.feed.subscribe() as subscription:
            if book.ticker is None or book.ticker.done():
                book.ticker = asyncio.create_task(self._tick(interface, book))
            yield subscription

    async def close(self) -> None:
        """Ends all streams and tasks."""
        tasks = list(self._tasks)
        for interface in list(self._books):
            book = self._books[interface]
            if book.ticker is not None:
                tasks.append(book.ticker)
            self.forget(interface)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _book(self, interface: str) -> _Book:
        return self._books.setdefault(interface, _Book())

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self, interface: str, book: _Book) -> None:
        while True:
            await asyncio.sleep(STATISTICS_INTERVAL_S)
            if not book.feed.watched:
                return
            await self._refresh_quietly(interface)

    async def _joined(self, interface: str, mac: str) -> None:
        """Reads a station that has joined: of open networks hostapd tells that before it tells the kernel."""
        for delay_s in JOIN_DELAYS_S:
            await asyncio.sleep(delay_s)
            await self._refresh_quietly(interface)
            book = self._books.get(interface)
            station = book.stations.get(mac) if book else None
            if book is None or (station is not None and station.info.flags.authorized is not False):
                return

    async def _refresh_quietly(self, interface: str) -> None:
        book = self._book(interface)
        with contextlib.suppress(DomainError):  # Who asks for the list is told; there is nobody here.
            async with book.turn:
                await self._read(interface, book)

    async def _read(self, interface: str, book: _Book) -> None:
        try:
            present = await self._kernel.stations(interface)
        except DomainError:
            self._replace(interface, book, [])
            raise
        book.read_s = self._monotonic()
        self._replace(interface, book, present)

    def _replace(self, interface: str, book: _Book, present: Collection[StationInfo]) -> None:
        now_s = self._clock()
        before, book.stations = book.stations, {}
        for info in present:
            known = before.pop(info.mac, None)
            joined_s = known.joined_s if known else now_s - (info.connected_s or 0)
            address, hostname = self._lease_of(interface, info.mac) or (None, None)
            association = Association(info, joined_s, address, hostname)
            book.stations[info.mac] = association
            if known is None or _differs(known, association):
                book.feed.publish(info.mac, association)
        for mac, association in before.items():
            session = Session(association, now_s)
            book.sessions.append(session)
            book.feed.publish(mac, session)


def _differs(before: Association, now: Association) -> bool:
    """Tells whether a change is worth a message; times that only pass by are not."""
    if (before.address, before.hostname) != (now.address, now.hostname):
        return True
    old, new = before.info, now.info
    if old.flags != new.flags or (old.rx_bytes, old.tx_bytes) != (new.rx_bytes, new.tx_bytes):
        return True
    return abs((old.signal_dbm or 0) - (new.signal_dbm or 0)) >= SIGNAL_STEP_DB

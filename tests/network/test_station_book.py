"""Who is associated: lists that many share, events for watchers, and a bounded history."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.common.errors import NotFound
from services.common.keyed import KeyedFeed
from services.network.domain import station_book
from services.network.domain.station_book import KEPT_SESSIONS, Association, Session, StationBook
from services.network.domain.stations import StationFlags, StationInfo

A = StationInfo("02:00:00:00:01:00", signal_dbm=-40, rx_bytes=10, tx_bytes=20, connected_s=5)
B = StationInfo("02:00:00:00:02:00", signal_dbm=-50)


class Kernel:
    """Answers with the stations that a test puts there; a kernel cannot be made to fail at will."""

    def __init__(self) -> None:
        self.present: list[StationInfo] = []
        self.asked = 0
        self.gone = False

    async def stations(self, _interface: str) -> list[StationInfo]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.gone:
            raise NotFound("gone", reason="INTERFACE_GONE")
        return list(self.present)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def make(kernel: Any, clock: Clock, **more: Any) -> StationBook:
    return StationBook(kernel, clock, clock, **more)


async def test_many_callers_share_one_question() -> None:
    kernel, clock = Kernel(), Clock()
    book = make(kernel, clock)
    kernel.present = [A]
    lists = await asyncio.gather(*(book.associations("w") for _ in range(20)))
    assert kernel.asked == 1
    assert all(list(found) == [A.mac] for found in lists)
    assert lists[0][A.mac].joined_s == 995
    clock.now_s += 0.4
    await book.associations("w")
    assert kernel.asked == 1
    clock.now_s += 0.2
    kernel.present = []
    assert not await book.associations("w")
    assert kernel.asked == 2


async def test_watchers_hear_who_joins_changes_and_leaves() -> None:
    kernel, clock = Kernel(), Clock()
    leases: dict[str, tuple[str, str | None]] = {}
    book = make(kernel, clock, lease_of=lambda _interface, mac: leases.get(mac))
    with book.watch("w") as subscription:
        batches = subscription.batches(1)
        kernel.present = [A]
        book.on_event("w", f"AP-STA-CONNECTED {A.mac} auth_alg=open")
        (joined,) = await anext(batches)
        assert isinstance(joined, Association)
        assert joined.info == A
        leases[A.mac] = ("192.168.128.10", "ipod")
        book.on_leases("w")
        (named,) = await anext(batches)
        assert isinstance(named, Association)
        assert (named.address, named.hostname) == ("192.168.128.10", "ipod")
        kernel.present = [replace(A, inactive_ms=99, connected_s=7)]
        book.on_event("w", "ATTACHED")
        assert await anext(batches) == []  # Only time went by.
        kernel.present = [replace(A, flags=StationFlags(authorized=True))]
        book.on_event("w", "ATTACHED")
        assert len(await anext(batches)) == 1
        book.on_departure("w", replace(A, rx_bytes=777))
        kernel.present = []
        book.on_event("w", f"AP-STA-DISCONNECTED {A.mac}")
        (left,) = await anext(batches)
        assert isinstance(left, Session)
        assert left.last.info.rx_bytes == 777
        assert left.last.hostname == "ipod"
        assert book.sessions("w") == [left]
    await book.close()


async def test_a_station_that_the_kernel_lets_pass_later_than_hostapd_says_is_told_at_once() -> None:
    kernel, clock = Kernel(), Clock()
    book = make(kernel, clock)
    with book.watch("w") as subscription:
        messages = aiter(subscription.batches(10))
        kernel.present = [replace(A, flags=StationFlags(authorized=False))]
        book.on_event("w", f"AP-STA-CONNECTED {A.mac}")
        async with asyncio.timeout(2):
            told = await anext(messages)
            kernel.present = [replace(A, flags=StationFlags(authorized=True))]
            told += await anext(messages)
    assert [event.info.flags.authorized for event in told if isinstance(event, Association)] == [False, True]
    asked = kernel.asked
    await asyncio.sleep(0.2)
    assert kernel.asked == asked, "it is not asked any more"
    await book.close()


async def test_an_interface_that_goes_takes_its_stations_along() -> None:
    kernel, clock = Kernel(), Clock()
    book = make(kernel, clock)
    kernel.present = [A, B]
    await book.associations("w")
    kernel.gone = True
    clock.now_s += 1
    with pytest.raises(NotFound):
        await book.associations("w")
    assert {session.last.info.mac for session in book.sessions("w")} == {A.mac, B.mac}


async def test_the_history_is_bounded_and_the_latest_come_first() -> None:
    kernel, clock = Kernel(), Clock()
    book = make(kernel, clock)
    for number in range(KEPT_SESSIONS + 5):
        kernel.present = [replace(A, mac=f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}")]
        clock.now_s += 1
        await book.associations("w")
    sessions = book.sessions("w")
    assert len(sessions) == KEPT_SESSIONS
    assert sessions[0].left_s > sessions[-1].left_s


async def test_counters_are_read_only_while_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_book, "STATISTICS_INTERVAL_S", 0.01)
    kernel, clock = Kernel(), Clock()
    book = make(kernel, clock)
    with book.watch("w"):
        await asyncio.sleep(0.1)
        assert kernel.asked > 2
    await asyncio.sleep(0.05)
    asked = kernel.asked
    await asyncio.sleep(0.05)
    assert kernel.asked == asked
    await book.close()


async def test_streams_end_when_the_network_is_no_more() -> None:
    book = make(Kernel(), Clock())
    with book.watch("w") as subscription:
        book.forget("w")
        assert [batch async for batch in subscription.batches(1)] == []
    await book.close()


async def test_a_reader_that_lags_gets_the_newest_state_of_each_key() -> None:
    feed: KeyedFeed[str, int] = KeyedFeed()
    with feed.subscribe() as subscription:
        for number in range(5):
            feed.publish("a", number)
        feed.publish("b", 7)
        batches = subscription.batches(0.01)
        assert await anext(batches) == [4, 7]
        assert subscription.take_dropped() == 4
        assert subscription.take_dropped() == 0
        assert await anext(batches) == []
        feed.close()
        with pytest.raises(StopAsyncIteration):
            await anext(batches)
    assert not feed.watched

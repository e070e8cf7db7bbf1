"""A slow reader loses the oldest items, is told how many, and slows nobody."""

import asyncio
from collections.abc import AsyncIterator

from services.common.feed import Feed, Subscription

LONG_S = 60.0


def reading(subscription: Subscription[int], idle_s: float = LONG_S) -> AsyncIterator[list[int]]:
    return subscription.batches(idle_s)


async def test_every_subscriber_gets_every_item() -> None:
    feed: Feed[int] = Feed()
    with feed.subscribe(10) as one, feed.subscribe(10) as other:
        for number in range(3):
            feed.publish(number)
        assert await anext(reading(one)) == [0, 1, 2]
        assert await anext(reading(other)) == [0, 1, 2]


async def test_what_was_published_before_is_not_seen() -> None:
    feed: Feed[int] = Feed()
    feed.publish(1)
    with feed.subscribe(10) as subscription:
        feed.publish(2)
        assert await anext(reading(subscription)) == [2]


async def test_the_oldest_items_go_and_are_counted_once() -> None:
    feed: Feed[int] = Feed()
    with feed.subscribe(2) as slow, feed.subscribe(10) as fast:
        for number in range(5):
            feed.publish(number)
        assert await anext(reading(slow)) == [3, 4]
        assert (slow.take_dropped(), slow.take_dropped(), fast.take_dropped()) == (3, 0, 0)


async def test_a_waiting_reader_wakes() -> None:
    feed: Feed[int] = Feed()
    with feed.subscribe(10) as subscription:
        waiting = asyncio.ensure_future(anext(reading(subscription)))
        await asyncio.sleep(0)
        assert not waiting.done()
        feed.publish(1)
        assert await waiting == [1]


async def test_silence_yields_an_empty_batch() -> None:
    feed: Feed[int] = Feed()
    with feed.subscribe(10) as subscription:
        batches = reading(subscription, idle_s=0.001)
        assert await anext(batches) == []
        feed.publish(1)
        assert await anext(batches) == [1]


async def test_the_end_comes_after_the_items_that_wait() -> None:
    feed: Feed[int] = Feed()
    with feed.subscribe(10) as subscription:
        feed.publish(1)
        feed.close()
        assert [batch async for batch in reading(subscription)] == [[1]]


async def test_the_end_wakes_a_waiting_reader() -> None:
    feed: Feed[int] = Feed()
    with feed.subscribe(10) as subscription:

        async def read_all() -> list[list[int]]:
            return [batch async for batch in reading(subscription)]

        waiting = asyncio.ensure_future(read_all())
        await asyncio.sleep(0)
        feed.close()
        assert await waiting == []


async def test_a_reader_that_left_is_forgotten() -> None:
    feed: Feed[int] = Feed()
    with feed.subscribe(1) as subscription:
        pass
    feed.publish(1)
    feed.publish(2)
    assert subscription.take_dropped() == 0

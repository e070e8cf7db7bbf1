"""Fan-out to many readers without letting a slow one hold up the source."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Subscription(Generic[T]):
    """One reader's bounded view of a feed; the oldest items go first when it lags."""

    def __init__(self, depth: int) -> None:
        self._items: deque[T] = deque(maxlen=depth)
        self._ready = asyncio.Event()
        self._dropped = 0
        self._closed = False

    def push(self, item: T) -> None:
        """Adds an item, at the cost of the oldest one if the reader lags."""
        if len(self._items) == self._items.maxlen:
            self._dropped += 1
        self._items.append(item)
        self._ready.set()

    def close(self) -> None:
        """Lets the reader finish after the items that wait."""
        self._closed = True
        self._ready.set()

    def take_dropped(self) -> int:
        """Returns how many items were lost since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def batches(self, idle_s: float) -> AsyncIterator[list[T]]:
        """Yields what waits, as soon as something does; an empty list after `idle_s` without anything."""
        while True:
            if not self._items:
                if self._closed:
                    return
                self._ready.clear()
                try:
                    async with asyncio.timeout(idle_s):
                        await self._ready.wait()
                except TimeoutError:
                    yield []
                    continue
            items = list(self._items)
            self._items.clear()
            if items:
                yield items


class Feed(Generic[T]):
    """Gives every subscriber each item that is published while it subscribes."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription[T]] = set()

    @contextmanager
    def subscribe(self, depth: int) -> Iterator[Subscription[T]]:
        """Subscribes for the time of the context."""
        subscription: Subscription[T] = Subscription(depth)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, item: T) -> None:
        """Hands an item to all subscribers."""
        for subscription in self._subscriptions:
            subscription.push(item)

    def close(self) -> None:
        """Lets all subscribers finish."""
        for subscription in self._subscriptions:
            subscription.close()

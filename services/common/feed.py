"""Fan-out to many readers without letting a slow one hold up the source."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Reader(ABC, Generic[T]):
    """What one reader has not taken yet; what it loses when it lags is up to the kind of feed."""

    def __init__(self) -> None:
        self._ready = asyncio.Event()
        self._dropped = 0
        self._closed = False

    @abstractmethod
    def _take(self) -> list[T]:
        """Takes out all that waits."""

    def close(self) -> None:
        """Lets the reader finish after what waits."""
        self._closed = True
        self._ready.set()

    def take_dropped(self) -> int:
        """Returns how much was lost since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def batches(self, idle_s: float) -> AsyncIterator[list[T]]:
        """Yields what waits, as soon as something does; an empty list after `idle_s` without anything."""
        while True:
            if items := self._take():
                yield items
                continue
            if self._closed:
                return
            self._ready.clear()
            try:
                async with asyncio.timeout(idle_s):
                    await self._ready.wait()
            except TimeoutError:
                yield []


R = TypeVar("R", bound=Reader[Any])


class Readers(Generic[R]):
    """Those who read a feed now."""

    def __init__(self) -> None:
        self._readers: set[R] = set()

    @property
    def watched(self) -> bool:
        """Whether anybody reads."""
        return bool(self._readers)

    @contextmanager
    def _joined(self, reader: R) -> Iterator[R]:
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def close(self) -> None:
        """Lets all readers finish."""
        for reader in self._readers:
            reader.close()


class Subscription(Reader[T]):
    """One reader's bounded view of a feed; the oldest items go first when it lags."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self._items: deque[T] = deque(maxlen=depth)

    def push(self, item: T) -> None:
        """Adds an item, at the cost of the oldest one if the reader lags."""
        if len(self._items) == self._items.maxlen:
            self._dropped += 1
        self._items.append(item)
        self._ready.set()

    def _take(self) -> list[T]:
        items = list(self._items)
        self._items.clear()
        return items


class Feed(Readers[Subscription[T]], Generic[T]):
    """Gives every subscriber each item that is published while it subscribes."""

    @contextmanager
    def subscribe(self, depth: int) -> Iterator[Subscription[T]]:
        """Subscribes for the time of the context."""
        with self._joined(Subscription(depth)) as subscription:
            yield subscription

    def publish(self, item: T) -> None:
        """Hands an item to all subscribers."""
        for subscription in self._readers:
            subscription.push(item)

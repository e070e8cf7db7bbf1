"""Fan-out of states: a reader that lags gets the newest state of each key and holds nobody up."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class KeyedSubscription(Generic[K, T]):
    """What one reader has not taken yet: at most one state for each key."""

    def __init__(self) -> None:
        self._waiting: dict[K, T] = {}
        self._ready = asyncio.Event()
        self._dropped = 0
        self._closed = False

    def push(self, key: K, state: T) -> None:
        """Adds a state; one of the same key that was not taken is replaced."""
        if self._waiting.pop(key, None) is not None:
            self._dropped += 1
        self._waiting[key] = state
        self._ready.set()

    def close(self) -> None:
        """Lets the reader finish after what waits."""
        self._closed = True
        self._ready.set()

    def take_dropped(self) -> int:
        """Returns how many states were replaced since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def batches(self, idle_s: float) -> AsyncIterator[list[T]]:
        """Yields what waits, as soon as something does; an empty list after `idle_s` without anything."""
        while True:
            if not self._waiting:
                if self._closed:
                    return
                self._ready.clear()
                try:
                    async with asyncio.timeout(idle_s):
                        await self._ready.wait()
                except TimeoutError:
                    yield []
                    continue
            states = list(self._waiting.values())
            self._waiting.clear()
            if states:
                yield states


class KeyedFeed(Generic[K, T]):
    """Gives every subscriber each state that is published while it subscribes."""

    def __init__(self) -> None:
        self._subscriptions: set[KeyedSubscription[K, T]] = set()

    @property
    def watched(self) -> bool:
        """Whether anybody subscribes now."""
        return bool(self._subscriptions)

    @contextmanager
    def subscribe(self) -> Iterator[KeyedSubscription[K, T]]:
        """Subscribes for the time of the context."""
        subscription: KeyedSubscription[K, T] = KeyedSubscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, key: K, state: T) -> None:
        """Hands a state to all subscribers."""
        for subscription in self._subscriptions:
            subscription.push(key, state)

    def close(self) -> None:
        """Lets all subscribers finish."""
        for subscription in self._subscriptions:
            subscription.close()

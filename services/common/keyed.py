"""Fan-out of states: a reader that lags gets the newest state of each key and holds nobody up."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from services.common.feed import Reader, Readers

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class KeyedSubscription(Reader[T], Generic[K, T]):
    """What one reader has not taken yet: at most one state for each key."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[K, T] = {}

    def push(self, key: K, state: T) -> None:
        """Adds a state; one of the same key that was not taken is replaced."""
        if self._waiting.pop(key, None) is not None:
            self._dropped += 1
        self._waiting[key] = state
        self._ready.set()

    def _take(self) -> list[T]:
        states = list(self._waiting.values())
        self._waiting.clear()
        return states


class KeyedFeed(Readers[KeyedSubscription[K, T]], Generic[K, T]):
    """Gives every subscriber each state that is published while it subscribes."""

    @contextmanager
    def subscribe(self) -> Iterator[KeyedSubscription[K, T]]:
        """Subscribes for the time of the context."""
        subscription: KeyedSubscription[K, T] = KeyedSubscription()
        with self._joined(subscription):
            yield subscription

    def publish(self, key: K, state: T) -> None:
        """Hands a state to all subscribers."""
        for subscription in self._readers:
            subscription.push(key, state)

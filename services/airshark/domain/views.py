"""Views of the samples that many readers share: each is worked out and written once, whatever the number of
readers.

A reader has a queue of its own. One that lags loses the oldest messages and is told how many.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.reader import Item
from services.common.feed import Feed, Subscription


class View(Protocol):
    """Makes messages of items."""

    def messages(self, item: Item) -> list[bytes]:
        """Returns the messages that an item completes, written out."""


class _Shared:
    """One view and its readers."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.feed: Feed[bytes] = Feed()
        self.readers = 0
        self.until_left = ExitStack()

    def take(self, item: Item) -> None:
        for message in self._view.messages(item):
            self.feed.publish(message)


class Views:
    """All views that somebody reads now."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._shared: dict[Hashable, _Shared] = {}

    @contextmanager
    def reading(self, key: Hashable, make: Callable[[], View], depth: int) -> Iterator[Subscription[bytes]]:
        """Yields what a view has for one reader; readers with the same key share the view."""
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _Shared(make())
            shared.until_left.enter_context(self._pipeline.consuming(shared))
        shared.readers += 1
        try:
            with shared.feed.subscribe(depth) as subscription:
                yield subscription
        finally:
            shared.readers -= 1
            if not shared.readers:
                del self._shared[key]
                shared.until_left.close()

    def tell(self, key: Hashable, message: bytes) -> None:
        """Gives a message that comes from elsewhere to the readers of a view, if there are any."""
        shared = self._shared.get(key)
        if shared is not None:
            shared.feed.publish(message)

    def close(self) -> None:
        """Lets all readers finish."""
        for shared in self._shared.values():
            shared.feed.close()

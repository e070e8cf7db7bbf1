"""The messages of a change: kept in bounds, and handed to whoever watches."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from services.chutes.domain.journalport import Line
from services.common.feed import Feed, Subscription

MAX_LINES = 2000
MAX_LINE_CHARACTERS = 2000
WATCHER_DEPTH = 500


class Progress:
    """Takes the messages of one change while it has not ended; the oldest go when there are too many."""

    def __init__(self, lines: Sequence[Line] = (), clock: Callable[[], float] = time.time) -> None:
        self._lines: deque[Line] = deque(lines, maxlen=MAX_LINES)
        self._feed: Feed[Line] = Feed()
        self._clock = clock
        self._unsaved: deque[Line] = deque(maxlen=MAX_LINES)

    @property
    def lines(self) -> Sequence[Line]:
        """The messages that are kept, oldest first."""
        return tuple(self._lines)

    def say(self, message: str) -> None:
        """Adds a message."""
        line = (self._clock(), message[:MAX_LINE_CHARACTERS])
        self._lines.append(line)
        self._unsaved.append(line)
        self._feed.publish(line)

    def take_unsaved(self) -> Sequence[Line]:
        """Returns the messages since the last call; they are written with the next step, not one by one."""
        lines = tuple(self._unsaved)
        self._unsaved.clear()
        return lines

    @contextmanager
    def watch(self) -> Iterator[tuple[Sequence[Line], Subscription[Line]]]:
        """Gives the messages so far and the ones from now on."""
        with self._feed.subscribe(WATCHER_DEPTH) as subscription:
            yield self.lines, subscription

    def close(self) -> None:
        """Lets the watchers finish: the change has ended."""
        self._feed.close()

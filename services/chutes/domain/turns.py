"""Lets changes of different chutes run side by side, and some changes of the node alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Overtaken(Exception):
    """Somebody ran alone while somebody else was set aside; what that one has seen may hold no more."""


class Turns:
    """Who runs. While somebody waits to run alone nobody else begins, so that the wait has an end."""

    def __init__(self) -> None:
        self._running = 0
        self._alone = False
        self._waiting_alone = 0
        self._times_alone = 0
        self._freed = asyncio.Event()

    async def take(self, alone: bool, on_wait: Callable[[], None]) -> None:
        """Waits for a turn; `on_wait` is called if it is not free at once."""
        if self._free(alone):
            self._begin(alone)
            return
        on_wait()
        self._waiting_alone += alone
        try:
            while not self._free(alone):
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._waiting_alone -= alone
            self._freed.set()
        self._begin(alone)

    def _free(self, alone: bool) -> bool:
        return self._running == 0 if alone else not (self._alone or self._waiting_alone)

    def _begin(self, alone: bool) -> None:
        self._running += 1
        self._alone = alone
        self._times_alone += alone

    def release(self) -> None:
        """Gives a turn back."""
        self._running -= 1
        self._alone = False
        self._freed.set()

    @asynccontextmanager
    async def set_aside(self, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Lets others run for the time of the context; raises Overtaken if one of them ran alone."""
        times_alone = self._times_alone
        self.release()
        try:
            yield
        finally:
            try:
                await self.take(False, on_wait)
            except BaseException:
                self._running += 1  # Whoever ends now gives back a turn.
                raise
        if self._times_alone != times_alone:
            raise Overtaken

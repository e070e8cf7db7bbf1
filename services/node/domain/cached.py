"""Work that is done once for everybody who asks within a short time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """Keeps one result for `max_age_s`; callers at the same time share one piece of work."""

    def __init__(self, work: Callable[[], Awaitable[T]], max_age_s: float) -> None:
        self._work = work
        self._max_age_s = max_age_s
        self._lock = asyncio.Lock()
        self._result: T | None = None
        self._made_s = float("-inf")

    async def get(self, max_age_s: float | None = None) -> T:
        """Returns the result, at most `max_age_s` old; by default as old as it may be for anybody."""
        age_s = self._max_age_s if max_age_s is None else max_age_s
        if self._result is None or time.monotonic() - self._made_s > age_s:
            async with self._lock:
                if self._result is None or time.monotonic() - self._made_s > age_s:
                    self._result = await self._work()
                    self._made_s = time.monotonic()
        return self._result

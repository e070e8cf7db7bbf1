"""Lets work that must not stop half-way go on when its caller is gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Returns what the work returns; a caller that is cancelled meanwhile does not stop it."""
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return await asyncio.shield(task)

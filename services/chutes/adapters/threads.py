"""Work in threads that has made something by the time it is given up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")


async def to_its_end(
    work: Callable[..., Result],
    *arguments: Any,
    on_cancel: Callable[[], None] = lambda: None,
    threads: Executor | None = None,
) -> Result:
    """Works in a thread; a caller who is cancelled waits for its end, so that what it made can be removed."""
    future = asyncio.get_running_loop().run_in_executor(threads, partial(work, *arguments))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        on_cancel()
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # Nobody wants to know it any more.
        raise

"""From the first signal to the end of the process."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

FORCED_STATUS = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_signal(
    work: Coroutine[Any, Any, None], on_stop: Callable[[], None], on_force: Callable[[], None]
) -> None:
    """Runs `work` and cancels it at the first signal; a second one ends the process on the spot."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    stopping = False

    def handle() -> None:
        nonlocal stopping
        if stopping:
            on_force()
            os._exit(FORCED_STATUS)
        stopping = True
        on_stop()
        task.cancel()

    for number in SIGNALS:
        # Started with nohup, a node stays when the terminal goes.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, handle)
    try:
        await task
    except asyncio.CancelledError:
        if not stopping:
            raise

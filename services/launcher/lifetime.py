"""From the first signal to the end of the process."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

FORCED_STATUS = 130
ECHO_S = 0.5
"""A signal to a process group also comes from whoever started us, such as make; that is no second one."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_signal(
    work: Coroutine[Any, Any, None], on_stop: Callable[[], None], on_force: Callable[[], None]
) -> None:
    """Runs `work` and cancels it at the first signal; a second one ends the process on the spot."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    stopping_since_s: float | None = None

    def handle() -> None:
        nonlocal stopping_since_s
        if stopping_since_s is None:
            stopping_since_s = loop.time()
            on_stop()
            task.cancel()
        elif loop.time() - stopping_since_s > ECHO_S:
            on_force()
            os._exit(FORCED_STATUS)

    for number in SIGNALS:
        # Started with nohup, a node stays when the terminal goes.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, handle)
    try:
        await task
    except asyncio.CancelledError:
        if stopping_since_s is None:
            raise

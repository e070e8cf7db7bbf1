"""Runs an asyncio server beside a test that blocks, as the processes of most controllers do."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30


@contextmanager
def run_in_thread(running: AbstractAsyncContextManager[Any], address: str) -> Iterator[str]:
    """Enters `running` in an event loop of its own thread and yields the address where it then serves.

    What goes wrong while it starts or stops is raised here:

        with run_in_thread(app.running(settings), settings.addresses["auth"]) as address:
            with grpc.insecure_channel(address) as channel:
                ...
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="aio-server", daemon=True)
    thread.start()
    started: Future[None] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with running:
            started.set_result(None)
            await stop.wait()

    served = asyncio.run_coroutine_threadsafe(serve(), loop)
    served.add_done_callback(lambda done: _pass_on(done, started))
    try:
        started.result(START_TIMEOUT_S)
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        wait([served], STOP_TIMEOUT_S)
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(STOP_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_TIMEOUT_S)
        loop.close()
    served.result(0)


def _pass_on(served: Future[None], started: Future[None]) -> None:
    """Lets whoever waits for the start see why there was none."""
    if not started.done() and (error := served.exception()):
        started.set_exception(error)

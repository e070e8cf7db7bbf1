"""Long answers of the engine, read by a thread and handed to the event loop without piling up."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Generic, TypeVar

import docker
import requests
from docker.types import CancellableStream

from services.chutes.adapters.docker_client import ENGINE_FAILURES, EngineConnection

T = TypeVar("T")

THREAD_END_S = 5.0


class StreamingCall:
    """One streaming call on a client of its own, which can be broken off from another thread."""

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._response: requests.Response | None = None
        self.aborted = False

    @contextmanager
    def open(self) -> Iterator[docker.APIClient]:
        """Lends the client to make the call with; blocking."""
        client = self._connection.own_client()
        # The SDK hands out generators that cannot be interrupted; the response under them can.
        client.hooks["response"].append(self._opened)
        try:
            yield client
        finally:
            if self._response is not None:
                self._response.close()
            client.close()

    def _opened(self, response: requests.Response, *, stream: bool = False, **_: Any) -> None:
        if not stream:
            return
        self._response = response
        if self.aborted:
            self.abort()

    def abort(self) -> None:
        """Closes the connection; a thread that waits on it ends at once."""
        self.aborted = True
        response = self._response
        if response is not None:
            # The answer may end by itself at the same moment.
            with suppress(AttributeError, OSError, ValueError):
                CancellableStream(iter(()), response).close()


class Aborted(Exception):
    """Nobody reads any more."""


class Conveyor(Generic[T]):
    """Takes items from one thread into the event loop; the thread waits while `depth` of them lie there."""

    def __init__(self, depth: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(depth)
        self._arriving = threading.Lock()
        self._arrived: list[T] = []
        self._items: list[T] = []
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._closed = False
        self.ended = asyncio.Event()

    def put(self, item: T) -> None:
        """Hands over an item; called in the thread."""
        self._room.acquire()
        if self._closed:
            raise Aborted
        with self._arriving:
            self._arrived.append(item)
            is_first = len(self._arrived) == 1
        if is_first:  # The loop takes all that have come by the time it gets there.
            self._loop.call_soon_threadsafe(self._take)

    def run(self, produce: Callable[[Callable[[T], None]], None]) -> None:
        """Is the body of the thread."""
        error: Exception | None = None
        try:
            produce(self.put)
        except Aborted:
            pass
        except Exception as raised:  # It belongs to whoever reads.
            error = raised
        # After the loop is closed nobody reads.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, error)

    def close(self) -> None:
        """Lets the thread go when it next hands something over."""
        self._closed = True
        self._room.release()

    def interrupt(self, error: Exception) -> None:
        """Ends the reader with an error, whatever the thread does."""
        self._error = self._error or error
        self._news.set()

    def _take(self) -> None:
        with self._arriving:
            arrived, self._arrived = self._arrived, []
        self._items += arrived
        self._news.set()

    def _end(self, error: Exception | None) -> None:
        self._error = self._error or error
        self.ended.set()
        self._news.set()

    async def batches(self) -> AsyncIterator[list[T]]:
        """Yields what has come, as soon as something has.

        Raises what ended the thread, after everything that came before it.
        """
        while (batch := await self.batch()) is not None:
            yield batch

    async def batch(self, idle_s: float | None = None) -> list[T] | None:
        """Returns what has come; nothing after `idle_s` without anything; None at the end."""
        if not self._items and self._error is None and not self.ended.is_set():
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(idle_s):
                    await self._news.wait()
        items, self._items = self._items, []
        if items:
            self._room.release(len(items))
        elif self._error is not None:
            raise self._error
        elif self.ended.is_set():
            return None
        return items


@asynccontextmanager
async def conveyed(
    connection: EngineConnection,
    produce: Callable[[StreamingCall, Callable[[T], None]], None],
    name: str,
    depth: int,
) -> AsyncIterator[Conveyor[T]]:
    """Runs `produce(call, put)` in a thread of its own for the time of the context.

    At the end the connection is broken off and the thread is gone.
    """
    call = StreamingCall(connection)
    conveyor: Conveyor[T] = Conveyor(depth)

    def work(put: Callable[[T], None]) -> None:
        try:
            produce(call, put)
        except ENGINE_FAILURES as error:
            if not call.aborted:
                raise connection.translated(error) from error

    threading.Thread(target=conveyor.run, args=(work,), name=f"engine-{name}", daemon=True).start()
    try:
        yield conveyor
    finally:
        conveyor.close()
        call.abort()
        # A thread that still waits for the engine's first answer cannot be woken; it ends by its time limit.
        with suppress(TimeoutError):
            async with asyncio.timeout(THREAD_END_S):
                await conveyor.ended.wait()

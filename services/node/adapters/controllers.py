"""Keeps the connection to whichever controller the node belongs to now."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import grpc
import structlog

from services.common.errors import DomainError, Unavailable
from services.node.adapters.observer import NodeObserver
from services.node.domain.provision import Provision, Provisioning
from services.node.domain.trouble import Trouble

log = structlog.get_logger()

RESTART_S = 5.0
FAREWELL_S = 3.0
WAIT_S = 6.0
"""How long a caller waits for the first connection."""


class Connection(Protocol):
    """One way to be connected to one controller."""

    @property
    def up(self) -> asyncio.Event:
        """Set while it stands."""

    @property
    def trouble(self) -> Trouble | None:
        """Why it does not, as far as is known."""

    async def run(self) -> None:
        """Keeps the connection for good."""

    async def poll(self, timeout_s: float) -> None:
        """Asks the controller now; raises Unavailable if it does not answer in time."""


class Controllers:
    """`services.node.domain.provision.Controller`: a connection, and what watches the node for it."""

    def __init__(self, connect: Callable[[Provision], Connection], observer: NodeObserver) -> None:
        self._connect = connect
        self._observer = observer
        self._connection: Connection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._connection is not None and self._connection.up.is_set()

    @property
    def trouble(self) -> Trouble | None:
        """Why there is no connection, as far as is known."""
        return None if self._connection is None or self.connected else self._connection.trouble

    @asynccontextmanager
    async def running(self, provisioning: Provisioning) -> AsyncIterator[None]:
        """Keeps the connection for the time of the context."""
        self._start(provisioning.present)
        watching = asyncio.create_task(self._watch_resets(provisioning), name="factory resets")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._stop()

    async def _watch_resets(self, provisioning: Provisioning) -> None:
        """Unties the node when it was set back after it had been tied; also if it went down in between."""
        while True:
            await self._observer.reset.wait()
            self._observer.reset.clear()
            present = provisioning.present
            if present.provisioned and self._observer.reset_s > present.since_s:
                # The controller may learn of it first.
                await asyncio.sleep(FAREWELL_S)
                await provisioning.forget()

    async def provisioned(self, provision: Provision) -> None:
        """Turns to another controller and waits for the connection, but not for long."""
        await self._stop()
        with suppress(grpc.aio.AioRpcError, DomainError):
            await self._observer.begin()
        self._start(provision)
        if self._connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    await self._connection.up.wait()

    async def poll(self) -> None:
        """Asks the controller at once whether there are changes."""
        if self._connection is None:
            raise Unavailable("There is no connection to a controller.", reason="CONTROLLER_UNREACHABLE")
        await self._connection.poll(WAIT_S)

    def _start(self, provision: Provision) -> None:
        if not provision.provisioned:
            return
        self._connection = self._connect(provision)
        self._tasks = [
            asyncio.create_task(_kept_up(self._connection.run), name="controller"),
            asyncio.create_task(_kept_up(self._observer.run), name="node observer"),
        ]

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self._connection = [], None


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    """Does work for good: a fault in it must not cut the node off from its controller."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("the work for the controller failed and begins anew")
        await asyncio.sleep(RESTART_S)

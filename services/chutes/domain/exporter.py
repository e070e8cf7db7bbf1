"""Takes chutes out of the node as archives."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

import structlog

from services.chutes.domain.access import require_access
from services.chutes.domain.chute import Actor, Chute
from services.chutes.domain.errors import chute_changed, files_not_kept
from services.chutes.domain.ports import Engine, Packer
from services.chutes.domain.registry import Registry
from services.common.errors import DeadlineExceeded, DomainError, ResourceExhausted
from services.common.identity import Principal

MAX_PARALLEL = 2
MAX_STALL_S = 20.0
"""For how long a chute stays paused for a reader who takes nothing."""

log = structlog.get_logger()


class Exporter:
    """Makes archives for those who may have them, a few at a time."""

    def __init__(self, engine: Engine, registry: Registry, packer: Packer) -> None:
        self._engine = engine
        self._registry = registry
        self._packer = packer
        self._active = 0

    async def export(
        self, name: str, principal: Principal, pause: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Yields the archive of a chute in pieces; with `pause` its containers stand still for the data."""
        chute = self._registry.find(name)
        require_access(name, chute.owner, Actor.of(principal))
        if not chute.sources and any(service.type != "image" for service in chute.spec.services.values()):
            raise files_not_kept(name)
        if self._active >= MAX_PARALLEL:
            raise ResourceExhausted(
                f"{MAX_PARALLEL} chutes are being exported already; try again when one has ended.",
                reason="TOO_MANY_EXPORTS",
                retry_after_s=10,
                limit=str(MAX_PARALLEL),
            )
        self._active += 1
        try:
            reading = _Reading(self._engine, self._registry, chute)
            pieces = self._packer.pack(chute, reading.data(pause))
            async with aclosing(pieces):
                async for piece in pieces:
                    reading.moved()
                    yield piece
                    reading.moved()
        finally:
            self._active -= 1


class _Reading:
    """One export while it reads the data of its chute."""

    def __init__(self, engine: Engine, registry: Registry, chute: Chute) -> None:
        self._engine = engine
        self._registry = registry
        self._chute = chute
        self._moved = asyncio.Event()
        self._stalled = False

    def moved(self) -> None:
        """Notes that the reader takes what it gets, or raises that it was given up."""
        self._moved.set()
        if self._stalled:
            raise DeadlineExceeded(
                f"The reader took nothing for {MAX_STALL_S:.0f} seconds while the chute was paused for it; "
                "export it again without pause, or over a faster connection.",
                reason="EXPORT_STALLED",
            )

    @asynccontextmanager
    async def data(self, pause: bool) -> AsyncIterator[None]:
        """Is entered while data is read; raises at its end if that may not be the data of the chute."""
        if pause:
            async with self._paused():
                yield
        else:
            yield
        self._require_unchanged()

    def _require_unchanged(self) -> None:
        before, now = self._chute, self._registry.installed.get(self._chute.name)
        # It may have been stopped or started.
        if now is None or (now.spec, now.images, now.sources) != (before.spec, before.images, before.sources):
            raise chute_changed(before.name)

    @asynccontextmanager
    async def _paused(self) -> AsyncIterator[None]:
        name = self._chute.name
        if name in self._registry.paused:
            raise ResourceExhausted(
                f"Chute {name} is paused for another export already; try again when that has ended.",
                reason="TOO_MANY_EXPORTS",
                retry_after_s=10,
            )
        self._registry.paused.add(name)
        watching: asyncio.Task[None] | None = None
        try:
            for container in self._chute.containers.values():
                await self._engine.pause_container(container)
            watching = asyncio.create_task(self._watch())
            yield
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.wait([watching])
            # Whoever waits may be cancelled; the chute goes on all the same.
            await asyncio.shield(asyncio.create_task(self._resume()))

    async def _watch(self) -> None:
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(MAX_STALL_S):
                    await self._moved.wait()
                self._moved.clear()
        self._stalled = True
        await self._resume()

    async def _resume(self) -> None:
        for container in self._chute.containers.values():
            try:
                await self._engine.resume_container(container)
            except DomainError as error:
                # What stays paused is not what should run, and is made anew like what has fallen.
                log.warning("cannot let a container go on", container=container, error=str(error))
        self._registry.paused.discard(self._chute.name)

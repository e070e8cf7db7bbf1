"""Runs a whole node in one process, with Envoy beside it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from services.common.settings import SERVICES, Settings
from services.common.tracing import exporting
from services.launcher import parts
from services.launcher.banner import Banner
from services.launcher.engine import EngineKeeper
from services.launcher.envoy import EnvoyKeeper
from services.launcher.errors import StartError, explain
from services.launcher.health import gateway_health
from services.launcher.lifetime import until_signal
from services.launcher.lock import locked
from services.launcher.memory import bound_heap, give_back
from services.launcher.ports import check_port

log = structlog.get_logger()

HEALTH_TIMEOUT_S = 10.0
HEALTH_POLL_INTERVAL_S = 0.02

Say = Callable[[str], None]


class Node:
    """All parts of a node in this process."""

    def __init__(self, settings: Settings, *, ensure_engine: bool, say: Say, began_s: float) -> None:
        self._settings = settings
        self._say = say
        self._began_s = began_s
        self._degraded: dict[str, str] = {}
        self._engine = EngineKeeper(settings, ensure=ensure_engine, say=say)

    async def run(self) -> None:
        """Runs until cancelled; raises `StartError` when an indispensable part cannot start."""
        await asyncio.to_thread(check_port, self._settings)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, _remove_sockets, self._settings.runtime)
            stack.push_async_callback(self._engine.stop)
            async with asyncio.TaskGroup() as preparing:
                preparing.create_task(self._engine.prepare())
                preparing.create_task(asyncio.to_thread(parts.load, *parts.PARTS))
            for part in (*SERVICES, "bridge"):
                await self._enter(stack, part)
            await self._serve()

    async def _enter(self, stack: AsyncExitStack, part: str) -> None:
        try:
            await stack.enter_async_context(parts.running(part, self._settings))
        except Exception as error:
            log.debug("a part does not start", part=part, exc_info=True)
            if part not in parts.DISPENSABLE:
                raise StartError(f"{part} does not start: {explain(error)}") from error
            self._degraded[part] = f"does not start: {explain(error)}"
        else:
            log.debug("started", part=part, after_s=round(time.monotonic() - self._began_s, 3))

    async def _serve(self) -> None:
        envoy = EnvoyKeeper(self._settings)
        keeping = asyncio.create_task(envoy.keep())
        try:
            ready = asyncio.create_task(envoy.ready.wait())
            await asyncio.wait((keeping, ready), return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if keeping.done():
                raise StartError(f"{parts.GATEWAY} does not start: {explain(keeping.exception())}")  # type: ignore[arg-type]
            log.debug("started", part=parts.GATEWAY, after_s=round(time.monotonic() - self._began_s, 3))
            await self._until_healthy()
            await self._announce()
            await asyncio.to_thread(give_back)
            await keeping
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _until_healthy(self) -> None:
        deadline = time.monotonic() + HEALTH_TIMEOUT_S
        while True:
            health = await asyncio.to_thread(gateway_health, self._settings)
            if health.answered or time.monotonic() > deadline:
                break
            await asyncio.sleep(HEALTH_POLL_INTERVAL_S)
        if health.problem and not self._degraded:
            # Else it repeats what is known already.
            self._degraded[parts.GATEWAY] = health.problem

    async def _announce(self) -> None:
        banner = Banner(
            settings=self._settings,
            engine=self._engine.report,
            engine_is_own=self._engine.is_own,
            degraded=self._degraded,
            start_s=time.monotonic() - self._began_s,
        )
        self._say(await asyncio.to_thread(banner.text))

    def abandon(self) -> None:
        """Lets go of everything at once; Envoy ends with this process."""
        self._engine.abandon()


def _remove_sockets(runtime: Path) -> None:
    # Envoy and the bridge leave theirs behind.
    for socket_file in runtime.glob("*.sock"):
        socket_file.unlink(missing_ok=True)


async def run_node(settings: Settings, *, ensure_engine: bool, say: Say, began_s: float) -> None:
    """Runs a node until a signal ends it."""
    bound_heap()
    await asyncio.to_thread(settings.prepare)
    with locked(settings.home):
        node = Node(settings, ensure_engine=ensure_engine, say=say, began_s=began_s)
        async with exporting(settings.otlp_endpoint):
            await until_signal(node.run(), lambda: say("Stopping; once more to stop at once."), node.abandon)

"""Keeps Envoy running."""

import asyncio
import time

import structlog

from services.common.settings import Settings
from services.launcher import parts
from services.launcher.errors import explain
from services.launcher.memory import SETTLED_S, give_back, page_out, unmap_code

log = structlog.get_logger()

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 10.0
STABLE_S = 30.0
"""After this long a new failure is a new story, and Envoy is started again at once."""


class EnvoyKeeper:
    """Runs Envoy, and starts it again when it ends on its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ready = asyncio.Event()
        """Set once Envoy has answered for the first time."""

    async def keep(self) -> None:
        """Runs Envoy until cancelled; raises only if its first start fails."""
        delay_s = FIRST_DELAY_S
        while True:
            began = time.monotonic()
            try:
                await self._run_once()
            except Exception as error:
                if not self.ready.is_set():
                    raise
                log.error("Envoy does not start", why=explain(error), next_try_in_s=delay_s)
            if time.monotonic() - began > STABLE_S:
                delay_s = FIRST_DELAY_S
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, MAX_DELAY_S)

    async def _run_once(self) -> None:
        async with parts.running(parts.GATEWAY, self._settings) as envoy:
            self.ready.set()
            settling = asyncio.create_task(_when_settled(envoy.pid))
            try:
                status = await envoy.wait()
            finally:
                settling.cancel()
            log.error("Envoy ended and is started again", status=status, last_lines=envoy.last_lines[-3:])


async def _when_settled(envoy_pid: int) -> None:
    await asyncio.sleep(SETTLED_S)
    await asyncio.to_thread(give_back)
    await asyncio.to_thread(unmap_code)
    await asyncio.to_thread(page_out, envoy_pid)

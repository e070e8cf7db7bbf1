"""Runs one part of a node in this process; imports little, because there is a process for each part."""

import asyncio

import structlog

from services.common.settings import Settings
from services.common.tls import until_renewed
from services.common.tracing import exporting
from services.launcher import parts
from services.launcher.lifetime import until_signal
from services.launcher.lock import locked
from services.launcher.memory import SETTLED_S, bound_heap, give_back, trim_heap, unmap_code
from services.launcher.ports import check_port

log = structlog.get_logger()

TRIM_INTERVAL_S = 60.0


async def run_part(part: str, settings: Settings) -> None:
    """Runs one part of a node until a signal ends it."""
    bound_heap()
    await asyncio.to_thread(settings.prepare)
    if part == parts.GATEWAY:
        # It reads renewed certificates by itself, and whoever runs parts alone starts them anew.
        await asyncio.to_thread(check_port, settings)
        parts.become_gateway(settings)
    with locked(settings.home, shared=True):
        async with exporting(settings.otlp_endpoint):
            await until_signal(
                _run_part(part, settings),
                lambda: log.info("stopping", part=part),
                lambda: None,
            )


async def _run_part(part: str, settings: Settings) -> None:
    """Ends, to be started again by whoever started it, when its certificate was renewed: once in months."""
    await asyncio.to_thread(parts.load, part)
    async with parts.running(part, settings) as certificate:
        log.info("serving", part=part)
        await asyncio.to_thread(give_back)
        staying_small = asyncio.create_task(stay_small())
        try:
            if certificate is None:
                await asyncio.Event().wait()
            await until_renewed(certificate)
            log.info("stopping to start with a new certificate", part=part)
        finally:
            staying_small.cancel()


async def stay_small() -> None:
    """Lets go, until cancelled, of what only the start or some use since has needed."""
    await asyncio.sleep(SETTLED_S)
    while True:
        await asyncio.to_thread(trim_heap)
        await asyncio.to_thread(unmap_code)
        await asyncio.sleep(TRIM_INTERVAL_S)

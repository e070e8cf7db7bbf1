"""Keeps the file with the token that the services use among themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from services.auth.domain.ports import Clock
from services.auth.domain.tokens import SERVICE_TOKEN_LIFE_S
from services.common.files import write_atomically

CHECK_INTERVAL_S = 10.0
RENEW_AFTER_S = SERVICE_TOKEN_LIFE_S / 4

log = structlog.get_logger()


@asynccontextmanager
async def keeping_service_token(
    path: Path, sign: Callable[[], str], clock: Clock, check_interval_s: float = CHECK_INTERVAL_S
) -> AsyncIterator[None]:
    """Writes a token at once, and a new one long before the last one expires.

    It looks at the clock of the world every few seconds instead of sleeping for hours: boards without a clock
    of their own start in the past and jump by years when the network tells them the time.
    """
    signed_s = clock()
    await _write(path, sign())

    async def keep() -> None:
        nonlocal signed_s
        while True:
            await asyncio.sleep(check_interval_s)
            now = clock()
            if not signed_s <= now < signed_s + RENEW_AFTER_S:
                try:
                    await _write(path, sign())
                except OSError:
                    log.exception("the services' token was not renewed; trying again")
                else:
                    signed_s = now

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def _write(path: Path, token: str) -> None:
    await asyncio.to_thread(write_atomically, path, token.encode())

"""Lets the node be found on its own networks."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from services.common.settings import Settings
from services.node.adapters import mdns, ssdp
from services.node.domain.hardware import Software

LOOK_INTERVAL_S = 10.0
"""How long a network that has come later waits to be told."""


@asynccontextmanager
async def discoverable(
    settings: Settings, software: Software, addresses: Callable[[], list[str]] = mdns.private_addresses
) -> AsyncIterator[None]:
    """Answers and announces for the time of the context, if others can reach the node at all.

    `addresses` returns those where it may be found; it blocks.
    """
    if not settings.discovery or _is_loopback(settings.listen_host):
        yield
        return
    following = asyncio.create_task(_follow(settings, software, addresses))
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _follow(settings: Settings, software: Software, addresses: Callable[[], list[str]]) -> None:
    """Begins anew whenever the addresses change: many a node has none yet when it starts."""
    version, tls = software.pd_version or "", settings.tls_cert is not None
    while True:
        present = await asyncio.to_thread(addresses)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(ssdp.answering(software.os_version or "Linux", version))
            await stack.enter_async_context(mdns.announcing(settings.listen_port, version, tls, present))
            while await asyncio.to_thread(addresses) == present:  # noqa: ASYNC110  # Nobody tells.
                await asyncio.sleep(LOOK_INTERVAL_S)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

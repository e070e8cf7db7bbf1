"""Lets the node be found on its own networks."""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from services.common.settings import Settings
from services.node.adapters import mdns, ssdp
from services.node.domain.hardware import Software


@asynccontextmanager
async def discoverable(settings: Settings, software: Software) -> AsyncIterator[None]:
    """Answers and announces for the time of the context, if others can reach the node at all."""
    async with AsyncExitStack() as stack:
        if settings.discovery and not _is_loopback(settings.listen_host):
            version = software.pd_version or ""
            await stack.enter_async_context(ssdp.answering(software.os_version or "Linux", version))
            tls = settings.tls_cert is not None
            await stack.enter_async_context(mdns.announcing(settings.listen_port, version, tls))
        yield


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

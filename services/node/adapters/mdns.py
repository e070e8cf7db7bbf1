"""Announces the node with mDNS and DNS-SD, so that it appears where people look for devices."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

import psutil
import structlog

log = structlog.get_logger()

ENGINE_INTERFACE = re.compile(r"docker\d+|br-[0-9a-f]{12}")
"""Bridges on which there are only containers."""
TYPE = "_paradrop._tcp.local."


@asynccontextmanager
async def announcing(port: int, version: str, tls: bool, addresses: list[str]) -> AsyncIterator[None]:
    """Announces the gateway's port at these addresses for the time of the context."""
    if not addresses:
        yield
        return
    # Loads a lot, and nodes that only listen on the loopback address never need it.
    await asyncio.to_thread(import_module, "zeroconf.asyncio")
    from zeroconf import NonUniqueNameException
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    logging.getLogger("zeroconf").addFilter(_in_one_line)
    host = socket.gethostname().partition(".")[0]
    try:
        zeroconf = AsyncZeroconf(interfaces=addresses)
    except OSError as error:
        log.warning("nobody will find this node with mDNS", why=error.strerror)
        yield
        return
    service = AsyncServiceInfo(
        TYPE,
        f"Paradrop on {host}.{TYPE}",
        port=port,
        properties={"version": version, "scheme": "https" if tls else "http", "path": "/api/v1"},
        parsed_addresses=addresses,
        server=f"{host}-paradrop.local.",
    )
    try:
        try:
            await (await zeroconf.async_register_service(service, allow_name_change=True))
        except (NonUniqueNameException, OSError) as error:
            log.warning("nobody will find this node with mDNS", why=str(error))
        yield
    finally:
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


def _in_one_line(record: logging.LogRecord) -> bool:
    # That an address has gone meanwhile needs no traceback.
    record.exc_info = None
    return True


def private_addresses() -> list[str]:
    """Returns the private IPv4 addresses of this machine, without its loopback and the engine's. Blocking."""
    import ipaddress

    return [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        if not ENGINE_INTERFACE.fullmatch(name)
        for address in addresses
        if address.family is socket.AF_INET
        and ipaddress.ip_address(address.address).is_private
        and not ipaddress.ip_address(address.address).is_loopback
    ]

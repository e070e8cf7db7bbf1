"""Hears from the kernel when a device comes or goes."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()

NETLINK_KOBJECT_UEVENT = 15
KERNEL_GROUP = 1
SUBSYSTEMS = (b"SUBSYSTEM=ieee80211", b"SUBSYSTEM=net")
MAX_DATAGRAM_BYTES = 16 * 1024
SETTLE_S = 0.2
"""A card that is plugged in makes a burst of events."""


@contextmanager
def hearing(on_change: Callable[[], None]) -> Iterator[bool]:
    """Calls back, shortly after the last event of a burst, for the time of the context.

    Yields whether the kernel can be heard; in some sandboxes it cannot.
    """
    loop = asyncio.get_running_loop()
    pending: asyncio.TimerHandle | None = None
    try:
        listener = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT
        )
    except OSError as error:
        log.warning("the kernel's device events cannot be heard", why=error.strerror)
        yield False
        return

    def read() -> None:
        nonlocal pending
        wanted = False
        while True:
            try:
                message = listener.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # The kernel had more events than the socket could hold: one of them may have been ours.
                wanted = True
                break
            wanted = wanted or any(part in SUBSYSTEMS for part in message.split(b"\0"))
        if wanted:
            if pending is not None:
                pending.cancel()
            pending = loop.call_later(SETTLE_S, on_change)

    with listener:
        try:
            listener.bind((0, KERNEL_GROUP))
        except OSError as error:
            log.warning("the kernel's device events cannot be heard", why=error.strerror)
            yield False
            return
        loop.add_reader(listener, read)
        try:
            yield True
        finally:
            loop.remove_reader(listener)
            if pending is not None:
                pending.cancel()

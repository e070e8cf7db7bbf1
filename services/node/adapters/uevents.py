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
    try:
        listener = _listen()
    except OSError as error:
        log.warning("the kernel's device events cannot be heard", why=error.strerror)
        yield False
        return
    loop = asyncio.get_running_loop()
    pending: asyncio.TimerHandle | None = None

    def read() -> None:
        nonlocal pending
        if _has_news(listener):
            if pending is not None:
                pending.cancel()
            pending = loop.call_later(SETTLE_S, on_change)

    with listener:
        loop.add_reader(listener, read)
        try:
            yield True
        finally:
            loop.remove_reader(listener)
            if pending is not None:
                pending.cancel()


def _listen() -> socket.socket:
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    listener = socket.socket(socket.AF_NETLINK, kind, NETLINK_KOBJECT_UEVENT)
    try:
        listener.bind((0, KERNEL_GROUP))
    except OSError:
        listener.close()
        raise
    return listener


def _has_news(listener: socket.socket) -> bool:
    """Reads all events that wait, and tells whether one is of our subsystems."""
    found = False
    while True:
        try:
            message = listener.recv(MAX_DATAGRAM_BYTES)
        except BlockingIOError:
            return found
        except OSError:
            # The kernel had more events than the socket could hold: one of them may have been ours.
            return True
        found = found or any(part in SUBSYSTEMS for part in message.split(b"\0"))

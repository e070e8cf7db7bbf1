"""Runs netlink work in threads, in the host's or in a container's network namespace."""

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute, NetlinkError, netns

from services.common.errors import DomainError, FailedPrecondition
from services.network.domain.errors import permission_missing

T = TypeVar("T")


async def in_host(work: Callable[[Any], T]) -> T:
    """Runs work with a netlink socket of the host's namespace."""

    def run() -> T:
        with IPRoute() as route:
            return work(route)

    return await _translated(asyncio.to_thread(run))


async def in_namespace(namespace: Path, work: Callable[[Any], T]) -> T:
    """Runs work with a netlink socket of another network namespace, such as /proc/PID/ns/net.

    A thread that has entered a namespace ends there: it is never used for anything else.
    """
    future: Future[T] = Future()
    # Begun work is not called back: the thread has to hand over its result also when nobody waits any more.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                netns.setns(descriptor)
            finally:
                os.close(descriptor)
            with IPRoute() as route:
                future.set_result(work(route))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=f"netns {namespace}", daemon=True).start()
    return await _translated(asyncio.wrap_future(future))


async def _translated(work: Awaitable[T]) -> T:
    try:
        return await work
    except NetlinkError as error:
        raise kernel_refused(error.code) from error
    except PermissionError as error:
        raise permission_missing("enter a container's network") from error


def kernel_refused(code: int) -> DomainError:
    """Returns what an errno of the kernel means to a caller."""
    if code in (errno.EPERM, errno.EACCES):
        return permission_missing("change network interfaces")
    if code == errno.EOPNOTSUPP:
        return FailedPrecondition(
            "The kernel does not know this kind of interface; load the module 8021q or macvlan.",
            reason="LINK_KIND_MISSING",
        )
    return FailedPrecondition(
        f"The kernel refused to change a network interface: {os.strerror(code)}.", reason="KERNEL_REFUSED"
    )


def namespace_of(pid: int) -> Path:
    """Returns the network namespace of a process."""
    return Path(f"/proc/{pid}/ns/net")

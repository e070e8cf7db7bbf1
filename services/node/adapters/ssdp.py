"""Answers those who look for nodes with SSDP, as `pdtools discover` does."""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

log = structlog.get_logger()

GROUP, PORT = "239.255.255.250", 1900
URN = "urn:schemas-upnp-org:service:Paradrop:1"
TARGETS = frozenset({URN, "ssdp:all", "upnp:rootdevice"})
LOCATION = "http://paradrop.io"
MAX_QUERY_BYTES = 2048
ANSWERS_PER_S = 10.0
"""For all who ask together: a forged question must not make the node flood somebody else."""


class AnswerLimit:
    """Lets a number of answers through each second, and a burst of as many."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._left = per_s
        self._seen_s = 0.0

    def allows(self, now_s: float) -> bool:
        """Takes one answer, if there is one left."""
        self._left = min(self._per_s, self._left + (now_s - self._seen_s) * self._per_s)
        self._seen_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


def answer(query: bytes, address: str, os_version: str, version: str) -> bytes | None:
    """Returns the answer to a datagram; None if it is no question to us, or not of a private network."""
    if len(query) > MAX_QUERY_BYTES:
        return None
    # The original's client sends no empty line at the end.
    first, *lines = query.decode("latin-1").split("\r\n")
    if first.strip() != "M-SEARCH * HTTP/1.1":
        return None
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("man", "").strip('"') != "ssdp:discover" or headers.get("st") not in TARGETS:
        return None
    try:
        if not ipaddress.ip_address(address).is_private:
            return None
    except ValueError:
        return None
    server = f"OS/{os_version} UPnP/1.1 Paradrop/{version}"
    reply = [
        "HTTP/1.1 200 OK", "CACHE-CONTROL: max-age=60", f"LOCATION: {LOCATION}", f"SERVER: {server}",
        f"ST: {URN}",
    ]  # fmt: skip
    return "\r\n".join(reply).encode("latin-1", "replace")


class _Responder(asyncio.DatagramProtocol):
    def __init__(self, os_version: str, version: str) -> None:
        self._os_version = os_version
        self._version = version
        self._limit = AnswerLimit(ANSWERS_PER_S)
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = answer(data, addr[0], self._os_version, self._version)
        loop = asyncio.get_running_loop()
        if reply is not None and self._transport is not None and self._limit.allows(loop.time()):
            self._transport.sendto(reply, addr)


@asynccontextmanager
async def answering(os_version: str, version: str, port: int = PORT) -> AsyncIterator[None]:
    """Answers for the time of the context; where the port cannot be had, the node works without it."""
    try:
        listener = _listen(port)
    except OSError as error:
        log.warning("nobody will find this node with SSDP", why=error.strerror)
        yield
        return
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Responder(os_version, version), sock=listener)
    try:
        yield
    finally:
        transport.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        # Other software of this machine may answer SSDP too.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", port))
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                index = socket.if_nametoindex(name)
                member = struct.pack("4s4si", socket.inet_aton(GROUP), bytes(4), index)
                listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    except OSError:
        listener.close()
        raise
    return listener

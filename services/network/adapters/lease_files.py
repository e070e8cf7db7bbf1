"""dnsmasq's lease files: what is in them, and when that changes."""

import asyncio
import ctypes
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.network.domain.dhcp import Lease
from services.network.domain.stations import MAC

MAX_FILE_BYTES = 1024 * 1024
SETTLE_S = 0.02
"""dnsmasq writes its file in several pieces."""
_IN_MODIFY, _IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x2, 0x8, 0x80, 0x100, 0x200
_INTEREST = _IN_MODIFY | _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
_IN_NONBLOCK, _IN_CLOEXEC = 0o4000, 0o2000000
_EVENT = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


def parse_leases(text: str) -> list[Lease]:
    """Reads the lines "expires mac ip hostname client-id"; what is no lease of IPv4 is passed over."""
    leases = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or not words[0].isascii() or not words[0].isdecimal() or len(words[0]) > 15:
            continue
        mac = words[1].lower()
        if not MAC.fullmatch(mac) or not _is_ipv4(words[2]):
            continue
        hostname = words[3] if len(words) > 3 else None
        client_id = words[4] if len(words) > 4 else None
        leases.append(Lease(int(words[0]), mac, words[2], hostname, client_id))
    return leases


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(
        part.isascii() and part.isdecimal() and len(part) <= 3 and int(part) <= 255 for part in parts
    )


class DnsmasqLeaseFiles:
    """Reads lease files."""

    async def read(self, lease_file: Path) -> tuple[list[Lease], float] | None:
        """Returns the leases in the file's order and when it was written; None if there is no file."""
        return await asyncio.to_thread(_read, lease_file)

    @asynccontextmanager
    async def changes(self, lease_file: Path) -> AsyncIterator[AsyncIterator[None]]:
        """Yields an iterator that gives an item after each change of a file, which need not be there yet."""
        descriptor = _LIBC.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        changed = asyncio.Event()
        name = lease_file.name.encode()

        def readable() -> None:
            if any(found == name for found in _names(os.read(descriptor, 65536))):
                changed.set()

        loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(lease_file.parent.mkdir, 0o755, True, True)
            if _LIBC.inotify_add_watch(descriptor, os.fsencode(lease_file.parent), _INTEREST) < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            loop.add_reader(descriptor, readable)
            yield _after(changed)
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


async def _after(changed: asyncio.Event) -> AsyncIterator[None]:
    while True:
        await changed.wait()
        await asyncio.sleep(SETTLE_S)
        changed.clear()
        yield


def _names(events: bytes) -> list[bytes]:
    names, offset = [], 0
    while offset + _EVENT.size <= len(events):
        *_, length = _EVENT.unpack_from(events, offset)
        offset += _EVENT.size
        names.append(events[offset : offset + length].rstrip(b"\0"))
        offset += length
    return names


def _read(lease_file: Path) -> tuple[list[Lease], float] | None:
    try:
        with lease_file.open("rb") as file:
            content = file.read(MAX_FILE_BYTES)
            written_s = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    return parse_leases(content.decode(errors="replace")), written_s

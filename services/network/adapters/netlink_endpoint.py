"""Reads netlink sockets in any event loop; uvloop, in which a node runs, knows no such sockets."""

import asyncio
import socket
from typing import Any

MAX_DATAGRAM_BYTES = 256 * 1024


class NetlinkTransport(asyncio.BaseTransport):
    """Hands what arrives at a socket to a datagram protocol; pyroute2 sends by itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: Any) -> None:
        super().__init__()
        sock.setblocking(False)
        self._loop = loop
        self._socket = sock
        self._protocol = protocol
        self._closing = False
        protocol.connection_made(self)
        loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        try:
            data, address = self._socket.recvfrom(MAX_DATAGRAM_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:  # Such as ENOBUFS: more came than there was room for.
            self._protocol.error_received(error)
            return
        self._protocol.datagram_received(data, address)

    def is_closing(self) -> bool:
        """Tells whether nothing is read any more."""
        return self._closing

    def close(self) -> None:
        """Reads nothing any more."""
        if not self._closing:
            self._closing = True
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_soon(self._lose)

    def abort(self) -> None:
        """Reads nothing any more."""
        self.close()

    def _lose(self) -> None:
        self._protocol.connection_lost(None)
        self._socket.close()

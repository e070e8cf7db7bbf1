"""The control socket of one hostapd: a command is a datagram, so is its answer, and so is each event."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.common.errors import FailedPrecondition
from services.network.domain.errors import hostapd_unavailable

TIMEOUT_S = 0.8
"""A control socket that is there but silent is an error before the caller's second is over."""
MAX_DATAGRAM_BYTES = 4096
QUEUE_DEPTH = 256
EVENT = re.compile(rb"<\d>")


class ControlSocket:
    """An open conversation; events wait in `events`, the oldest are dropped when nobody reads."""

    def __init__(self, interface: str, client: socket.socket) -> None:
        self._interface = interface
        self._client = client
        self._turn = asyncio.Lock()

    async def command(self, text: str | bytes) -> str:
        """Sends a command and returns the answer; events that come in between are passed over."""
        data = text.encode() if isinstance(text, str) else text
        async with self._turn:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self.send(data)
                    while True:
                        answer = await self.receive()
                        if not EVENT.match(answer):
                            return answer.decode(errors="replace")
            except TimeoutError:
                raise hostapd_unavailable(self._interface, "hostapd does not answer") from None

    async def send(self, datagram: bytes) -> None:
        """Sends a datagram as it is."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._client, datagram)
        except OSError:
            raise hostapd_unavailable(self._interface, "hostapd has gone") from None

    async def receive(self) -> bytes:
        """Waits for the next datagram."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._client, MAX_DATAGRAM_BYTES)
        except OSError:
            raise hostapd_unavailable(self._interface, "hostapd has gone") from None


@asynccontextmanager
async def connected(folder: Path, interface: str) -> AsyncIterator[ControlSocket]:
    """Opens the control socket of an interface, or raises Unavailable (HOSTAPD_UNAVAILABLE) at once."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        # A name that the kernel invents: it needs no file that a crash could leave behind.
        client.bind("")
        client.connect(str(folder / interface))
        yield ControlSocket(interface, client)
    except (FileNotFoundError, ConnectionRefusedError, PermissionError):
        raise hostapd_unavailable(interface, "hostapd is not running") from None
    finally:
        client.close()


async def ask(folder: Path, interface: str, command: str) -> str:
    """Opens the control socket for one command."""
    async with connected(folder, interface) as control:
        return await control.command(command)


async def order(folder: Path, interface: str, command: str) -> None:
    """Sends a command that has to be answered with OK; raises FailedPrecondition (HOSTAPD_REFUSED) if not."""
    answer = (await ask(folder, interface, command)).strip()
    if answer != "OK":
        verb = command.split(" ", 1)[0]
        raise FailedPrecondition(
            f"hostapd refused {verb} on {interface}: {answer[:100] or 'no reason given'}.",
            reason="HOSTAPD_REFUSED",
            command=verb,
            interface=interface,
        )


@asynccontextmanager
async def attached(folder: Path, interface: str) -> AsyncIterator[AsyncIterator[str]]:
    """Subscribes to events for the time of the context; the iterator raises when hostapd goes.

    An event comes without its level, such as "AP-STA-CONNECTED 02:00:00:00:01:00 auth_alg=open".
    """
    async with connected(folder, interface) as control:
        if (await control.command("ATTACH")).strip() != "OK":
            raise hostapd_unavailable(interface, "hostapd gives out no events")
        try:
            yield _events(control, interface)
        finally:
            with contextlib.suppress(Exception):
                await control.send(b"DETACH")


PING_INTERVAL_S = 5.0


async def _events(control: ControlSocket, interface: str) -> AsyncIterator[str]:
    """Yields events.

    A datagram socket does not tell that its peer has gone, so silence is followed by a ping.
    """
    unanswered = False
    while True:
        try:
            async with asyncio.timeout(PING_INTERVAL_S):
                datagram = await control.receive()
        except TimeoutError:
            if unanswered:
                raise hostapd_unavailable(interface, "hostapd does not answer") from None
            await control.send(b"PING")
            unanswered = True
            continue
        unanswered = False
        if match := EVENT.match(datagram):
            yield datagram[match.end() :].decode(errors="replace").strip()

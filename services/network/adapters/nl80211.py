"""Talks to the kernel's wireless interface, nl80211.

pyroute2 owns the sockets: numbering, errors, families, multicast. What is in the messages is read by
`nl80211_decode`, `nl80211_radios` and `nl80211_air`.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import AsyncGenericNetlinkSocket

from services.common.errors import DomainError, FailedPrecondition, NotFound, Unavailable
from services.network.adapters import nl80211_air, nl80211_radios
from services.network.adapters import nl80211_decode as decode
from services.network.adapters.netlink_attributes import attribute, table, text, u32
from services.network.domain.errors import nl80211_unavailable, permission_missing
from services.network.domain.stations import (
    Capabilities,
    ChannelSurvey,
    HeardAccessPoint,
    InterfaceGone,
    KernelEvent,
    RadioCame,
    StationInfo,
    StationLeft,
    WirelessInterface,
)

GET_WIPHY, NEW_WIPHY = 1, 3
GET_INTERFACE, SET_INTERFACE, NEW_INTERFACE, DEL_INTERFACE = 5, 6, 7, 8
GET_STATION, DEL_STATION, GET_SCAN, TRIGGER_SCAN, NEW_SCAN_RESULTS, SCAN_ABORTED = 17, 20, 32, 33, 34, 35
SET_WIPHY_NETNS, GET_SURVEY = 49, 50
SCAN_SSIDS, SCAN_FREQUENCIES, PID, SPLIT_WIPHY_DUMP = 45, 44, 82, 174
TIMEOUT_S = 5.0
SCAN_TIMEOUT_S = 20.0
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("=BBH")


class _Message(genlmsg):  # type: ignore[misc]  # pyroute2 has no types.
    """A message whose attributes stay as the kernel sent them."""

    payload = b""

    def encode(self) -> None:
        header = self["header"]
        body = _GENERIC.pack(self["cmd"], 0, 0) + self.payload
        self.data[:] = (
            _HEADER.pack(
                _HEADER.size + len(body),
                header["type"],
                header["flags"],
                header["sequence_number"],
                header.get("pid", 0),
            )
            + body
        )

    def decode(self) -> None:
        super().decode()
        begin = self.offset + _HEADER.size + _GENERIC.size
        self.payload = bytes(self.data[begin : self.offset + self["header"]["length"]])


class _Socket(AsyncGenericNetlinkSocket):  # type: ignore[misc]
    module_err_level = "debug"  # The absence of a wireless kernel is reported by us.

    async def ask(self, command: int, payload: bytes, flags: int) -> AsyncIterator[_Message]:
        message = _Message()
        message["cmd"] = command
        message.payload = payload
        replies: AsyncIterator[_Message] = await self.nlm_request(
            message, msg_type=self.prid, msg_flags=NLM_F_REQUEST | flags
        )
        return replies


class Nl80211:
    """A conversation with nl80211, opened when it is first needed, so that a driver may be loaded later.

    Requests go one after another, as the kernel wants it.
    """

    driver = "nl80211"
    """By which hostapd runs access points on the interfaces that are made here."""

    def __init__(self) -> None:
        self._socket: _Socket | None = None
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["Nl80211"]:
        """Keeps a conversation for the time of the context."""
        kernel = cls()
        try:
            yield kernel
        finally:
            if kernel._socket is not None:
                kernel._socket.close()

    async def capabilities(self) -> list[Capabilities]:
        """Returns what the radios can do, by number."""
        return nl80211_radios.wiphys(await self._dump(GET_WIPHY, attribute(SPLIT_WIPHY_DUMP, b"")))

    async def interfaces(self) -> list[WirelessInterface]:
        """Returns the interfaces of all radios."""
        found = [decode.interface(data) for data in await self._dump(GET_INTERFACE)]
        return [interface for interface in found if interface is not None]

    async def stations(self, interface: str) -> list[StationInfo]:
        """Returns the stations of an interface by address."""
        request = attribute(decode.IFINDEX, self.index(interface))
        found = [decode.station(data) for data in await self._dump(GET_STATION, request)]
        return sorted((station for station in found if station is not None), key=lambda station: station.mac)

    async def surveys(self, interface: str) -> list[ChannelSurvey]:
        """Returns how busy the channels of an interface's radio were."""
        request = attribute(decode.IFINDEX, self.index(interface))
        found = [nl80211_air.survey(data) for data in await self._dump(GET_SURVEY, request)]
        return [survey for survey in found if survey is not None]

    def index(self, interface: str) -> int:
        """Returns the number of an interface, or raises NotFound (INTERFACE_GONE)."""
        try:
            return socket.if_nametoindex(interface)
        except OSError:
            raise _gone() from None

    async def add_access_point(self, phy: int, name: str, mac: str) -> None:
        """Makes an interface for an access point on a radio."""
        await self._order(
            NEW_INTERFACE,
            attribute(decode.WIPHY, phy),
            attribute(decode.IFNAME, name),
            attribute(decode.IFTYPE, decode.AP_MODE),
            attribute(decode.MAC, bytes.fromhex(mac.replace(":", ""))),
        )

    async def remove_interface(self, interface: str) -> None:
        """Removes an interface."""
        await self._order(DEL_INTERFACE, attribute(decode.IFINDEX, self.index(interface)))

    async def listen(self, interface: str) -> None:
        """Puts an interface, which has to be down, into monitor mode."""
        await self._order(
            SET_INTERFACE,
            attribute(decode.IFINDEX, self.index(interface)),
            attribute(decode.IFTYPE, decode.MONITOR_MODE),
        )

    async def move_to_namespace(self, phy: int, pid: int) -> None:
        """Moves a radio with its interfaces into the network namespace of a process."""
        await self._order(SET_WIPHY_NETNS, attribute(decode.WIPHY, phy), attribute(PID, pid))

    async def scan(self, interface: str, frequencies_mhz: tuple[int, ...] = ()) -> list[HeardAccessPoint]:
        """Listens on all channels, or on these, and returns what was heard, the strongest first.

        Raises FailedPrecondition (RADIO_REFUSED) if the interface cannot, and Unavailable (SCAN_FAILED) if it
        was broken off.
        """
        index = self.index(interface)
        request = [attribute(decode.IFINDEX, index), attribute(SCAN_SSIDS, [attribute(0, b"")])]
        if frequencies_mhz:
            numbered = [attribute(number, mhz) for number, mhz in enumerate(frequencies_mhz)]
            request.append(attribute(SCAN_FREQUENCIES, numbered))
        async with _opened() as events:
            events.add_membership("scan")
            await self._order(TRIGGER_SCAN, *request)
            await _scan_end(events, index)
        heard = [
            nl80211_air.heard(data) for data in await self._dump(GET_SCAN, attribute(decode.IFINDEX, index))
        ]
        found = [access_point for access_point in heard if access_point is not None]
        return sorted(found, key=lambda access_point: -(access_point.signal_dbm or -1000))

    async def events(self) -> AsyncIterator[KernelEvent]:
        """Yields, while it is iterated, what comes and goes."""
        async with _opened() as listener:
            for group in ("mlme", "config"):
                listener.add_membership(group)
            while True:
                async for message in listener.get():
                    event = _event(message["cmd"], message.payload)
                    if event is not None:
                        yield event

    async def _dump(self, command: int, payload: bytes = b"") -> list[bytes]:
        with _translated():
            async with self._turn, asyncio.timeout(TIMEOUT_S):
                replies = await (await self._ready()).ask(command, payload, NLM_F_DUMP)
                return [reply.payload async for reply in replies]

    async def _ready(self) -> _Socket:
        if self._socket is None:
            opened = _Socket()
            try:
                await opened.bind("nl80211", _Message)
            except BaseException:
                opened.close()
                raise
            self._socket = opened
        return self._socket

    async def _order(self, command: int, *parts: bytes) -> None:
        with _translated():
            async with self._turn, asyncio.timeout(TIMEOUT_S):
                async for _ in await (await self._ready()).ask(command, b"".join(parts), NLM_F_ACK):
                    pass


@asynccontextmanager
async def _opened() -> AsyncIterator[_Socket]:
    opened = _Socket()
    try:
        with _translated():
            await opened.bind("nl80211", _Message)
        yield opened
    finally:
        opened.close()


def _event(command: int, payload: bytes) -> KernelEvent | None:
    if command == NEW_WIPHY:
        return RadioCame()
    found = table(payload)
    if command == DEL_INTERFACE and decode.IFNAME in found:
        return InterfaceGone(text(found[decode.IFNAME]))
    station = decode.station(payload) if command == DEL_STATION else None
    if station is None:
        return None
    try:
        return StationLeft(socket.if_indextoname(u32(found.get(decode.IFINDEX, b""))), station)
    except OSError:
        return None


async def _scan_end(events: _Socket, index: int) -> None:
    try:
        async with asyncio.timeout(SCAN_TIMEOUT_S):
            while True:
                async for message in events.get():
                    if u32(table(message.payload).get(decode.IFINDEX, b"")) != index:
                        continue
                    if message["cmd"] == SCAN_ABORTED:
                        raise Unavailable("The scan was broken off; try again.", reason="SCAN_FAILED")
                    if message["cmd"] == NEW_SCAN_RESULTS:
                        return
    except TimeoutError:
        raise Unavailable(
            "The radio did not finish the scan in time; try again.", reason="SCAN_FAILED"
        ) from None


@contextmanager
def _translated() -> Iterator[None]:
    """Turns what the kernel says into errors of the domain."""
    try:
        yield
    except NetlinkError as error:
        raise _error(error.code) from error
    except OSError as error:
        raise _error(error.errno or 0) from error
    except TimeoutError:
        raise nl80211_unavailable("the kernel does not answer") from None


def _error(code: int) -> DomainError:
    if code in (errno.EPERM, errno.EACCES):
        return permission_missing("change radios")
    if code in (errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
        return nl80211_unavailable("it has no wireless support; load a driver of a radio, such as ath9k")
    if code == errno.ENODEV:
        return _gone()
    what = os.strerror(code) if code else "unknown error"
    return FailedPrecondition(f"The radio refused: {what}.", reason="RADIO_REFUSED", error=what)


def _gone() -> NotFound:
    return NotFound("The interface is gone; its radio may have been removed.", reason="INTERFACE_GONE")

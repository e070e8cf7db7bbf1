"""The RPCs of the network service about access points and their stations."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from paradrop.network.v1 import network_pb2 as pb
from paradrop.type.v1 import stream_pb2

from services.common.errors import DomainError, InvalidArgument
from services.common.feed import Subscription
from services.common.identity import current_principal
from services.common.streams import heartbeat, with_end
from services.network.domain.control_policy import check_command, without_secrets
from services.network.domain.hostapd_text import parse
from services.network.domain.station_book import Association, StationBook
from services.network.domain.stations import normal_mac
from services.network.domain.wireless import Target, Targets, Wireless
from services.network.domain.wireless_ports import AccessPointControl, ControlSession
from services.network.rpc.paging import page
from services.network.rpc.station_messages import to_station

HEARTBEAT_S = 10.0
QUEUE_DEPTH = 256
MAX_DATAGRAM_BYTES = 4096
SECRETS = ("passphrase", "psk", "wpa_psk", "wpa_passphrase", "sae_password")


class AccessPointRpcs:
    """Names, states, stations and control sockets of access points."""

    def __init__(
        self, targets: Targets, control: AccessPointControl, book: StationBook, wireless: Wireless
    ) -> None:
        self._targets = targets
        self._control = control
        self._book = book
        self._wireless = wireless
        self._built: dict[str, tuple[Mapping[str, Association], pb.ListStationsResponse]] = {}

    async def GetSsid(self, request: pb.GetSsidRequest, _context: Any) -> pb.GetSsidResponse:
        """Returns the name of a network and what else hostapd tells."""
        reply = parse(await self._control.ask(self._target(request).interface, "GET_CONFIG"))
        return pb.GetSsidResponse(settings={key: text for key, text in reply.items() if key not in SECRETS})

    async def SetSsid(self, request: pb.SetSsidRequest, _context: Any) -> pb.SetSsidResponse:
        """Changes the name of a network."""
        target = self._target(request)
        return pb.SetSsidResponse(message=await self._control.set_ssid(target.interface, request.ssid))

    async def GetHostapdStatus(
        self, request: pb.GetHostapdStatusRequest, _context: Any
    ) -> pb.GetHostapdStatusResponse:
        """Returns what hostapd tells about its state."""
        reply = await self._control.ask(self._target(request).interface, "STATUS")
        return pb.GetHostapdStatusResponse(status=parse(reply))

    async def ListStations(self, request: pb.ListStationsRequest, _context: Any) -> pb.ListStationsResponse:
        """Lists stations as texts."""
        everything = await self._stations(self._target(request))
        if not request.page_size and not request.page_token:
            return everything
        stations = everything.stations
        chosen, token = page(stations, lambda s: s.mac_addr, request.page_size, request.page_token)
        return pb.ListStationsResponse(stations=chosen, next_page_token=token)

    async def GetStation(self, request: pb.GetStationRequest, _context: Any) -> pb.GetStationResponse:
        """Returns a station, or nothing."""
        mac = normal_mac(request.mac)
        stations = await self._stations(self._target(request))
        return pb.GetStationResponse(station=next((s for s in stations.stations if s.mac_addr == mac), None))

    async def RemoveStation(
        self, request: pb.RemoveStationRequest, _context: Any
    ) -> pb.RemoveStationResponse:
        """Sends a station away."""
        await self._wireless.kick(self._target(request).interface, request.mac, 0)
        return pb.RemoveStationResponse()

    async def ControlHostapd(
        self, requests: AsyncIterator[pb.ControlHostapdRequest], _context: Any
    ) -> AsyncIterator[pb.ControlHostapdResponse]:
        """Connects a caller to hostapd."""
        responses = self._controlled(requests)
        async for response in with_end(responses, lambda end: pb.ControlHostapdResponse(end=end)):
            yield response

    async def _controlled(
        self, requests: AsyncIterator[pb.ControlHostapdRequest]
    ) -> AsyncIterator[pb.ControlHostapdResponse]:
        first = await anext(aiter(requests), None)
        if first is None or not first.HasField("target"):
            raise InvalidArgument(
                "The first request names the network.", reason="TARGET_MISSING", field="target"
            )
        target = self._target(first.target)
        async with self._control.session(target.interface) as session:
            queue: Subscription[bytes] = Subscription(QUEUE_DEPTH)
            yield pb.ControlHostapdResponse(synced=stream_pb2.Synced())
            writer = asyncio.create_task(_pass_on(requests, session, queue))
            reader = asyncio.create_task(_listen(session, queue))
            try:
                async for datagrams in queue.batches(HEARTBEAT_S):
                    if not datagrams:
                        yield pb.ControlHostapdResponse(heartbeat=heartbeat())
                    for datagram in datagrams:
                        yield pb.ControlHostapdResponse(
                            datagram=without_secrets(datagram), dropped_count=queue.take_dropped()
                        )
                for task in (writer, reader):
                    if task.done() and not task.cancelled() and (error := task.exception()):
                        raise error
            finally:
                for task in (writer, reader):
                    task.cancel()
                await asyncio.gather(writer, reader, return_exceptions=True)

    def _target(self, request: Any) -> Target:
        return self._targets.target(current_principal(), request.chute, request.network)

    async def _stations(self, target: Target) -> pb.ListStationsResponse:
        """Returns all stations; the message is built once for each answer of the kernel."""
        self._control.config(target.interface)
        stations = await self._book.associations(target.interface)
        known = self._built.get(target.interface)
        if known is None or known[0] is not stations:
            messages = [to_station(station.info) for station in stations.values()]
            known = (stations, pb.ListStationsResponse(stations=messages))
            self._built[target.interface] = known
        return known[1]


async def _pass_on(
    requests: AsyncIterator[pb.ControlHostapdRequest], session: ControlSession, queue: Subscription[bytes]
) -> None:
    """Hands the caller's datagrams to hostapd; ends the stream when the caller does."""
    try:
        async for request in requests:
            if not request.HasField("datagram") or not 1 <= len(request.datagram) <= MAX_DATAGRAM_BYTES:
                raise InvalidArgument(
                    f"Each later request holds a datagram of 1 to {MAX_DATAGRAM_BYTES} bytes.",
                    reason="DATAGRAM_INVALID",
                    field="datagram",
                )
            check_command(request.datagram)
            await session.send(request.datagram)
    finally:
        queue.close()


async def _listen(session: ControlSession, queue: Subscription[bytes]) -> None:
    try:
        while True:
            queue.push(await session.receive())
    except DomainError:
        queue.close()
        raise

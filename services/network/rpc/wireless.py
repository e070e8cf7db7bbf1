"""The RPCs of the wireless service."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from paradrop.network.v1 import wireless_pb2 as pb
from paradrop.network.v1 import wireless_pb2_grpc
from paradrop.type.v1 import stream_pb2

from services.common.identity import current_principal
from services.common.streams import heartbeat, with_end
from services.common.timestamps import to_timestamp
from services.network.domain.access_lists import AccessLists
from services.network.domain.lease_watch import LeaseBook, LeaseEnded, LeaseEvent
from services.network.domain.station_book import Association, StationBook, StationEvent
from services.network.domain.stations import normal_mac
from services.network.domain.wireless import Target, Targets, Wireless
from services.network.domain.wireless_ports import AccessPointControl
from services.network.rpc.paging import page
from services.network.rpc.station_messages import (
    from_mode,
    to_access_list,
    to_association,
    to_heard,
    to_lease,
    to_radio,
    to_session,
    to_survey,
)

SERVICE = pb.DESCRIPTOR.services_by_name["WirelessService"]
HEARTBEAT_S = 10.0


class WirelessServicer(wireless_pb2_grpc.WirelessServiceServicer):
    """Radios and stations with units, and what steers them."""

    def __init__(
        self,
        targets: Targets,
        control: AccessPointControl,
        wireless: Wireless,
        book: StationBook,
        leases: LeaseBook,
        lists: AccessLists,
    ) -> None:
        self._targets = targets
        self._control = control
        self._wireless = wireless
        self._book = book
        self._leases = leases
        self._lists = lists

    async def ListRadios(self, request: pb.ListRadiosRequest, _context: Any) -> pb.ListRadiosResponse:
        """Lists radios."""
        radios = [to_radio(state) for state in await self._wireless.radios()]
        chosen, token = page(radios, lambda radio: radio.name, request.page_size, request.page_token)
        return pb.ListRadiosResponse(radios=chosen, next_page_token=token)

    async def ListSurveys(self, request: pb.ListSurveysRequest, _context: Any) -> pb.ListSurveysResponse:
        """Lists how busy channels were."""
        surveys = [to_survey(survey) for survey in await self._wireless.surveys(request.radio)]
        chosen, token = page(surveys, lambda s: str(s.frequency_mhz), request.page_size, request.page_token)
        return pb.ListSurveysResponse(surveys=chosen, next_page_token=token)

    async def ScanRadio(self, request: pb.ScanRadioRequest, _context: Any) -> pb.ScanRadioResponse:
        """Listens on a radio."""
        heard = await self._wireless.scan(request.radio, request.channels)
        return pb.ScanRadioResponse(access_points=[to_heard(access_point) for access_point in heard])

    async def SwitchChannel(
        self, request: pb.SwitchChannelRequest, _context: Any
    ) -> pb.SwitchChannelResponse:
        """Moves the access points of a radio."""
        moved = await self._wireless.switch_channel(request.radio, request.channel)
        return pb.SwitchChannelResponse(interfaces=moved)

    async def ListAssociations(
        self, request: pb.ListAssociationsRequest, _context: Any
    ) -> pb.ListAssociationsResponse:
        """Lists stations."""
        target = self._access_point(request)
        stations = [to_association(s) for s in (await self._book.associations(target.interface)).values()]
        chosen, token = page(stations, lambda s: s.mac, request.page_size, request.page_token)
        return pb.ListAssociationsResponse(associations=chosen, next_page_token=token)

    async def WatchStations(
        self, request: pb.WatchStationsRequest, _context: Any
    ) -> AsyncIterator[pb.WatchStationsResponse]:
        """Streams stations."""
        responses = self._station_changes(self._access_point(request))
        async for response in with_end(responses, lambda end: pb.WatchStationsResponse(end=end)):
            yield response

    async def _station_changes(self, target: Target) -> AsyncIterator[pb.WatchStationsResponse]:
        with self._book.watch(target.interface) as subscription:
            present = (await self._book.associations(target.interface)).values()
            if present:
                yield pb.WatchStationsResponse(changes=_changes(list(present)))
            yield pb.WatchStationsResponse(synced=stream_pb2.Synced())
            async for events in subscription.batches(HEARTBEAT_S):
                if not events:
                    yield pb.WatchStationsResponse(heartbeat=heartbeat())
                    continue
                dropped = subscription.take_dropped()
                yield pb.WatchStationsResponse(changes=_changes(events), dropped_count=dropped)

    async def WatchLeases(
        self, request: pb.WatchLeasesRequest, _context: Any
    ) -> AsyncIterator[pb.WatchLeasesResponse]:
        """Streams leases."""
        responses = self._lease_changes(self._target(request))
        async for response in with_end(responses, lambda end: pb.WatchLeasesResponse(end=end)):
            yield response

    async def _lease_changes(self, target: Target) -> AsyncIterator[pb.WatchLeasesResponse]:
        with self._leases.watch(target.interface) as subscription:
            present = list((await self._leases.leases(target.interface)).values())
            if present:
                yield pb.WatchLeasesResponse(changes=_lease_changes(present))
            yield pb.WatchLeasesResponse(synced=stream_pb2.Synced())
            async for events in subscription.batches(HEARTBEAT_S):
                if not events:
                    yield pb.WatchLeasesResponse(heartbeat=heartbeat())
                    continue
                dropped = subscription.take_dropped()
                yield pb.WatchLeasesResponse(changes=_lease_changes(events), dropped_count=dropped)

    async def ListSessions(self, request: pb.ListSessionsRequest, _context: Any) -> pb.ListSessionsResponse:
        """Lists who has left."""
        sessions = [to_session(session) for session in self._book.sessions(self._target(request).interface)]
        chosen, token = page(
            sessions,
            lambda s: f"{s.left_at.ToMilliseconds()}-{s.mac}",
            request.page_size,
            request.page_token,
        )
        return pb.ListSessionsResponse(sessions=chosen, next_page_token=token)

    async def KickStation(self, request: pb.KickStationRequest, _context: Any) -> pb.KickStationResponse:
        """Sends a station away."""
        until_s = await self._wireless.kick(self._target(request).interface, request.mac, request.ban_s)
        if until_s is None:
            return pb.KickStationResponse()
        return pb.KickStationResponse(ban=pb.Ban(mac=normal_mac(request.mac), until=to_timestamp(until_s)))

    async def TransitionStation(
        self, request: pb.TransitionStationRequest, _context: Any
    ) -> pb.TransitionStationResponse:
        """Asks a station to move."""
        status = await self._wireless.transition(
            self._access_point(request).interface, request.mac, request.bssid, request.channel
        )
        return pb.TransitionStationResponse(accepted=status == 0, status_code=status)

    async def ListBans(self, request: pb.ListBansRequest, _context: Any) -> pb.ListBansResponse:
        """Lists who is kept out."""
        bans = [
            pb.Ban(mac=mac, until=to_timestamp(until_s))
            for mac, until_s in self._lists.bans(self._target(request).interface)
        ]
        chosen, token = page(bans, lambda ban: ban.mac, request.page_size, request.page_token)
        return pb.ListBansResponse(bans=chosen, next_page_token=token)

    async def LiftBan(self, request: pb.LiftBanRequest, _context: Any) -> pb.LiftBanResponse:
        """Lets a station in again."""
        await self._lists.lift(self._target(request).interface, normal_mac(request.mac))
        return pb.LiftBanResponse()

    async def GetAccessList(
        self, request: pb.GetAccessListRequest, _context: Any
    ) -> pb.GetAccessListResponse:
        """Returns who may join."""
        rules = self._lists.access_list(self._target(request).interface)
        return pb.GetAccessListResponse(access_list=to_access_list(rules))

    async def SetAccessList(
        self, request: pb.SetAccessListRequest, _context: Any
    ) -> pb.SetAccessListResponse:
        """Replaces who may join."""
        wanted = request.access_list
        interface = self._access_point(request).interface
        rules = await self._lists.set_list(interface, from_mode(wanted.mode), wanted.macs)
        return pb.SetAccessListResponse(access_list=to_access_list(rules))

    def _target(self, request: Any) -> Target:
        return self._targets.target(current_principal(), request.chute, request.network)

    def _access_point(self, request: Any) -> Target:
        """Returns a network on which an access point is set up, or raises Unavailable."""
        target = self._target(request)
        self._control.config(target.interface)
        return target


def _changes(events: Sequence[StationEvent]) -> pb.StationChanges:
    return pb.StationChanges(
        upserts=[to_association(event) for event in events if isinstance(event, Association)],
        removals=[to_session(event) for event in events if not isinstance(event, Association)],
    )


def _lease_changes(events: Sequence[LeaseEvent]) -> pb.LeaseChanges:
    return pb.LeaseChanges(
        upserts=[to_lease(event) for event in events if not isinstance(event, LeaseEnded)],
        removed_macs=[event.mac for event in events if isinstance(event, LeaseEnded)],
    )

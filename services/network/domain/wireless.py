"""Steers stations and radios: what the calls about them do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.common.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound
from services.common.identity import Principal
from services.network.domain.access_lists import AccessLists
from services.network.domain.access_points import Radio
from services.network.domain.ports import Radios
from services.network.domain.station_book import StationBook
from services.network.domain.stations import (
    Capabilities,
    Channel,
    ChannelSurvey,
    HeardAccessPoint,
    WirelessInterface,
    normal_mac,
)
from services.network.domain.wireless_ports import AccessPointControl, WirelessKernel

TRANSITION_TIMEOUT_S = 5.0
TRANSITION_BEACONS = 50


@dataclass(frozen=True, slots=True)
class Target:
    """A network of a chute, as far as stations and leases need it."""

    interface: str
    """The host's, such as "vwlan7e1b"."""
    lease_file: Path | None
    """None if no addresses are given out there."""


class Targets(Protocol):
    """Knows the networks of chutes and who may see them."""

    def target(self, principal: Principal, chute: str, network: str) -> Target:
        """Returns a network by either of its names.

        NotFound (CHUTE_NOT_FOUND, NETWORK_NOT_FOUND), PermissionDenied (CHUTE_NOT_YOURS).
        """


@dataclass(frozen=True, slots=True)
class RadioState:
    """A radio, what it can do, and what is on it."""

    radio: Radio
    capabilities: Capabilities
    interfaces: tuple[WirelessInterface, ...]


class Wireless:
    """Stations and radios of the node."""

    def __init__(
        self,
        kernel: WirelessKernel,
        radios: Radios,
        control: AccessPointControl,
        book: StationBook,
        lists: AccessLists,
    ) -> None:
        self._kernel = kernel
        self._radios = radios
        self._control = control
        self._book = book
        self._lists = lists
        self._answers: dict[str, asyncio.Future[int]] = {}
        """Address of a station to where its answer to a transition is waited for."""

    def on_event(self, _interface: str, event: str) -> None:
        """Takes an event of hostapd: the answer of a station that was asked to move."""
        words = event.split()
        if len(words) >= 3 and words[0] == "BSS-TM-RESP":
            answer = self._answers.get(words[1])
            status = next((word[12:] for word in words if word.startswith("status_code=")), "")
            if answer is not None and not answer.done() and status.isdecimal():
                answer.set_result(int(status))

    async def radios(self) -> list[RadioState]:
        """Returns the radios by id."""
        radios = await self._radios.list()
        capabilities = {found.phy: found for found in await self._kernel.capabilities()}
        interfaces = sorted(await self._kernel.interfaces(), key=lambda found: found.name)
        return [
            RadioState(
                radio, known, tuple(interface for interface in interfaces if interface.phy == known.index)
            )
            for radio in radios
            if (known := capabilities.get(radio.phy)) is not None
        ]

    async def surveys(self, radio: str) -> Sequence[ChannelSurvey]:
        """Returns how busy the channels of a radio were, by frequency."""
        state = await self._state(radio)
        surveys = await self._kernel.surveys(self._listener(state))
        return sorted(surveys, key=lambda survey: survey.frequency_mhz)

    async def scan(self, radio: str, channels: Sequence[int]) -> Sequence[HeardAccessPoint]:
        """Listens on channels, or on all, and returns what was heard."""
        state = await self._state(radio)
        frequencies = tuple(self._channel(state, number).frequency_mhz for number in channels)
        return await self._kernel.scan(self._listener(state), frequencies)

    async def switch_channel(self, radio: str, number: int) -> list[str]:
        """Moves the access points of a radio to another channel."""
        state = await self._state(radio)
        channel = self._channel(state, number)
        if channel.no_initiate or channel.radar:
            raise _channel_not_allowed(state.radio.id, number)
        if not state.capabilities.channel_switch:
            raise FailedPrecondition(
                f"Radio {state.radio.id} cannot take its stations along; change the host configuration.",
                reason="CHANNEL_SWITCH_REFUSED",
                radio=state.radio.id,
            )
        return await self._control.switch_channel(state.radio.phy, number, channel.frequency_mhz)

    async def kick(self, interface: str, mac: str, ban_s: int) -> float | None:
        """Sends a station away; returns until when it is kept out, if it is."""
        mac = normal_mac(mac)
        self._control.config(interface)
        until_s = await self._lists.ban(interface, mac, ban_s) if ban_s else None
        # hostapd refuses only an address that it cannot read: one that is not there is sent away as well.
        await self._control.ask(interface, f"DEAUTHENTICATE {mac}")
        return until_s

    async def transition(self, interface: str, mac: str, bssid: str, channel: int) -> int:
        """Asks a station to move and returns its status code; 0 means that it does."""
        mac = normal_mac(mac)
        command = f"BSS_TM_REQ {mac} valid_int={TRANSITION_BEACONS} abridged=1"
        if bssid:
            target = normal_mac(bssid, "bssid")
            if not 1 <= channel <= 177:
                raise InvalidArgument(
                    "channel is the number of the channel of the access point to move to.",
                    reason="CHANNEL_NOT_ALLOWED",
                    field="channel",
                )
            # Operating class of the channel, then the type of its PHY: 9 is HT.
            command += f" pref=1 neighbor={target},0x0000,{_operating_class(channel)},{channel},9"
        stations = await self._book.associations(interface)
        if mac not in stations:
            raise NotFound(
                f"Station {mac} is not associated here.",
                reason="STATION_NOT_FOUND",
                mac=mac,
                interface=interface,
            )
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[mac] = answer
        try:
            await self._control.order(interface, command)
            async with asyncio.timeout(TRANSITION_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise DeadlineExceeded(
                f"Station {mac} did not answer; it may not know BSS transition.",
                reason="STATION_SILENT",
                mac=mac,
            ) from None
        finally:
            self._answers.pop(mac, None)

    async def _state(self, radio: str) -> RadioState:
        for state in await self.radios():
            if radio in (state.radio.id, state.radio.phy):
                return state
        raise NotFound(
            f"There is no radio '{radio}'; list them with GET /api/v1/network/radios.",
            reason="RADIO_NOT_FOUND",
            radio=radio,
        )

    @staticmethod
    def _listener(state: RadioState) -> str:
        """Returns the interface to ask about the radio: one that is on a channel, if there is one."""
        ordered = sorted(state.interfaces, key=lambda i: (i.frequency_mhz is None, i.mode != "AP", i.name))
        if not ordered:
            raise FailedPrecondition(
                f"Radio {state.radio.id} has no interface now.", reason="RADIO_REFUSED", radio=state.radio.id
            )
        return ordered[0].name

    @staticmethod
    def _channel(state: RadioState, number: int) -> Channel:
        for channel in state.capabilities.channels:
            if channel.number == number and channel.frequency_mhz < 5925 and not channel.disabled:
                return channel
        raise _channel_not_allowed(state.radio.id, number)


def _channel_not_allowed(radio: str, number: int) -> InvalidArgument:
    return InvalidArgument(
        f"Radio {radio} may not use channel {number} here; see GET /api/v1/network/radios.",
        reason="CHANNEL_NOT_ALLOWED",
        field="channel",
        radio=radio,
        channel=str(number),
    )


def _operating_class(channel: int) -> int:
    """Returns the global operating class of 20 MHz that has a channel (IEEE 802.11, annex E)."""
    for low, high, number in ((1, 13, 81), (14, 14, 82), (36, 48, 115), (52, 64, 118), (100, 144, 121)):
        if low <= channel <= high:
            return number
    return 125

"""What stations and radios need from the world outside."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.network.domain.access_points import AccessPointConfig
from services.network.domain.stations import (
    Capabilities,
    ChannelSurvey,
    HeardAccessPoint,
    StationInfo,
    WirelessInterface,
)


class WirelessKernel(Protocol):
    """Asks nl80211.

    Raises FailedPrecondition (NL80211_UNAVAILABLE, NETWORK_PERMISSION_MISSING).
    """

    async def capabilities(self) -> Sequence[Capabilities]:
        """Returns what the radios can do, by number."""

    async def interfaces(self) -> Sequence[WirelessInterface]:
        """Returns the interfaces of all radios."""

    async def stations(self, interface: str) -> Sequence[StationInfo]:
        """Returns the stations of an interface by address; NotFound (INTERFACE_GONE) if there is none."""

    async def surveys(self, interface: str) -> Sequence[ChannelSurvey]:
        """Returns how busy the channels of an interface's radio were."""

    async def scan(self, interface: str, frequencies_mhz: tuple[int, ...] = ()) -> Sequence[HeardAccessPoint]:
        """Listens and returns what was heard, the strongest first."""


class ControlSession(Protocol):
    """An open control socket of hostapd."""

    async def send(self, datagram: bytes) -> None:
        """Sends a datagram."""

    async def receive(self) -> bytes:
        """Waits for the next datagram."""


class AccessPointControl(Protocol):
    """Steers running access points. Raises Unavailable (HOSTAPD_UNAVAILABLE) at once when there is none."""

    def config(self, interface: str) -> AccessPointConfig:
        """Returns how an access point is run."""

    async def ask(self, interface: str, command: str) -> str:
        """Sends a command and returns the answer."""

    async def order(self, interface: str, command: str) -> None:
        """Sends a command that has to be answered with OK; FailedPrecondition (HOSTAPD_REFUSED) if not."""

    def session(self, interface: str) -> AbstractAsyncContextManager[ControlSession]:
        """Opens the control socket."""

    async def set_ssid(self, interface: str, ssid: str) -> str:
        """Changes the name on the air; returns "OK" or "FAIL"."""

    async def apply_rules(self, interface: str) -> None:
        """Sends the rules of an access point, which may have changed; there may be none now."""

    async def switch_channel(self, phy: str, channel: int, frequency_mhz: int) -> list[str]:
        """Moves all access points of a radio; FailedPrecondition (CHANNEL_SWITCH_REFUSED) if they stay."""

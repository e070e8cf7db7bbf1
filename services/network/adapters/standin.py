"""What stands in for a radio on machines without any: access points run in all but the air.

hostapd runs without a driver, on bridges that have no ports, so whatever asks it is answered as on a router.
Nothing is sent, nothing is heard and nobody can join. The containers of chutes are out of reach, and get no
interface.
"""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv4Interface
from typing import Any

import structlog

from services.common.errors import FailedPrecondition
from services.common.settings import STANDIN_RADIO_ID
from services.network.adapters.kernel import in_host
from services.network.adapters.link_reading import MARK
from services.network.adapters.links import KernelLinks
from services.network.adapters.nl80211 import Nl80211
from services.network.domain.access_points import Radio
from services.network.domain.errors import radio_not_available
from services.network.domain.stations import (
    Capabilities,
    Channel,
    ChannelSurvey,
    HeardAccessPoint,
    KernelEvent,
    StationInfo,
    WirelessInterface,
)

log = structlog.get_logger()

PHY = "standin0"
ALIAS = f"{MARK}{STANDIN_RADIO_ID}"
MAX_ACCESS_POINTS = 8
CHANNELS = tuple(
    Channel(number, 2407 + 5 * number, disabled=False, no_initiate=False, radar=False, max_power_dbm=20.0)
    for number in range(1, 12)
)
CAPABILITIES = Capabilities(
    phy=PHY,
    index=0,
    modes=frozenset({"AP"}),
    channels=CHANNELS,
    ht=False,
    vht=False,
    he=False,
    eht=False,
    ht_capabilities=0,
    vht_capabilities=0,
    max_access_points=MAX_ACCESS_POINTS,
    max_acl_entries=0,
    channel_switch=False,
)


class StandInAir(Nl80211):
    """Answers in the place of nl80211."""

    driver = "none"

    async def capabilities(self) -> list[Capabilities]:
        """Returns what the one radio can do."""
        return [CAPABILITIES]

    async def interfaces(self) -> list[WirelessInterface]:
        """Returns the interfaces of access points."""

        def read(route: Any) -> list[WirelessInterface]:
            return [
                WirelessInterface(
                    link.get("ifname"), link["index"], CAPABILITIES.index, "AP", link.get("address")
                )
                for link in route.get_links()
                if link.get("ifalias") == ALIAS
            ]

        return await in_host(read)

    async def add_access_point(self, phy: int, name: str, mac: str) -> None:
        """Makes an interface for an access point."""

        def make(route: Any) -> None:
            route.link("add", ifname=name, kind="bridge", address=mac)
            route.link("set", index=route.link_lookup(ifname=name)[0], ifalias=ALIAS)

        await in_host(make)

    async def remove_interface(self, interface: str) -> None:
        """Removes an interface."""
        index = self.index(interface)
        await in_host(lambda route: route.link("del", index=index))

    async def stations(self, interface: str) -> list[StationInfo]:
        """Returns nobody; raises NotFound (INTERFACE_GONE) as nl80211 does."""
        self.index(interface)
        return []

    async def surveys(self, interface: str) -> list[ChannelSurvey]:
        """Returns nothing; raises NotFound (INTERFACE_GONE) as nl80211 does."""
        self.index(interface)
        return []

    async def scan(self, interface: str, frequencies_mhz: tuple[int, ...] = ()) -> list[HeardAccessPoint]:
        """Raises FailedPrecondition (RADIO_REFUSED)."""
        raise FailedPrecondition(
            "The radio refused: it is a stand-in, which hears nothing.", reason="RADIO_REFUSED"
        )

    async def events(self) -> AsyncIterator[KernelEvent]:
        """Yields nothing, for ever."""
        await asyncio.Event().wait()
        for event in tuple[KernelEvent]():
            yield event


class StandInRadios:
    """The one radio that there is."""

    async def list(self) -> list[Radio]:
        """Returns it."""
        return [
            Radio(
                phy=PHY,
                id=STANDIN_RADIO_ID,
                mac="",
                interface=None,
                channels_2g=tuple(channel.number for channel in CHANNELS),
                max_access_points=MAX_ACCESS_POINTS,
            )
        ]

    async def lend(self, phy: str, pid: int, name: str) -> None:
        """Raises FailedPrecondition (RADIO_NOT_AVAILABLE): there is nothing to listen with."""
        raise radio_not_available(phy, "it is a stand-in, which hears nothing")


class LinksWithoutContainers(KernelLinks):
    """The interfaces of the kernel where the containers of chutes are out of reach."""

    async def attach(self, parent: str, pid: int, name: str, address: IPv4Interface | None) -> None:
        """Tells the log that a container has to do without."""
        log.warning("a container gets no interface: the radio is a stand-in", network=parent, interface=name)

    async def detach(self, pid: int, name: str) -> None:
        """Does nothing: there is none."""

    async def attached(self, pid: int, name: str) -> bool:
        """Tells that there is nothing left to do."""
        return True

    async def process_mark(self, pid: int) -> str | None:
        """Returns the same for all: processes of containers cannot be seen."""
        return STANDIN_RADIO_ID

"""Interfaces for access points, made on radios and found again when a radio was taken out."""

import asyncio
import contextlib
import hashlib
from collections.abc import Collection
from pathlib import Path

from services.common.errors import DomainError
from services.network.adapters.nl80211 import Nl80211
from services.network.domain.access_points import AccessPointConfig
from services.network.domain.errors import radio_not_available
from services.network.domain.stations import Capabilities, WirelessInterface

SYSFS = Path("/sys/class/ieee80211")


class VirtualInterfaces:
    """Makes and removes interfaces; without real radios there are none, and all are said to exist."""

    def __init__(self, kernel: Nl80211, *, real: bool) -> None:
        self._kernel = kernel
        self.real = real
        """Whether interfaces are made here."""
        self._radio_macs: dict[str, str] = {}
        """Interface to the address of the radio that it is on."""

    def exists(self, interface: str) -> bool:
        """Tells whether an interface is there; costs nothing."""
        if not self.real:
            return True
        with contextlib.suppress(DomainError):
            return self._kernel.index(interface) > 0
        return False

    async def find(self, interface: str) -> WirelessInterface | None:
        """Returns an interface as the kernel knows it."""
        if not self.real:
            return None
        return next((found for found in await self._kernel.interfaces() if found.name == interface), None)

    async def create(self, config: AccessPointConfig) -> str:
        """Makes the interface anew: what a crash left may belong to a radio that was taken out.

        Returns the kernel's name of its radio, which may be another than before.
        """
        if self.exists(config.interface):
            await self._kernel.remove_interface(config.interface)
        radio = await self._radio(config)
        if radio is None:
            raise radio_not_available(config.interface, f"{config.radio.phy} is gone")
        interfaces = await self._kernel.interfaces()
        primary = next((found.mac for found in interfaces if found.phy == radio.index), "02:00:00:00:00:00")
        mac = virtual_mac(primary, config.interface, {found.mac for found in interfaces})
        await self._kernel.add_access_point(radio.index, config.interface, mac)
        return radio.phy

    async def remove(self, interface: str) -> None:
        """Removes an interface."""
        await self._kernel.remove_interface(interface)

    def forget(self, interface: str) -> None:
        """Drops what is known of an interface that is not wanted any more."""
        self._radio_macs.pop(interface, None)

    async def _radio(self, config: AccessPointConfig) -> Capabilities | None:
        """Finds the radio by its address once that is known: one that was taken out comes back renamed."""
        radios = await self._kernel.capabilities()
        macs = await asyncio.to_thread(_read_macs, [radio.phy for radio in radios])
        wanted = self._radio_macs.get(config.interface)
        found = next((radio for radio in radios if wanted and macs[radio.phy] == wanted), None)
        found = found or next((radio for radio in radios if radio.phy == config.radio.phy), None)
        if found is not None:
            self._radio_macs[config.interface] = macs[found.phy]
        return found


def virtual_mac(primary: str, name: str, taken: Collection[str]) -> str:
    """Returns the address of a virtual access point: the radio's own but for the first byte.

    Radios filter by the bits in which their addresses differ, so few may. The same name gets the same address
    again while it is free.
    """
    first, rest = int(primary[:2], 16), primary[2:]
    start = hashlib.sha256(name.encode()).digest()[0]
    for step in range(64):
        mac = f"{((first & 0x03) | 0x02) | ((start + step) % 64) << 2:02x}{rest}"
        if mac not in taken:
            return mac
    raise radio_not_available(name, "all its addresses are taken")


def _read_macs(phys: list[str]) -> dict[str, str]:
    macs = {}
    for phy in phys:
        try:
            macs[phy] = (SYSFS / phy / "macaddress").read_text().strip()
        except OSError:
            macs[phy] = ""
    return macs

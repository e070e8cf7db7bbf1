"""The radios of this machine: what the kernel tells about them, and in which slots they are."""

import asyncio
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from services.network.adapters.kernel import in_host, in_namespace, namespace_of
from services.network.adapters.nl80211 import Nl80211
from services.network.domain.access_points import Radio
from services.network.domain.errors import radio_not_available
from services.network.domain.stations import Capabilities, WirelessInterface

SYSFS = Path("/sys/class/ieee80211")
RETURN_POLLS, RETURN_POLL_S = 30, 0.1


class KernelRadios:
    """Asks nl80211 and sysfs."""

    def __init__(self, kernel: Nl80211, sysfs: Path = SYSFS) -> None:
        self._kernel = kernel
        self._sysfs = sysfs

    async def list(self) -> list[Radio]:
        """Returns the radios by id; raises FailedPrecondition (NL80211_UNAVAILABLE)."""
        capabilities = await self._kernel.capabilities()
        interfaces = await self._kernel.interfaces()
        devices = await asyncio.to_thread(_devices, self._sysfs, [radio.phy for radio in capabilities])
        return sorted(
            (_radio(radio, interfaces, *devices[radio.phy]) for radio in capabilities),
            key=lambda radio: radio.id,
        )

    async def lend(self, phy: str, pid: int, name: str) -> None:
        """Puts a radio into a container; see the port."""
        container = namespace_of(pid)
        if await in_namespace(container, lambda route: _bring_up(route, name)):
            return
        radio = await self._returned(phy)
        interfaces = [found for found in await self._kernel.interfaces() if found.phy == radio.index]
        await in_host(lambda route: _bring_down(route, [interface.index for interface in interfaces]))
        for interface in interfaces:
            await self._kernel.listen(interface.name)
        await self._kernel.move_to_namespace(radio.index, pid)
        macs = {interface.mac for interface in interfaces}
        await in_namespace(container, lambda route: _name(route, macs, name))

    async def _returned(self, phy: str) -> Capabilities:
        """Returns a radio; one that was in a container that has just ended is on its way back."""
        for _ in range(RETURN_POLLS):
            for radio in await self._kernel.capabilities():
                if radio.phy == phy:
                    return radio
            await asyncio.sleep(RETURN_POLL_S)
        raise radio_not_available(phy, "it was taken out; plug it in again")


def _bring_down(route: Any, indexes: Collection[int]) -> None:
    for index in indexes:
        route.link("set", index=index, state="down")


def _bring_up(route: Any, name: str) -> bool:
    """Brings an interface up, if there is one of this name, and tells whether there is."""
    found = route.link_lookup(ifname=name)
    for index in found:
        route.link("set", index=index, state="up")
    return bool(found)


def _name(route: Any, macs: Collection[str], name: str) -> None:
    """Names the interface of a radio that has come into a container, and brings it up."""
    for link in route.get_links():
        if link.get("address") in macs:
            route.link("set", index=link["index"], ifname=name)
            break
    _bring_up(route, name)


def _radio(
    radio: Capabilities,
    interfaces: Iterable[WirelessInterface],
    id_: str,
    mac: str,
    slot: str,
    vendor: str,
    device: str,
) -> Radio:
    own = sorted((i for i in interfaces if i.phy == radio.index), key=lambda i: i.index)
    primary = next((i for i in own if i.mac == mac), own[0] if own else None)
    usable = [c for c in radio.channels if not c.disabled and not c.no_initiate]
    return Radio(
        phy=radio.phy,
        id=id_,
        mac=mac or (primary.mac if primary else ""),
        interface=primary.name if primary else None,
        slot=slot,
        vendor_id=vendor,
        device_id=device,
        channels_2g=tuple(c.number for c in usable if c.frequency_mhz < 2500),
        channels_5g=tuple(c.number for c in usable if 5000 < c.frequency_mhz < 5900 and not c.radar),
        ht=radio.ht,
        vht=radio.vht,
        max_access_points=radio.max_access_points,
    )


def _devices(sysfs: Path, phys: list[str]) -> dict[str, tuple[str, str, str, str, str]]:
    """Returns id, address, slot, vendor and device of each radio; ids count the sorted slots of a bus."""
    found = {}
    for phy in phys:
        path = sysfs / phy / "device"
        real = Path(os.path.realpath(path))
        bus = Path(os.path.realpath(path / "subsystem")).name if path.exists() else ""
        if bus not in ("pci", "usb"):
            bus = "other"
        found[phy] = (bus, f"{bus}/{real.name if path.exists() else phy}", path)
    counts: dict[str, int] = {}
    result = {}
    for phy, (bus, slot, path) in sorted(
        found.items(), key=lambda item: (item[1][0], _natural(item[1][1]), item[0])
    ):
        number = counts[bus] = counts.get(bus, -1) + 1
        ids = ("vendor", "device") if bus == "pci" else ("../idVendor", "../idProduct")
        vendor, device = (_hex(path / name) for name in ids)
        result[phy] = (f"{bus}-wifi-{number}", _text(sysfs / phy / "macaddress"), slot, vendor, device)
    return result


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts 10 after 9."""

    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _hex(path: Path) -> str:
    text = _text(path)
    return text if text.startswith("0x") or not text else f"0x{text}"

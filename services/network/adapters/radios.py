"""The radios of this machine: what the kernel tells about them, and in which slots they are."""

import asyncio
import os
import re
from collections.abc import Iterable
from pathlib import Path

from services.network.adapters.nl80211 import Nl80211
from services.network.domain.access_points import Radio
from services.network.domain.stations import Capabilities, WirelessInterface

SYSFS = Path("/sys/class/ieee80211")


class KernelRadios:
    """Asks nl80211 and sysfs."""

    def __init__(self, kernel: Nl80211, sysfs: Path = SYSFS) -> None:
        self._kernel = kernel
        self._sysfs = sysfs

    async def list(self) -> list[Radio]:
        """Returns the radios by id; raises Unavailable (NL80211_UNAVAILABLE)."""
        capabilities = await self._kernel.capabilities()
        interfaces = await self._kernel.interfaces()
        devices = await asyncio.to_thread(_devices, self._sysfs, [radio.phy for radio in capabilities])
        return sorted(
            (_radio(radio, interfaces, *devices[radio.phy]) for radio in capabilities),
            key=lambda radio: radio.id,
        )

    async def move_to_namespace(self, phy: str, pid: int) -> None:
        """Moves a radio with its interfaces into the network namespace of a process."""
        for radio in await self._kernel.capabilities():
            if radio.phy == phy:
                await self._kernel.move_to_namespace(radio.index, pid)


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

"""Reads what the kernel tells about hardware and software. Blocking; meant for a thread."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import psutil

from services.common.process import VERSION
from services.node.domain.hardware import Hardware, Radio, Software, with_ids

SPECTRAL_FILES = ("ath9k/spectral_scan_ctl", "ath10k/spectral_scan_ctl", "ath11k/spectral_scan_ctl")


def scan_hardware(root: Path = Path("/")) -> Hardware:
    """Returns board and radios as they are now; `root` is the folder that holds `sys` and `proc`."""
    dmi = root / "sys/class/dmi/id"
    board = " ".join(_text(dmi / name) or "" for name in ("product_name", "product_version"))
    if not board.strip():
        # Boards without a BIOS tell their name in the device tree.
        board = _text(root / "proc/device-tree/model") or " "
    return Hardware(
        vendor=_text(dmi / "sys_vendor"),
        board=board,
        cpu=platform.machine(),
        memory_bytes=psutil.virtual_memory().total,
        radios=with_ids(_radios(root)),
    )


def wired_cards(root: Path = Path("/")) -> list[tuple[str, str]]:
    """Returns name and MAC address of each network card that is no Wi-Fi card."""
    return [
        (card.name, (_text(card / "address") or "").lower())
        for card in _entries(root / "sys/class/net")
        if (card / "device").exists() and not (card / "phy80211").exists()
    ]


def read_software(root: Path = Path("/")) -> Software:
    """Returns the versions of what runs."""
    dmi = root / "sys/class/dmi/id"
    return Software(
        bios_vendor=_text(dmi / "bios_vendor"),
        bios_version=_text(dmi / "bios_version"),
        bios_date=_text(dmi / "bios_date"),
        os_version=_os_version(root / "etc/os-release"),
        kernel_version=f"Linux-{platform.release()}" if platform.release() else None,
        pd_version=VERSION or None,
    )


def _os_version(path: Path) -> str | None:
    for line in (_text(path) or "").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip("\"'") or None
    return None


def _radios(root: Path) -> Iterator[Radio]:
    for phy in _entries(root / "sys/class/ieee80211"):
        device = phy / "device"
        try:
            place = device.resolve(strict=True)
        except OSError:
            continue
        bus = _link_name(device / "subsystem")
        # A USB card is an interface of a device, and the device has the ids.
        ids = place.parent if bus == "usb" else place
        names = ("idVendor", "idProduct") if bus == "usb" else ("vendor", "device")
        vendor_id, device_id = (_hexadecimal(_text(ids / name)) for name in names)
        debug = root / "sys/kernel/debug/ieee80211" / phy.name
        yield Radio(
            slot=f"{bus if bus in ('pci', 'usb') else 'other'}/{place.name}",
            phy=phy.name,
            mac=(_text(phy / "macaddress") or "").lower(),
            vendor_id=vendor_id,
            device_id=device_id,
            driver=_link_name(device / "driver"),
            interfaces=[entry.name for entry in _entries(device / "net")],
            spectral=any(os.path.exists(debug / name) for name in SPECTRAL_FILES),
        )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(errors="replace").strip("\0 \n\t") or None
    except OSError:
        return None


def _link_name(path: Path) -> str:
    try:
        return path.readlink().name
    except OSError:
        return ""


def _hexadecimal(text: str | None) -> str:
    return f"0x{text.lower().removeprefix('0x')}" if text else ""

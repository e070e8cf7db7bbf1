"""A small Klein server that tells about hardware and load as the original daemon did: anew for each request.

Its handler behind a branch of the routes built the whole of what is known about the machine for each request,
whatever was asked for: by reading files, for it ran no program. The load was read with psutil besides.
"""

import json
import platform
import re
import time
from pathlib import Path
from typing import Any

import psutil
from klein import Klein
from twisted.web.server import Request

from benchmarks.baseline.klein_node import Node, serve

DMI = Path("/sys/devices/virtual/dmi/id")
INTERFACES = Path("/sys/class/net")
RADIOS = Path("/sys/class/ieee80211")
ROUTE = re.compile(r"(\w+)\s+(\w+)")
VIRTUAL = ("br", "docker", "sit", "veth")
MOUNT_POINTS = ("/", "/writable")


class Information:
    """What is known about the machine; made for each request."""

    routes = Klein()

    def __init__(self) -> None:
        self._hardware = {
            "vendor": _read(DMI / "sys_vendor"),
            "board": f"{_read(DMI / 'product_name') or ''} {_read(DMI / 'product_version') or ''}",
            # Python looks once, and keeps it.
            "cpu": platform.processor(),
            "memory": psutil.virtual_memory().total,
            "wifi": [device for device in _devices() if device["type"] == "wifi"],
        }
        self._software = {
            "biosVendor": _read(DMI / "bios_vendor"),
            "biosVersion": _read(DMI / "bios_version"),
            "biosDate": _read(DMI / "bios_date"),
            "osVersion": _read(Path("/proc/version_signature")),
            "kernelVersion": f"{platform.system()}-{platform.release()}",
            "uptime": int(float((_read(Path("/proc/uptime")) or "0").split()[0])),
        }

    @routes.route("/hardware", methods=["GET"])
    def hardware(self, request: Request) -> bytes:
        """Answers the hardware."""
        return _answer(request, self._hardware)

    @routes.route("/software", methods=["GET"])
    def software(self, request: Request) -> bytes:
        """Answers the versions."""
        return _answer(request, self._software)

    @routes.route("/telemetry", methods=["GET"])
    def telemetry(self, request: Request) -> bytes:
        """Answers the load."""
        return _answer(request, report())


class InfoNode(Node):
    """The information behind the original's two ways to log in."""

    app = Klein()

    @app.route("/api/v1/info", branch=True)
    def information(self, request: Request) -> Any:
        """Hands over to what answers, or answers 401."""
        if not self.authorised(request):
            return b""
        return Information().routes.resource()


def report() -> dict[str, Any]:
    """Reads the counters that the documented report holds."""
    counters, addresses = psutil.net_io_counters(pernic=True), psutil.net_if_addrs()
    return {
        "time": time.time(),
        "chutes": [],
        "network": [
            {"name": name, "type": None, **stats._asdict(),
             "io_counters": counters[name]._asdict() if name in counters else None,
             "addresses": [address._asdict() for address in addresses.get(name, ())]}
            for name, stats in psutil.net_if_stats().items()
        ],
        "system": {
            "boot_time": psutil.boot_time(), "cpu_count": psutil.cpu_count(),
            "cpu_stats": psutil.cpu_stats()._asdict(),
            "cpu_times": [times._asdict() for times in psutil.cpu_times(percpu=True)],
            "disk_io_counters": getattr(psutil.disk_io_counters(), "_asdict", dict)(),
            "disk_usage": [
                {"mountpoint": part.mountpoint, **psutil.disk_usage(part.mountpoint)._asdict()}
                for part in psutil.disk_partitions() if part.mountpoint in MOUNT_POINTS
            ],
            "net_io_counters": psutil.net_io_counters()._asdict(),
            "swap_memory": psutil.swap_memory()._asdict(),
            "virtual_memory": psutil.virtual_memory()._asdict(),
        },
    }  # fmt: skip


def _answer(request: Request, content: dict[str, Any]) -> bytes:
    for name, value in (
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "GET, PUT, POST, DELETE"),
        ("Access-Control-Allow-Headers", "Content-Type"),
        ("Access-Control-Max-Age", "2520"),
        ("Content-Type", "application/json"),
    ):
        request.setHeader(name, value)  # type: ignore[no-untyped-call]
    return json.dumps(content).encode()


def _devices() -> list[dict[str, Any]]:
    """Walks through the interfaces with wires, then through the radios and all interfaces again."""
    names = [path.name for path in INTERFACES.iterdir()]
    found = [
        {"name": name, "mac": _read(INTERFACES / name / "address"), "type": "wan" if _is_wan(name) else "lan"}
        for name in names
        if name != "lo" and "." not in name and not name.startswith(VIRTUAL)
        if not (INTERFACES / name / "wireless").exists()
    ]
    radios = sorted(RADIOS.iterdir()) if RADIOS.exists() else []
    owners = [
        (_read(INTERFACES / name / "phy80211/name"), _read(INTERFACES / name / "ifindex")) for name in names
    ]
    return found + [
        {
            "type": "wifi",
            "id": f"pci-wifi-{number}",
            "macAddr": _read(radio / "macaddress"),
            "vendorId": _read(radio / "device/vendor"),
            "deviceId": _read(radio / "device/device"),
            "interfaces": [index for owner, index in owners if owner == radio.name],
        }
        for number, radio in enumerate(radios)
    ]


def _is_wan(name: str) -> bool:
    with Path("/proc/net/route").open() as file:
        rows = [ROUTE.match(line) for line in file]
    return any(row is not None and row.groups() == (name, "00000000") for row in rows)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


if __name__ == "__main__":
    serve(InfoNode)

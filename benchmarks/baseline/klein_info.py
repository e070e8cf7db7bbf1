"""A small Klein server that tells about hardware and load as the original daemon did: anew for each request.

The original built its information object per request, which ran programs and walked through /sys, and then
read counters with psutil.
"""

import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
from klein import Klein
from twisted.web.server import Request

from benchmarks.baseline.klein_node import Node, serve


class InfoNode(Node):
    """Hardware and telemetry behind the original's two ways to log in."""

    app = Klein()

    @app.route("/api/v1/info/hardware", methods=["GET"])
    def hardware(self, request: Request) -> bytes:
        """Answers the hardware, or 401."""
        return self.answer(request, scan)

    @app.route("/api/v1/info/telemetry", methods=["GET"])
    def telemetry(self, request: Request) -> bytes:
        """Answers the load, or 401."""
        return self.answer(request, lambda: {"hardware": scan(), "report": report()}["report"])


def scan() -> dict[str, Any]:
    """Looks at every network device of the machine, and asks the kernel for its name."""
    dmi = Path("/sys/class/dmi/id")
    texts = {
        name: _read(dmi / name) for name in ("sys_vendor", "product_name", "product_version", "bios_vendor")
    }
    wifi = []
    for device in sorted(Path("/sys/class/net").iterdir()):
        facts = [_read(device / name) for name in ("address", "operstate", "device/vendor", "device/device")]
        if (device / "phy80211").exists():
            wifi.append({"id": "pci-wifi-0", "macAddr": facts[0], "vendorId": facts[2], "deviceId": facts[3]})
    return {
        "vendor": texts["sys_vendor"],
        "board": f"{texts['product_name'] or ''} {texts['product_version'] or ''}",
        "cpu": subprocess.run(["uname", "-m"], capture_output=True, check=True).stdout.decode().strip(),
        "memory": psutil.virtual_memory().total,
        "wifi": wifi,
    }


def report() -> dict[str, Any]:
    """Reads the counters that the documented report holds."""
    counters, addresses = psutil.net_io_counters(pernic=True), psutil.net_if_addrs()
    return {
        "time": time.time(),
        "chutes": [],
        "network": [
            {"name": name, "isup": stats.isup, "mtu": stats.mtu, "io_counters": counters[name]._asdict(),
             "addresses": [address._asdict() for address in addresses.get(name, ())]}
            for name, stats in psutil.net_if_stats().items() if name in counters
        ],
        "system": {
            "boot_time": psutil.boot_time(), "cpu_count": psutil.cpu_count(),
            "cpu_stats": psutil.cpu_stats()._asdict(),
            "cpu_times": [times._asdict() for times in psutil.cpu_times(percpu=True)],
            "disk_io_counters": getattr(psutil.disk_io_counters(), "_asdict", dict)(),
            "disk_usage": [psutil.disk_usage("/")._asdict()],
            "swap_memory": psutil.swap_memory()._asdict(),
            "virtual_memory": psutil.virtual_memory()._asdict(),
        },
    }  # fmt: skip


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


if __name__ == "__main__":
    serve(InfoNode)

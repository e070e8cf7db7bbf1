"""Reads the load of the machine with psutil. Blocking; meant for a thread."""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from services.node.domain.ports import ChuteFacts

MOUNT_POINTS = ("/", "/writable")
INTERNAL_INTERFACE = re.compile(r"(lo|br-lan|docker0|wlan0|veth.*|.*\..*)")
"""Interfaces that the status leaves out."""
DISK_COUNTERS = (
    "read_count", "write_count", "read_bytes", "write_bytes", "read_time", "write_time",
    "read_merged_count", "write_merged_count", "busy_time",
)  # fmt: skip
INTERFACE_COUNTERS = (
    "bytes_sent", "bytes_recv", "packets_sent", "packets_recv", "errin", "errout", "dropin", "dropout",
)  # fmt: skip
INITS = ("docker-init", "tini", "catatonit")
MAX_INT32 = 2**31 - 1


def telemetry(chutes: Sequence[ChuteFacts]) -> dict[str, Any]:
    """Returns the documented report: sizes in bytes, times in seconds, counters since boot."""
    interfaces = {reading["name"]: reading for reading in _interfaces()}
    return {
        "time": time.time(),
        "chutes": [
            {
                "name": chute.name,
                "state": chute.state,
                "process": _process(chute.pid) if chute.pid else None,
                "network": [
                    interfaces.pop(name) | {"type": kind}
                    for name, kind in chute.interfaces.items()
                    if name in interfaces
                ],
            }
            for chute in chutes
        ],
        "network": list(interfaces.values()),
        "system": _system(),
    }


class ProcessorLoad:
    """Load of each processor since it was last asked for, by any thread; psutil keeps one for each."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times(percpu=True)

    def percents(self) -> list[int]:
        """Returns whole percents, one for each processor."""
        before, self._before = self._before, psutil.cpu_times(percpu=True)
        return [_percent(then, now) for then, now in zip(before, self._before, strict=False)]


def _percent(then: Any, now: Any) -> int:
    # Time in guests is part of the user's.
    passed = {
        name: now_s - getattr(then, name) for name, now_s in now._asdict().items() if "guest" not in name
    }
    total_s = sum(passed.values())
    idle_s = passed["idle"] + passed["iowait"]
    return min(100, max(0, round(100 * (1 - idle_s / total_s)))) if total_s > 0 else 0


def status(load: ProcessorLoad) -> dict[str, Any]:
    """Returns the document of the status socket."""
    addresses, counters = psutil.net_if_addrs(), psutil.net_io_counters(pernic=True)
    return {
        "cpu_load": load.percents(),
        "mem": _fields(psutil.virtual_memory(), ("total", "available", "free", "cached", "buffers")),
        "disk": {usage.pop("mountpoint"): usage for usage in _disk_usage()},
        "network": {
            name: _status_of(stats, addresses.get(name, ()), counters.get(name))
            for name, stats in psutil.net_if_stats().items()
            if not INTERNAL_INTERFACE.fullmatch(name)
        },
    }


def _status_of(stats: Any, addresses: Sequence[Any], counters: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"isup": stats.isup, "speed": min(stats.speed, MAX_INT32), "mtu": stats.mtu}
    for address in addresses:
        if address.family.name == "AF_INET" and "ipv4" not in found:
            found |= {"ipv4": address.address, "netmask": address.netmask or ""}
        elif address.family.name == "AF_PACKET":
            found["mac"] = address.address
    return found | (counters._asdict() if counters else {})


def _interfaces() -> list[dict[str, Any]]:
    addresses, counters = psutil.net_if_addrs(), psutil.net_io_counters(pernic=True)
    return [
        {
            "name": name,
            "type": None,
            "isup": stats.isup,
            "duplex": int(stats.duplex),
            "speed": min(stats.speed, MAX_INT32),
            "mtu": stats.mtu,
            "addresses": [
                {
                    "family": int(address.family),
                    "address": address.address,
                    "netmask": address.netmask,
                    "broadcast": address.broadcast,
                    "ptp": address.ptp,
                }
                for address in addresses.get(name, ())
            ],
            "io_counters": counters[name]._asdict() if name in counters else None,
        }
        for name, stats in psutil.net_if_stats().items()
    ]


def _process(pid: int) -> dict[str, Any] | None:
    with suppress(psutil.Error):
        process = psutil.Process(_program(pid))
        with process.oneshot():
            times = ("user", "system", "children_user", "children_system")
            memory = ("rss", "vms", "shared", "text", "lib", "data", "dirty")
            return {
                "cpu_num": process.cpu_num(),
                "cpu_times": _fields(process.cpu_times(), times),
                "create_time": process.create_time(),
                "memory_info": _fields(process.memory_info(), memory),
                "num_ctx_switches": process.num_ctx_switches()._asdict(),
                "num_threads": process.num_threads(),
            }
    return None


def _program(pid: int) -> int:
    # Containers begin with an init of the engine, which only waits; what works is its first child.
    with suppress(OSError, IndexError):
        folder = Path("/proc") / str(pid)
        if (folder / "comm").read_text().strip() in INITS:
            return int((folder / "task" / str(pid) / "children").read_text().split(maxsplit=1)[0])
    return pid


def _system() -> dict[str, Any]:
    return {
        "boot_time": psutil.boot_time(),
        "cpu_count": psutil.cpu_count() or 1,
        "cpu_stats": psutil.cpu_stats()._asdict(),
        "cpu_times": [times._asdict() for times in psutil.cpu_times(percpu=True)],
        "disk_io_counters": _counted(psutil.disk_io_counters(), DISK_COUNTERS),
        "disk_usage": _disk_usage(),
        "net_io_counters": _counted(psutil.net_io_counters(), INTERFACE_COUNTERS),
        "swap_memory": psutil.swap_memory()._asdict(),
        "virtual_memory": psutil.virtual_memory()._asdict(),
    }


def _disk_usage() -> list[dict[str, Any]]:
    usage = []
    mounted = {partition.mountpoint for partition in psutil.disk_partitions(all=True)}
    for point in MOUNT_POINTS:
        if point == "/" or point in mounted:
            with suppress(OSError):
                usage.append({"mountpoint": point} | _fields(psutil.disk_usage(point), ("total", "used")))
    return usage


def _counted(counters: Any, names: Sequence[str]) -> dict[str, Any]:
    # Without a disk, or without an interface, nothing was counted; the keys are documented.
    return _fields(counters, names) if counters else dict.fromkeys(names, 0)


def _fields(reading: Any, names: Sequence[str]) -> dict[str, Any]:
    values: Mapping[str, Any] = reading._asdict()
    return {name: values.get(name, 0) for name in names}

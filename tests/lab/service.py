"""Runs the network service inside the lab's machine, with the networks of a plan.

    python -m tests.lab.service PLAN

The plan is JSON: networks with the fields of `AccessPointConfig` beside chute, name, section and subnet.
SIGHUP lets it be read again: networks that are new are set up, those that are gone are removed.
"""

import asyncio
import json
import signal
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from services.common.settings import load_settings
from services.network.app import serving_networks
from services.network.domain.access_points import AccessPointConfig, RadioConfig
from services.network.domain.dhcp import DhcpConfig
from services.network.domain.targets import NetworkTable
from services.network.domain.wireless import Target
from services.network.wireless import WirelessParts

LEASES = Path("/run/paradrop/leases")


async def _set_up(parts: WirelessParts, table: NetworkTable, entry: dict[str, Any]) -> None:
    radio = RadioConfig(phy=entry["phy"], channel=entry.get("channel", 1), hwmode=entry.get("hwmode", "11g"))
    options = {name: entry[name] for name in ("encryption", "key", "hidden", "isolate") if name in entry}
    config = AccessPointConfig(interface=entry["interface"], radio=radio, ssid=entry["ssid"], **options)
    await parts.access_points.ensure(config)
    subnet = IPv4Network(entry["subnet"])
    lease_file = LEASES / f"dnsmasq-{config.interface}.leases"
    address = f"{subnet[1]}/{subnet.prefixlen}"
    await asyncio.to_thread(
        subprocess.run, ["ip", "address", "replace", address, "dev", config.interface], check=True
    )
    await parts.servers.ensure(
        DhcpConfig(config.interface, subnet, subnet[10], subnet[200], "12h", lease_file, address=subnet[1])
    )
    table.set(entry["chute"], [entry["name"], entry["section"]], Target(config.interface, lease_file))


async def _follow(parts: WirelessParts, table: NetworkTable, plan: Path) -> None:
    while True:
        wanted = json.loads(plan.read_text())
        for entry in wanted:
            await _set_up(parts, table, entry)
        interfaces = [entry["interface"] for entry in wanted]
        await parts.access_points.keep_only(interfaces)
        await parts.servers.keep_only(interfaces)
        plan.with_suffix(".done").write_text("done")
        again = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again.set)
        await again.wait()


async def _main(plan: Path) -> None:
    table = NetworkTable()
    async with serving_networks(load_settings(), table) as parts:
        await _follow(parts, table, plan)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))

"""The state of the node as controllers of Paradrop 0.13 know it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from services.common.errors import DomainError
from services.node.adapters import sysfs, zerotier
from services.node.adapters.observer import NodeObserver
from services.node.domain.hardware import Radio
from services.node.domain.inventory import Inventory

Document = dict[str, Any]


async def state_report(
    router_id: str | None,
    *,
    observer: NodeObserver,
    inventory: Inventory,
    status: Callable[[], Awaitable[Document]],
    host_config: Callable[[], Awaitable[Document]],
    origins: Callable[[], Awaitable[Document]],
    zerotier_dir: Path,
) -> Document:
    """Returns the report; what cannot be had now is empty in it."""
    software, hardware = inventory.software, inventory.hardware
    chutes: Sequence[Document] = []
    load: Document = {}
    with suppress(grpc.aio.AioRpcError, DomainError):
        known = await origins()
        chutes = [
            _chute(json_format.MessageToDict(chute), known.get(chute.name))
            for chute in (await observer.state()).chutes
        ]
    with suppress(DomainError):
        load = await status()
    name, _, product_version = hardware.board.partition(" ")
    config = await host_config()
    return {
        "timestamp": time.time(),
        "name": router_id,
        "osVersion": software.os_version,
        "paradropVersion": software.pd_version,
        "pdinstallVersion": None,
        "chutes": chutes,
        "devices": [
            *_wired(await asyncio.to_thread(sysfs.wired_cards), config.get("wan")),
            *map(_wireless, hardware.radios),
        ],
        "hostConfig": config,
        "snaps": [],
        "zerotierAddress": await asyncio.to_thread(zerotier.read_address, zerotier_dir),
        "dmi": {
            "bios_date": software.bios_date,
            "bios_vendor": software.bios_vendor,
            "bios_version": software.bios_version,
            "product_name": name or None,
            "product_serial": None,
            "product_version": product_version or None,
            "sys_vendor": hardware.vendor,
        },
        "status": load,
    }


def _wired(cards: Sequence[tuple[str, str]], wan: Any) -> Sequence[Document]:
    uplink = wan.get("interface") if isinstance(wan, dict) else None
    return [{"name": name, "mac": mac, "type": "wan" if name == uplink else "lan"} for name, mac in cards]


def _wireless(radio: Radio) -> Document:
    return {
        "name": f"wifi{radio.mac.replace(':', '')}",
        "mac": radio.mac,
        "type": "wifi",
        "phy": radio.phy,
        "vendor": radio.vendor_id,
        "device": radio.device_id,
        "slot": radio.slot,
        "primary_interface": radio.interfaces[0] if radio.interfaces else None,
        "id": radio.id,
    }


def _chute(chute: Mapping[str, Any], origin: Document | None) -> Document:
    return {
        "name": chute["name"],
        "desired": chute.get("desired_state"),
        "state": chute.get("state"),
        "services": chute.get("services", {}),
        "warning": chute.get("deviation", {}).get("message"),
        "version": chute.get("version"),
        "allocation": None,
        "environment": chute.get("environment", {}),
        "external": origin,
        "resources": None,
    }

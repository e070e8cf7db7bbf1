"""Keeps the rules of access lists in one small file, written only when somebody changes them."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from services.common.files import write_atomically

log = structlog.get_logger()


class JsonRuleStore:
    """The rules as JSON."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._turn = asyncio.Lock()

    async def load(self) -> Mapping[str, Any]:
        """Returns what was saved last; nothing if that cannot be read, and the log says so."""
        try:
            content = json.loads(await asyncio.to_thread(self._file.read_bytes))
            return {
                str(interface): {
                    "mode": "allow" if kept["mode"] == "allow" else "deny",
                    "macs": [str(mac) for mac in kept["macs"]],
                    "bans": {str(mac): float(until_s) for mac, until_s in kept["bans"].items()},
                }
                for interface, kept in content.items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            log.error("access lists cannot be read and are empty now", file=str(self._file))
            return {}

    async def save(self, rules: Mapping[str, Any]) -> None:
        """Replaces what is kept."""
        async with self._turn:
            await asyncio.to_thread(write_atomically, self._file, json.dumps(rules).encode())

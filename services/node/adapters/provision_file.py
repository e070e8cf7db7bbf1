"""Keeps the provision in one private file."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import structlog

from services.common.files import write_atomically
from services.node.domain.provision import Provision

log = structlog.get_logger()


class JsonProvisionFile:
    """`provision.json` in the folder of the node service."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, defaults: Provision) -> Provision:
        """Returns what is kept, or the defaults. Blocking."""
        try:
            return Provision(**json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return defaults
        except (ValueError, TypeError):
            aside = self._path.with_suffix(".unreadable")
            self._path.replace(aside)
            log.error(
                "the provision cannot be read and was put aside; provision the node anew", file=str(aside)
            )
            return defaults

    async def save(self, provision: Provision) -> None:
        """Keeps it; when this returns it survives power loss."""
        await asyncio.to_thread(write_atomically, self._path, json.dumps(asdict(provision)).encode())

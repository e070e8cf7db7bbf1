"""Keeps the provision in one private file."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from services.common.files import write_atomically
from services.node.domain.provision import REPORT_SCHEMES, Provision

log = structlog.get_logger()


class JsonProvisionFile:
    """`provision.json` in the folder of the node service."""

    def __init__(self, path: Path, public_file: Path) -> None:
        self._path = path
        self._public_file = public_file

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
        await asyncio.to_thread(self._save, provision)

    def _save(self, provision: Provision) -> None:
        write_atomically(self._path, json.dumps(asdict(provision)).encode())
        # The auth service asks this controller about its users.
        if provision.provisioned and urlsplit(provision.pdserver).scheme in REPORT_SCHEMES:
            told = {"pdid": provision.router_id, "pdserver": provision.pdserver}
            write_atomically(self._public_file, json.dumps(told).encode())
        else:
            self._public_file.unlink(missing_ok=True)

"""The YAML file in which people find the host configuration in force."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
import yaml

from services.common.files import write_atomically

MAX_BYTES = 1024 * 1024

log = structlog.get_logger()


class YamlHostFile:
    """Reads and writes hostconfig.yaml; it may hold keys of access points, so nobody else reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Mapping[str, Any] | None:
        """Returns what the file holds; None if there is none, or nothing that could be a document."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Mapping[str, Any] | None:
        try:
            with self._path.open("rb") as file:
                document = yaml.safe_load(file.read(MAX_BYTES))
        except FileNotFoundError:
            return None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
            log.warning("the file of the host configuration is no YAML", path=str(self._path))
            return None
        return document if isinstance(document, dict) and all(map(_is_text, document)) else None

    async def write(self, document: Mapping[str, Any]) -> None:
        """Replaces the file."""
        text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True)
        await asyncio.to_thread(write_atomically, self._path, text.encode())


def _is_text(key: object) -> bool:
    return isinstance(key, str)

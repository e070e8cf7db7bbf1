"""The files from which everybody else learns whom to believe."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.common.files import READABLE, write_atomically


class Publication:
    """Writes the public keys and the principals, and nothing when they are the same as before."""

    def __init__(self, public_dir: Path) -> None:
        self._jwks_file = public_dir / "jwks.json"
        self._principals_file = public_dir / "principals.json"

    async def publish_keys(self, jwks: Mapping[str, Any]) -> None:
        """Publishes the public keys."""
        await asyncio.to_thread(_write, self._jwks_file, jwks)

    async def publish(self, principals: Mapping[str, Any]) -> None:
        """Publishes who exists."""
        await asyncio.to_thread(_write, self._principals_file, principals)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    content = json.dumps(document, sort_keys=True).encode()
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    write_atomically(path, content, READABLE)

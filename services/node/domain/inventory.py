"""What the node is made of, scanned once and when a device comes or goes."""

import asyncio
from collections.abc import Callable

import structlog

from services.common.feed import Feed
from services.node.domain.hardware import Hardware, Software

log = structlog.get_logger()


class Inventory:
    """Holds the result of the last scan."""

    def __init__(self, scan: Callable[[], Hardware], hardware: Hardware, software: Software) -> None:
        self._scan = scan
        self._scanning: asyncio.Task[None] | None = None
        self._again = False
        self.hardware = hardware
        self.software = software
        self.changes: Feed[None] = Feed()
        """Tells that `hardware` has changed."""

    def scan_soon(self) -> None:
        """Scans anew in the background; calls during a scan make one more."""
        if self._scanning is not None and not self._scanning.done():
            self._again = True
        else:
            self._scanning = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self._again = False
            found = await asyncio.to_thread(self._scan)
            if found != self.hardware:
                log.info("the hardware has changed", radios=[radio.id for radio in found.radios])
                self.hardware = found
                self.changes.publish(None)
            if not self._again:
                return

"""Holds changes back while the engine cannot be used."""

import asyncio

RETRY_INTERVAL_S = 0.5


class EngineGate:
    """Open while the engine answers and what crashes have left in it is swept."""

    def __init__(self) -> None:
        self._open = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the engine can be used."""
        return self._open.is_set()

    def open(self) -> None:
        """Lets changes through."""
        self._open.set()

    def close(self) -> None:
        """Holds changes back before their next use of the engine."""
        self._open.clear()

    async def passed(self) -> None:
        """Waits until the engine can be used."""
        await self._open.wait()

    async def passed_again(self) -> None:
        """Waits after a call failed because the engine did not answer, which the gate may not know yet."""
        await asyncio.sleep(RETRY_INTERVAL_S)
        await self._open.wait()

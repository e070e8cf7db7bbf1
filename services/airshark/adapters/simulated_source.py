"""Plays a scenario as if a radio gave it."""

import asyncio
import time
from collections.abc import AsyncIterator

from services.airshark.domain.sources import Chunk, SourceKind
from services.airshark.simulator.radio import RECORD
from services.airshark.simulator.scenario import Scenario
from services.airshark.simulator.simulate import simulate

CHUNK_S = 0.1
RADIO = "simulated"


class SimulatedSource:
    """A scenario at its own pace, from its start again when it has come to its end."""

    kind = SourceKind.SIMULATED
    radio = RADIO

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        devices = ", ".join(spec.device for spec in scenario.devices) or "no device"
        self.description = f"simulation of {devices}, seed {scenario.seed}"

    async def present(self) -> bool:
        """Tells that it is there; it always is."""
        return True

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yields a chunk each 100 ms, for ever."""
        per_chunk = max(round(CHUNK_S / self._scenario.plan.interval_s), 1) * RECORD.itemsize
        while True:
            due_s = time.monotonic()
            pieces = simulate(self._scenario)
            rest = b""
            # Some thousands of samples at a time are worked out ahead, in a thread.
            while piece := await asyncio.to_thread(next, pieces, b""):
                rest += piece
                while len(rest) >= per_chunk:
                    due_s += CHUNK_S
                    await asyncio.sleep(max(due_s - time.monotonic(), 0.0))
                    yield Chunk(rest[:per_chunk], time.time())
                    rest = rest[per_chunk:]
            if rest:
                yield Chunk(rest, time.time())
            await asyncio.sleep(max(due_s - time.monotonic(), 0.0))

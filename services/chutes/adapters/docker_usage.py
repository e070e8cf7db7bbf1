"""What containers use: from the kernel's own files where they can be seen, else from the engine."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from services.chutes.adapters.cgroups import Cgroups
from services.chutes.adapters.docker_client import EngineConnection
from services.chutes.adapters.docker_stream import Conveyor, StreamingCall, conveyed
from services.chutes.domain.ports import ContainerState, Measurement
from services.common.errors import DomainError

KEPT_S = 5.0
"""A stream of the engine ends when nobody has asked for so long."""
FIRST_S = 3.0
DEPTH = 4


class UsageReader:
    """Measures containers; an engine elsewhere has one stream open for each container that is asked about."""

    def __init__(self, connection: EngineConnection, cgroups: Cgroups | None = None) -> None:
        self._connection = connection
        self._cgroups = cgroups or Cgroups()
        self._streams: dict[str, _Stream] = {}

    async def measure(self, containers: Sequence[ContainerState]) -> Mapping[str, Measurement]:
        """Returns what containers use, by their ids; those that have ended are left out."""
        ids = [state.id for state in containers]
        seen = await asyncio.to_thread(lambda: {one: self._cgroups.measure(one) for one in ids})
        found = {one: measurement for one, measurement in seen.items() if measurement is not None}
        hidden = [one for one in ids if one not in found]
        if hidden:
            asked = await asyncio.gather(*(self._stream(one).latest() for one in hidden))
            found |= {one: latest for one, latest in zip(hidden, asked, strict=True) if latest is not None}
        return found

    def forget(self, present: set[str]) -> None:
        """Forgets containers that are gone."""
        self._cgroups.forget(present)

    def _stream(self, container: str) -> "_Stream":
        stream = self._streams.get(container)
        if stream is None or stream.task.done():
            self._streams = {one: other for one, other in self._streams.items() if not other.task.done()}
            stream = self._streams[container] = _Stream(self._connection, container)
        return stream

    async def close(self) -> None:
        """Ends the streams."""
        tasks = [stream.task for stream in self._streams.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Stream:
    """The engine's statistics of one container, once a second."""

    def __init__(self, connection: EngineConnection, container: str) -> None:
        self._latest: Measurement | None = None
        self._first = asyncio.Event()
        self._asked_s = time.monotonic()
        self.task = asyncio.create_task(self._run(connection, container), name="engine statistics")

    async def latest(self) -> Measurement | None:
        """Returns the newest; waits a moment for the first."""
        self._asked_s = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S):
                await self._first.wait()
        return self._latest

    async def _run(self, connection: EngineConnection, container: str) -> None:
        try:
            with suppress(DomainError):
                async with conveyed(connection, _produce(container), "stats", DEPTH) as conveyor:
                    await self._take(conveyor)
        finally:
            self._first.set()

    async def _take(self, conveyor: Conveyor[Measurement]) -> None:
        while (batch := await conveyor.batch(KEPT_S)) is not None:
            if batch:
                self._latest = batch[-1]
                self._first.set()
            if time.monotonic() - self._asked_s > KEPT_S:
                return


def _produce(container: str) -> Callable[[StreamingCall, Callable[[Measurement], None]], None]:
    def produce(call: StreamingCall, put: Callable[[Measurement], None]) -> None:
        with call.open() as client:
            for statistics in client.stats(container, decode=True, stream=True):
                measurement = to_measurement(statistics)
                if measurement is not None:
                    put(measurement)

    return produce


def to_measurement(statistics: Mapping[str, Any]) -> Measurement | None:
    """Returns what the engine's statistics say; None if the container has ended."""
    memory = statistics.get("memory_stats") or {}
    usage = memory.get("usage")
    if usage is None:
        return None
    details = memory.get("stats") or {}
    inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
    networks = (statistics.get("networks") or {}).values()
    blocks = (statistics.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    return Measurement(
        time_s=time.time(),
        cpu_ns=statistics["cpu_stats"]["cpu_usage"]["total_usage"],
        memory_bytes=max(0, usage - inactive),
        # Without a limit the engine names the memory of the machine, which is one.
        memory_limit_bytes=memory.get("limit"),
        received_bytes=sum(network["rx_bytes"] for network in networks),
        sent_bytes=sum(network["tx_bytes"] for network in networks),
        read_bytes=sum(block["value"] for block in blocks if block["op"].lower() == "read"),
        written_bytes=sum(block["value"] for block in blocks if block["op"].lower() == "write"),
        pid_count=(statistics.get("pids_stats") or {}).get("current", 0),
    )

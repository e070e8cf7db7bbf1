"""What the containers of a chute use of the node, measured only while somebody wants to know."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from services.chutes.domain.chute import Chute
from services.chutes.domain.ports import Engine, Measurement
from services.chutes.domain.registry import Registry
from services.common.errors import InvalidArgument, Unavailable

FRESH_S = 0.5
"""A measurement younger than this serves all who ask."""
FIRST_INTERVAL_S = 0.25
"""How long the load of the processor is watched for somebody who asks once."""
OLD_S = 60.0
IDLE_S = 10.0
MIN_INTERVAL_S, MAX_INTERVAL_S = 1, 60


@dataclass(frozen=True, slots=True)
class ServiceUsage:
    """What one container uses."""

    measured: Measurement
    cpu_percent: float | None
    """Of one processor; None until there is a second measurement."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two measurements of a container."""

    at_s: float
    usage: ServiceUsage


class UsageMeter:
    """Measures containers, at most once in half a second whoever asks."""

    def __init__(
        self, engine: Engine, registry: Registry, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._monotonic = monotonic
        self._known: dict[str, _Pair] = {}
        self._measuring = asyncio.Lock()

    async def read(self, chute: Chute) -> Mapping[str, ServiceUsage]:
        """Returns what the running services of a chute use, by service."""
        usage = await self._measure(chute)
        if any(service.cpu_percent is None for service in usage.values()):
            await asyncio.sleep(FIRST_INTERVAL_S)
            usage = await self._measure(chute)
        return usage

    async def watch(self, chute: Chute, interval_s: int) -> AsyncIterator[Mapping[str, ServiceUsage] | None]:
        """Yields what the services use at each interval until the chute is gone; None only shows life."""
        if not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
            raise InvalidArgument(
                f"interval_s must be from {MIN_INTERVAL_S} to {MAX_INTERVAL_S}, not {interval_s}.",
                reason="INTERVAL_OUT_OF_RANGE",
                field="interval_s",
            )
        current: Chute | None = chute
        while current is not None:
            begin_s = self._monotonic()
            yield await self.read(current)
            while (rest_s := begin_s + interval_s - self._monotonic()) > 0:
                await asyncio.sleep(min(rest_s, IDLE_S))
                if rest_s > IDLE_S:
                    yield None
            current = self._registry.installed.get(chute.name)

    async def _measure(self, chute: Chute) -> Mapping[str, ServiceUsage]:
        async with self._measuring:
            states = self._engine.containers()
            if states is None:
                raise Unavailable(
                    "The container engine does not answer, so nothing can be measured.", reason="ENGINE_DOWN"
                )
            running = {
                service: states[container]
                for service, container in chute.containers.items()
                if container in states and states[container].status == "running"
            }
            now_s = self._monotonic()
            stale = [state for state in running.values() if not self._is_fresh(state.id, now_s)]
            if stale:
                self._take(await self._engine.measure(stale))
                self._forget({state.id for state in states.values()})
        return {
            service: self._known[state.id].usage
            for service, state in running.items()
            if state.id in self._known
        }

    def _is_fresh(self, container: str, now_s: float) -> bool:
        known = self._known.get(container)
        return known is not None and now_s - known.at_s < FRESH_S and known.usage.cpu_percent is not None

    def _take(self, measured: Mapping[str, Measurement]) -> None:
        at_s = self._monotonic()
        for container, measurement in measured.items():
            before = self._known.get(container)
            percent = _percent(before.usage.measured, measurement) if before else None
            self._known[container] = _Pair(at_s, ServiceUsage(measurement, percent))

    def _forget(self, present: set[str]) -> None:
        for container in set(self._known) - present:
            del self._known[container]


def _percent(before: Measurement, after: Measurement) -> float | None:
    passed_s = after.time_s - before.time_s
    # Of a time long past nobody wants the average; a container that was started again begins at nothing.
    if not 0 < passed_s <= OLD_S or after.cpu_ns < before.cpu_ns:
        return None
    return (after.cpu_ns - before.cpu_ns) / passed_s / 1e7


def total(services: Sequence[ServiceUsage]) -> ServiceUsage:
    """Returns what services use together; their limit is unknown unless each has one."""
    measured = [service.measured for service in services]
    limits = [one.memory_limit_bytes for one in measured]
    known = [limit for limit in limits if limit is not None]
    percents = [service.cpu_percent for service in services if service.cpu_percent is not None]
    return ServiceUsage(
        Measurement(
            time_s=max((one.time_s for one in measured), default=0.0),
            cpu_ns=sum(one.cpu_ns for one in measured),
            memory_bytes=sum(one.memory_bytes for one in measured),
            memory_limit_bytes=sum(known) if known and len(known) == len(limits) else None,
            received_bytes=sum(one.received_bytes for one in measured),
            sent_bytes=sum(one.sent_bytes for one in measured),
            read_bytes=sum(one.read_bytes for one in measured),
            written_bytes=sum(one.written_bytes for one in measured),
            pid_count=sum(one.pid_count for one in measured),
        ),
        sum(percents) if percents and len(percents) == len(services) else None,
    )

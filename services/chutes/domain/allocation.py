"""How the processor is shared out, by the rule of the original.

A service may ask for a fraction of the processor. What the fractions of all running services leave is divided
equally among all of them, those with a fraction included. 1024 shares are the even portion.
"""

from collections.abc import Iterable, Mapping, Sequence

import structlog

from services.chutes.domain.chute import Chute
from services.chutes.domain.ports import ContainerState, Engine, TrafficPriority
from services.chutes.domain.spec import ChuteSpec, ServiceSpec
from services.common.errors import DomainError, FailedPrecondition

EVEN_SHARE = 1024
LEAST_SHARE = 2
NOT_OURS = ("", "127.0.0.1")
"""Addresses of containers without a network, and of those on the node's own."""
_ROUNDING = 1e-9

log = structlog.get_logger()


def fraction_of(service: ServiceSpec) -> float:
    """Returns the fraction of the processor that a service asks for, 0 to 1."""
    return float(service.requests.get("cpu-fraction") or 0.0)


def cpu_shares(running: Iterable[ChuteSpec]) -> dict[str, int]:
    """Returns the shares of each container of the chutes that should run."""
    fractions = {
        spec.container_name(name): fraction_of(service)
        for spec in running
        for name, service in spec.services.items()
    }
    count = len(fractions)
    # More than everything is refused before; should it come to pass all the same, nothing is left to divide.
    rest = max(0.0, 1.0 - sum(fractions.values()))
    return {
        container: max(LEAST_SHARE, round((fraction + rest / count) * EVEN_SHARE * count))
        for container, fraction in fractions.items()
    }


def refuse_too_much(running: Iterable[ChuteSpec], chute: str) -> None:
    """Raises FailedPrecondition (CPU_FRACTION_EXCEEDED) if services ask for more than the whole processor."""
    asked = {spec.name: sum(fraction_of(service) for service in spec.services.values()) for spec in running}
    total = sum(asked.values())
    if total > 1.0 + _ROUNDING:
        others = total - asked.get(chute, 0.0)
        raise FailedPrecondition(
            f"Chute {chute} asks for {asked.get(chute, 0.0):.2f} of the processor, and the other running "
            f"chutes have {others:.2f}: together more than the whole. Ask for less, or stop another chute.",
            reason="CPU_FRACTION_EXCEEDED",
            field="requests.cpu-fraction",
            chute=chute,
        )


class Allocator:
    """Gives running containers their shares whenever chutes come and go."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._applied: dict[str, int] | None = None
        """Id of a container to its shares. Those from before the start of this service may have any."""

    async def follow(
        self, installed: Mapping[str, Chute], containers: Mapping[str, ContainerState] | None
    ) -> None:
        """Tells the engine what differs from what it was told."""
        if containers is None:
            return
        wanted = cpu_shares(chute.spec for chute in installed.values() if chute.desired == "running")
        running = [state for state in containers.values() if state.status == "running"]
        unknown = EVEN_SHARE if self._applied is not None else None
        before = self._applied or {}
        self._applied = {state.id: before[state.id] for state in running if state.id in before}
        for state in running:
            shares = wanted.get(state.name)
            if shares is None or shares == before.get(state.id, unknown):
                continue
            try:
                await self._engine.set_cpu_shares(state.name, shares)
            except DomainError as error:
                if error.reason == "ENGINE_DOWN":
                    self._applied = None
                    return
                # It may have ended in the meantime, and then there will be news of it.
                log.warning("cannot set shares", container=state.name, reason=error.reason, why=str(error))
            else:
                self._applied[state.id] = shares


class Prioritizer:
    """Puts the traffic of chutes that ask for it first, whenever they come and go."""

    def __init__(self, priority: TrafficPriority) -> None:
        self._priority = priority
        self._told: Sequence[str] | None = None

    async def follow(
        self, installed: Mapping[str, Chute], containers: Mapping[str, ContainerState] | None
    ) -> None:
        """Tells the node's networks what differs from what they were told."""
        asking = [
            chute.spec.container_name(name)
            for chute in installed.values()
            for name, service in chute.spec.services.items()
            if service.prioritize_traffic
        ]
        if containers is None or (self._told is None and not asking):
            return  # A node on which nobody asks needs none of what this takes.
        states = [containers[name] for name in asking if name in containers]
        addresses = sorted(
            state.address for state in states if state.status == "running" and state.address not in NOT_OURS
        )
        if addresses == self._told:
            return
        try:
            await self._priority.set(addresses)
        except DomainError as error:
            log.warning("cannot put traffic first", reason=error.reason, why=str(error))
        self._told = addresses

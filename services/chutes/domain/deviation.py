"""Where what runs is not what should, and how often and when the node tries to put that right."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.chutes.domain.chute import Chute
from services.chutes.domain.ports import ContainerState
from services.chutes.domain.spec import ServiceSpec

Containers = Mapping[str, ContainerState] | None

FIRST_DELAY_S = 1.0
LAST_DELAY_S = 300.0
STABLE_S = 60.0
"""A chute that has run so long after it was started is well again."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Why what runs is not what should, and what the node does about it."""

    reason: str
    message: str
    attempts: int = 0
    next_attempt_time_s: float | None = None
    """Seconds since 1970; None if the node does not wait to try again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One service that is not as it should be."""

    service: str
    reason: str
    message: str
    fallen: bool = True
    """Whether starting it again is the answer."""


def finding(chute: Chute, containers: Containers) -> Finding | None:
    """Returns a service of a chute that should run and does not do so well, a fallen one before others."""
    if chute.desired != "running" or containers is None:
        return None
    found = [
        _finding(service, containers.get(chute.spec.container_name(name)))
        for name, service in chute.spec.services.items()
    ]
    findings = [each for each in found if each is not None]
    return next((each for each in findings if each.fallen), findings[0] if findings else None)


def may_rest(service: ServiceSpec, state: ContainerState) -> bool:
    """Tells whether a container that has ended may stay so, by the restart policy of its service."""
    if state.status != "exited":
        return False
    return service.restart == "no" or (service.restart == "on-failure" and state.exit_code == 0)


def _finding(service: ServiceSpec, state: ContainerState | None) -> Finding | None:
    name = service.name
    if state is None:
        return Finding(name, "CONTAINER_MISSING", f"The container of service {name} is gone.")
    if state.status == "running":
        if state.health != "unhealthy":
            return None
        message = f"The health check of service {name} fails; see its logs."
        return Finding(name, "SERVICE_UNHEALTHY", message, fallen=False)
    if may_rest(service, state):
        return None
    how = f"ended with status {state.exit_code}" if state.exit_code is not None else f"is {state.status}"
    return Finding(name, "SERVICE_EXITED", f"Service {name} {how}; see its logs.")


@dataclass(slots=True)
class _Tries:
    count: int = 0
    last_s: float = 0.0
    next_s: float = 0.0


class Attempts:
    """How often each chute was started on the node's own account, and when that may happen again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: dict[str, _Tries] = {}

    def due(self, chute: str) -> bool:
        """Tells whether a chute may be started now."""
        tries = self._tries.get(chute)
        return tries is None or self._clock() >= tries.next_s

    def note(self, chute: str) -> None:
        """Counts an attempt; the next one waits twice as long as the one before."""
        now = self._clock()
        tries = self._tries.setdefault(chute, _Tries())
        tries.count += 1
        tries.last_s = now
        tries.next_s = now + min(LAST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(tries.count - 1, 20))

    def well(self, chute: str) -> None:
        """Forgets the attempts at a chute that has run well for long enough."""
        tries = self._tries.get(chute)
        if tries is not None and self._clock() - tries.last_s >= STABLE_S:
            del self._tries[chute]

    def forget(self, chutes: Callable[[str], bool]) -> None:
        """Forgets chutes that are not installed any more."""
        for name in [name for name in self._tries if not chutes(name)]:
            del self._tries[name]

    def count(self, chute: str) -> int:
        """Returns how often a chute was started since it last ran well."""
        tries = self._tries.get(chute)
        return tries.count if tries else 0

    def wait_s(self, chute: str) -> float:
        """Returns for how long a chute is not started again."""
        tries = self._tries.get(chute)
        return max(0.0, tries.next_s - self._clock()) if tries else 0.0

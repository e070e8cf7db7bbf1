"""What a chute's containers add up to."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.chutes.domain.chute import Chute
from services.chutes.domain.containers import port_bindings
from services.chutes.domain.deviation import Containers, may_rest


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The present state of one container of a chute."""

    service: str
    state: str
    ports: Sequence[tuple[str, int]]
    """Port in the container such as "80/tcp", and port on the node or 0."""
    exit_code: int | None
    health: str = ""
    resting: bool = False
    """Whether it has ended and may stay so."""


def service_states(chute: Chute, containers: Containers) -> list[ServiceState]:
    """Returns the states of a chute's services; `containers` is None if the engine cannot be asked."""
    return [_service_state(chute, service, containers) for service in chute.spec.services]


def chute_state(chute: Chute, services: Sequence[ServiceState]) -> str:
    """Returns "running" when all services run, else "stopped" or the state of the first that does not."""
    awake = [service for service in services if not service.resting] or services
    fallen = next((service.state for service in awake if service.state != "running"), None)
    if fallen is None:
        return "running"
    return "stopped" if chute.desired == "stopped" else fallen


def _service_state(chute: Chute, service: str, containers: Containers) -> ServiceState:
    published = {binding.key: 0 for binding in port_bindings(chute, service)}
    if containers is None:
        return ServiceState(service, "unknown", tuple(published.items()), None)
    container = containers.get(chute.spec.container_name(service))
    if container is None:
        return ServiceState(service, "missing", tuple(published.items()), None)
    if container.status == "running":
        published |= container.ports
    exit_code = container.exit_code if container.status in ("exited", "dead") else None
    return ServiceState(
        service,
        container.status,
        tuple(sorted(published.items())),
        exit_code,
        container.health,
        may_rest(chute.spec.services[service], container),
    )

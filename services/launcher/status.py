"""Asks every part of a node how it is, through the sockets that its users use."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import grpc
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import DomainError
from services.common.settings import SERVICES, Settings
from services.common.tls import blocking_channel
from services.launcher.engine import DEFAULT_ADDRESS, ask
from services.launcher.health import gateway_health, gateway_url
from services.launcher.probe import TIMEOUT_S, PartStatus, service_status

HEALTHY, DEGRADED, NOT_RUNNING = "healthy", "degraded", "not running"
EXIT_STATUS = {HEALTHY: 0, DEGRADED: 1, NOT_RUNNING: 3}


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How the whole node is."""

    state: str
    home: str
    parts: tuple[PartStatus, ...]
    issues: tuple[str, ...] = ()
    """What the node says is wrong, with what to do about it."""

    @property
    def exit_status(self) -> int:
        """What the command returns to the shell."""
        return EXIT_STATUS[self.state]

    def as_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)

    def as_table(self) -> str:
        """Returns lines for a person."""
        width = max(len(part.part) for part in self.parts)
        rows = [
            f"  {part.part:{width}}  {'ok  ' if part.ok else 'DOWN'}  {part.address}"
            + (f"  ({part.detail})" if part.detail else "")
            for part in self.parts
        ]
        issues = (
            ["What the node says is wrong:", *(f"  {issue}" for issue in self.issues)] if self.issues else []
        )
        return "\n".join([f"The node in {self.home} is {self.state}.", *rows, *issues])


def node_status(settings: Settings) -> NodeStatus:
    """Asks all parts at once. Blocking."""
    with ThreadPoolExecutor() as pool:
        services = tuple(pool.map(lambda name: service_status(name, settings), SERVICES))
        gateway = pool.submit(_gateway, settings)
        engine = pool.submit(_engine, settings)
        issues = pool.submit(_issues, settings)
        parts = (*services, gateway.result(), engine.result())
    if all(part.ok for part in parts):
        state = HEALTHY
    else:
        # What answers at the port alone may be another node's gateway.
        state = DEGRADED if any(part.ok for part in services) else NOT_RUNNING
    return NodeStatus(state, str(settings.home), parts, issues.result())


def _issues(settings: Settings) -> tuple[str, ...]:
    try:
        with blocking_channel(settings, "node") as channel:
            listed = node_pb2_grpc.NodeServiceStub(channel).ListIssues(
                node_pb2.ListIssuesRequest(),
                metadata=service_metadata(settings.service_token_file),
                timeout=TIMEOUT_S,
            )
    except (grpc.RpcError, DomainError):
        # The parts that are down are told of already.
        return ()
    return tuple(f"{issue.id}: {issue.message} {issue.suggestion}" for issue in listed.issues)


def _gateway(settings: Settings) -> PartStatus:
    problem = gateway_health(settings).problem
    return PartStatus("gateway", not problem, gateway_url(settings), problem)


def _engine(settings: Settings) -> PartStatus:
    report = ask(settings.docker_host or DEFAULT_ADDRESS)
    return PartStatus(
        "engine", not report.problem, report.address, report.problem or f"Docker {report.version}"
    )

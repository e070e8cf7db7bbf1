"""Asks every part of a node how it is, through the sockets that its users use."""

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import DomainError
from services.common.settings import SERVICES, Settings
from services.launcher.engine import DEFAULT_ADDRESS, ask
from services.launcher.health import gateway_health, gateway_url

TIMEOUT_S = 3.0
HEALTHY, DEGRADED, NOT_RUNNING = "healthy", "degraded", "not running"
EXIT_STATUS = {HEALTHY: 0, DEGRADED: 1, NOT_RUNNING: 3}


@dataclass(frozen=True, slots=True)
class PartStatus:
    """How one part is."""

    part: str
    ok: bool
    address: str
    detail: str = ""


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
        services = pool.map(lambda name: _service(name, settings.addresses[name]), SERVICES)
        gateway = pool.submit(_gateway, settings)
        engine = pool.submit(_engine, settings)
        issues = pool.submit(_issues, settings)
        own = (*services, gateway.result())
    parts = (*own, engine.result())
    if all(part.ok for part in parts):
        state = HEALTHY
    else:
        state = DEGRADED if any(part.ok for part in own) else NOT_RUNNING
    return NodeStatus(state, str(settings.home), parts, issues.result())


def part_status(part: str, settings: Settings) -> PartStatus:
    """Asks one part: a service by its gRPC health, the bridge and Envoy by /healthz. Blocking."""
    if part in SERVICES:
        return _service(part, settings.addresses[part])
    if part == "bridge":
        return _bridge(settings)
    # Whether its services answer is their business, else one that is ill would look like two.
    health = gateway_health(settings)
    return PartStatus(part, health.answered, gateway_url(settings), "" if health.answered else health.problem)


def _bridge(settings: Settings) -> PartStatus:
    address = f"unix:{settings.bridge_socket}"
    try:
        with socket.socket(socket.AF_UNIX) as bridge:
            bridge.settimeout(TIMEOUT_S)
            bridge.connect(str(settings.bridge_socket))
            bridge.sendall(b"GET /healthz HTTP/1.0\r\nhost: bridge\r\n\r\n")
            ok = bridge.recv(16).startswith(b"HTTP/1.1 ")
    except OSError as error:
        return PartStatus("bridge", False, address, f"does not answer: {error}")
    return PartStatus("bridge", ok, address, "" if ok else "does not speak HTTP")


def _service(name: str, address: str) -> PartStatus:
    try:
        with grpc.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return PartStatus(
            name, False, address, "does not answer" if _is_gone(error) else str(error.code().name)
        )
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    ok = answer.status == health_pb2.HealthCheckResponse.SERVING
    return PartStatus(name, ok, address, "" if ok else state)


def _issues(settings: Settings) -> tuple[str, ...]:
    try:
        with grpc.insecure_channel(settings.addresses["node"]) as channel:
            listed = node_pb2_grpc.NodeServiceStub(channel).ListIssues(
                node_pb2.ListIssuesRequest(),
                metadata=service_metadata(settings.service_token_file),
                timeout=TIMEOUT_S,
            )
    except (grpc.RpcError, DomainError):
        # The parts that are down are told of already.
        return ()
    return tuple(f"{issue.id}: {issue.message} {issue.suggestion}" for issue in listed.issues)


def _is_gone(error: grpc.RpcError) -> bool:
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def _gateway(settings: Settings) -> PartStatus:
    problem = gateway_health(settings).problem
    return PartStatus("gateway", not problem, gateway_url(settings), problem)


def _engine(settings: Settings) -> PartStatus:
    report = ask(settings.docker_host or DEFAULT_ADDRESS)
    return PartStatus(
        "engine", not report.problem, report.address, report.problem or f"Docker {report.version}"
    )

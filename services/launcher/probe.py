"""Asks one part of a node whether it is well. Imports little: health checks run it over and over."""

import socket
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.addresses import Address
from services.common.settings import SERVICES, Settings
from services.common.tls import CertificateError, blocking_channel, certificate_of
from services.launcher.health import gateway_health, gateway_url

TIMEOUT_S = 3.0
POLL_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class PartStatus:
    """How one part is."""

    part: str
    ok: bool
    address: str
    detail: str = ""


def part_status(part: str, settings: Settings, wait_s: float = 0.0) -> PartStatus:
    """Asks one part: a service by its gRPC health, the bridge and Envoy by /healthz. Blocking.

    Asks again until the part is well, or has not become so within `wait_s`.
    """
    deadline_s = time.monotonic() + wait_s
    while not (found := _ask(part, settings)).ok and time.monotonic() < deadline_s:
        time.sleep(POLL_INTERVAL_S)
    return found


def service_status(name: str, settings: Settings) -> PartStatus:
    """Asks one service by its gRPC health. Blocking."""
    address = settings.addresses[name]
    try:
        with blocking_channel(settings, name) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return PartStatus(
            name, False, address, _silence(address) if _is_gone(error) else str(error.code().name)
        )
    except CertificateError as error:
        return PartStatus(name, False, address, str(error))
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    ok = answer.status == health_pb2.HealthCheckResponse.SERVING
    return PartStatus(name, ok, address, "" if ok else state)


def _ask(part: str, settings: Settings) -> PartStatus:
    if part in SERVICES:
        return service_status(part, settings)
    if part == "bridge":
        return _bridge(settings)
    # Whether its services answer is their business, else one that is ill would look like two.
    health = gateway_health(settings)
    return PartStatus(part, health.answered, gateway_url(settings), "" if health.answered else health.problem)


def _bridge(settings: Settings) -> PartStatus:
    address = settings.bridge_address
    try:
        with _connected(address, settings) as bridge:
            bridge.sendall(b"GET /healthz HTTP/1.0\r\nhost: bridge\r\n\r\n")
            ok = bridge.recv(16).startswith(b"HTTP/1.1 ")
    except (OSError, CertificateError) as error:
        return PartStatus("bridge", False, address, f"does not answer: {error}")
    return PartStatus("bridge", ok, address, "" if ok else "does not speak HTTP")


def _connected(address: str, settings: Settings) -> socket.socket:
    place = Address.parse(address)
    if place.path:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT_S)
        connection.connect(place.path)
        return connection
    connection = socket.create_connection((place.host, place.port), TIMEOUT_S)
    certificate = certificate_of(settings)
    return (
        certificate.context().wrap_socket(connection, server_hostname="bridge") if certificate else connection
    )


def _silence(address: str) -> str:
    path = Address.parse(address).path
    if path and not Path(path).exists():
        return "does not answer: it does not run, or its socket was deleted; start it again"
    return "does not answer"


def _is_gone(error: grpc.RpcError) -> bool:
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

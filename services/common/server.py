"""Builds the gRPC server of a service: boundary, authorisation, health and reflection in one place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from paradrop.process.v1 import process_pb2_grpc

from services.common.authorizer import Authorizer
from services.common.guard import Guard
from services.common.identity import TokenVerifier
from services.common.metrics import CallMetrics, Collect
from services.common.process import NAME as PROCESS_SERVICE
from services.common.process import ProcessServicer
from services.common.tls import Certificate, is_network_address

SHUTDOWN_GRACE_S = 2.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Between its soft and its hard limit gRPC refuses headers at random; ours may hold a token of 8 KiB.
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # Live streams through Envoy: small windows keep a lagging reader's backlog small.
    ("grpc.http2.bdp_probe", 0),
]

Register = Callable[[grpc.aio.Server], None]


@asynccontextmanager
async def serving(
    address: str,
    service_names: list[str],
    register: Register,
    verifier: TokenVerifier,
    collect: Collect = lambda: (),
    certificate: Certificate | None = None,
) -> AsyncIterator[health.aio.HealthServicer]:
    """Serves at `address` for the time of the context, healthy from the first moment.

    `service_names` are the full proto names of what `register` adds; each has a health status of its own, and
    the empty name stands for the whole server. `collect` returns what is counted besides calls. With a
    `certificate` only other parts of the node can connect over a network.
    """
    metrics = CallMetrics()
    guard = Guard(Authorizer(verifier), metrics)
    server = grpc.aio.server(handlers=[guard], options=OPTIONS)
    guarded = cast(grpc.aio.Server, guard)
    register(guarded)
    statuses = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(statuses, guarded)
    process_pb2_grpc.add_ProcessServiceServicer_to_server(ProcessServicer(metrics, collect), guarded)
    names = [*service_names, PROCESS_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflector = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflector, guarded)
    _bind(server, address, certificate)
    starting = asyncio.ensure_future(server.start())
    try:
        # gRPC cannot stop a server whose start was cancelled half-way.
        await asyncio.shield(starting)
        if address.startswith("unix:"):
            await asyncio.to_thread(Path(address.removeprefix("unix:")).chmod, 0o600)
        for name in ("", *service_names):
            await statuses.set(name, health_pb2.HealthCheckResponse.SERVING)
        yield statuses
    finally:
        await starting
        await statuses.enter_graceful_shutdown()
        await server.stop(SHUTDOWN_GRACE_S)


def _bind(server: grpc.aio.Server, address: str, certificate: Certificate | None) -> None:
    try:
        if certificate is not None and is_network_address(address):
            bound = server.add_secure_port(address, certificate.for_server())
        else:
            bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise OSError(f"cannot listen at {address}; is another node running with the same state folder?")

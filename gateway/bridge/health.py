"""Health of the whole node, as its services report it."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.requests import Request
from starlette.responses import JSONResponse

from services.common.addresses import Address

CHECK_TIMEOUT_S = 1.0
CACHE_S = 0.5
"""Nobody needs a token to ask, so asking often must not cost more."""

SERVING = "SERVING"
SOCKET_MISSING = "SOCKET_MISSING"
"""Serves those who are connected, and nobody else can connect: something has deleted the socket."""


class HealthPage:
    """Answers GET /healthz."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], addresses: Mapping[str, str]) -> None:
        self._stubs = {name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()}
        self._addresses = addresses
        self._checked_s = float("-inf")
        self._services: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def __call__(self, _: Request) -> JSONResponse:
        """Reports each service; 503 unless all serve."""
        async with self._lock:
            if time.monotonic() - self._checked_s > CACHE_S:
                states = await asyncio.gather(*(_state(stub) for stub in self._stubs.values()))
                missing = await asyncio.to_thread(_without_socket, self._addresses)
                self._services = {
                    name: SOCKET_MISSING if state == SERVING and name in missing else state
                    for name, state in zip(self._stubs, states, strict=True)
                }
                self._checked_s = time.monotonic()
        well = all(state == SERVING for state in self._services.values())
        return JSONResponse(
            {"status": "ok" if well else "degraded", "services": self._services},
            200 if well else 503,
            {"cache-control": "no-store"},
        )


async def _state(stub: health_pb2_grpc.HealthStub) -> str:
    try:
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=CHECK_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def _without_socket(addresses: Mapping[str, str]) -> set[str]:
    paths = {name: Address.parse(address).path for name, address in addresses.items()}
    return {name for name, path in paths.items() if path and not Path(path).exists()}

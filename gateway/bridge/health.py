"""Health of the whole node, as its services report it."""

import asyncio
import time
from collections.abc import Mapping

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.requests import Request
from starlette.responses import JSONResponse

CHECK_TIMEOUT_S = 1.0
CACHE_S = 0.5
"""Nobody needs a token to ask, so asking often must not cost more."""

SERVING = "SERVING"


class HealthPage:
    """Answers GET /healthz."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._stubs = {name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()}
        self._checked_s = float("-inf")
        self._services: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def __call__(self, _: Request) -> JSONResponse:
        """Reports each service; 503 unless all serve."""
        async with self._lock:
            if time.monotonic() - self._checked_s > CACHE_S:
                states = await asyncio.gather(*(_state(stub) for stub in self._stubs.values()))
                self._services = dict(zip(self._stubs, states, strict=True))
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

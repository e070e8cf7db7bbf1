"""Servers of handlers that take and give bytes, of all four kinds."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from services.common.boundary import Handler
from services.common.guard import Admission, Guard

Handlers = dict[str, Handler]
"""Full method name to handler."""


class Everybody:
    """Admits every call."""

    def admit(self, method: str, metadata: Any) -> None:
        """Refuses nothing."""

    def within_limits(self, method: str, handler: Handler) -> Handler:
        """Limits nothing."""
        return handler


@asynccontextmanager
async def serving_handlers(
    folder: Path, methods: Handlers, admission: Admission | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """Serves bytes-in, bytes-out handlers by their full names behind a guard and yields a channel to them."""
    guard = Guard(admission or Everybody())
    # From its default on, 8 KiB, gRPC refuses some calls by chance, before the guard sees them.
    server = grpc.aio.server(handlers=[guard], options=[("grpc.max_metadata_size", 16 * 1024)])
    by_service: dict[str, Handlers] = {}
    for full_name, handler in methods.items():
        _, service, method = full_name.split("/")
        by_service.setdefault(service, {})[method] = handler
    for service, handlers in by_service.items():
        guard.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    address = f"unix:{folder}/s"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield channel
    finally:
        await server.stop(0)


def handler_of_kind(kind: str, behaviour: Callable[..., Any]) -> Handler:
    build = {
        "unary_unary": grpc.unary_unary_rpc_method_handler,
        "unary_stream": grpc.unary_stream_rpc_method_handler,
        "stream_unary": grpc.stream_unary_rpc_method_handler,
        "stream_stream": grpc.stream_stream_rpc_method_handler,
    }[kind]
    return build(behaviour)


async def call_of_kind(
    channel: grpc.aio.Channel,
    kind: str,
    method: str,
    token: str | None = None,
    sent: Iterable[bytes] = (b"x",),
) -> list[bytes]:
    """Makes one call and returns the replies."""
    metadata = [("authorization", f"Bearer {token}")] if token is not None else []
    multi = getattr(channel, kind)(method)
    requests = list(sent)

    async def stream() -> AsyncIterator[bytes]:
        for request in requests:
            yield request

    argument = stream() if kind.startswith("stream") else requests[0]
    call = multi(argument, metadata=metadata)
    if kind.endswith("stream"):
        return [reply async for reply in call]
    return [await call]

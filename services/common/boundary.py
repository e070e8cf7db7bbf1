"""The one place where errors become gRPC statuses, and where calls are counted by them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from services.common.errors import DomainError, InvalidArgument
from services.common.metrics import CallMetrics
from services.common.statuses import to_grpc

log = structlog.get_logger()

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def within_boundary(handler: Handler, method: str, metrics: CallMetrics) -> Handler:
    """Returns a handler that answers domain errors with their status and what is unexpected with an id."""
    handler = _with_deserializer(handler)
    behaviour = behaviour_of(handler)
    # Some library servicers write their stream to the context, as health's Watch does; those are awaited.
    if handler.response_streaming and not iscoroutinefunction(behaviour):
        return with_behaviour(handler, _streaming(behaviour, method, metrics))
    return with_behaviour(handler, _unary(behaviour, method, metrics))


class _Malformed:
    """Stands for a request that is no message."""


def _with_deserializer(handler: Handler) -> Handler:
    """Lets our own code answer a request that cannot be read: gRPC's answer would show the error's text."""
    inner = handler.request_deserializer
    if inner is None or handler.request_streaming:
        return handler

    def deserialize(content: bytes) -> Any:
        try:
            return inner(content)
        except DecodeError:
            return _Malformed()

    return with_behaviour(handler, behaviour_of(handler), deserialize)


def _refuse_malformed(request: Any) -> None:
    if isinstance(request, _Malformed):
        raise InvalidArgument(
            "The request cannot be read; a value has another type than its field.", reason="REQUEST_MALFORMED"
        )


def behaviour_of(handler: Handler) -> Any:
    """Returns the function that a handler calls."""
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


def with_behaviour(handler: Handler, behaviour: Any, deserializer: Any = None) -> Handler:
    """Returns a handler of the same kind that calls another function."""
    build: Any = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[bool(handler.request_streaming), bool(handler.response_streaming)]
    read = deserializer or handler.request_deserializer
    wrapped: Handler = build(behaviour, read, handler.response_serializer)
    return wrapped


def _unary(inner: Any, method: str, metrics: CallMetrics) -> Any:
    async def call(request: Any, context: Any) -> Any:
        began_s, code = time.perf_counter(), "OK"
        try:
            _refuse_malformed(request)
            return await inner(request, context)
        except DomainError as error:
            code = error.code
            await context.abort_with_status(to_grpc(error))
        except grpc.aio.AbortError:
            code = "ABORTED"
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:  # The boundary is where everything unexpected ends.
            code = "INTERNAL"
            await context.abort_with_status(_unexpected(method))
        finally:
            metrics.called(method, code, time.perf_counter() - began_s)

    return call


def _streaming(inner: Any, method: str, metrics: CallMetrics) -> Any:
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        code = "OK"
        metrics.stream_began(method)
        try:
            _refuse_malformed(request)
            async for response in inner(request, context):
                yield response
        except DomainError as error:
            code = error.code
            await context.abort_with_status(to_grpc(error))
        except grpc.aio.AbortError:
            code = "ABORTED"
            raise
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except Exception:  # The boundary is where everything unexpected ends.
            code = "INTERNAL"
            await context.abort_with_status(_unexpected(method))
        finally:
            metrics.stream_ended(method, code)

    return call


def _unexpected(method: str) -> Any:
    log_id = secrets.token_hex(6)
    log.exception("unexpected error", rpc=method, log_id=log_id)
    message = f"The node met an unexpected error; its log has the details under {log_id}."
    return to_grpc(DomainError(message, log_id=log_id))

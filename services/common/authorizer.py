"""Refuses every call that the access table does not allow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from services.common.access import ACCESS, Access
from services.common.boundary import Handler
from services.common.errors import PermissionDenied
from services.common.identity import (
    Principal,
    TokenVerifier,
    bearer_token,
    current_principal,
    set_current_principal,
)

FIRST_MESSAGE_TIMEOUT_S = 0.5


class Authorizer:
    """Verifies the caller of each RPC itself, whatever stands in front of the server."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    def admit(self, method: str, metadata: Any) -> None:
        """Sets the principal of the call in hand or raises why it is refused."""
        access = ACCESS.get(method)
        if access is None:
            raise PermissionDenied("This call is not in the access table.", reason="RPC_NOT_LISTED")
        set_current_principal(self._authorised(access, metadata))

    def within_limits(self, method: str, handler: Handler) -> Handler:
        """Returns a handler that keeps a chute to itself, if chutes may make this call."""
        access = ACCESS.get(method)
        return _narrowed(handler) if access is not None and access.chutes else handler

    def _authorised(self, access: Access, metadata: Any) -> Principal | None:
        if access.public:
            return None
        header = next((value for key, value in metadata or () if key == "authorization"), None)
        principal = self._verifier.verify(bearer_token(header))
        access.check(principal)
        return principal


def _narrowed(handler: Handler) -> Handler:
    """Returns a handler that refuses a chute's token for anything that names another chute."""
    if handler.request_streaming:
        raise ValueError("a call that chutes may make takes one request, which can be looked at first")
    if handler.response_streaming:
        stream: Any = handler.unary_stream

        async def narrowed_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            _require_own_chute(request)
            async for response in stream(request, context):
                yield response

        narrowed: Handler = grpc.unary_stream_rpc_method_handler(
            narrowed_stream, handler.request_deserializer, handler.response_serializer
        )
        return narrowed
    unary: Any = handler.unary_unary

    async def narrowed_call(request: Any, context: Any) -> Any:
        _require_own_chute(request)
        return await unary(request, context)

    return grpc.unary_unary_rpc_method_handler(
        narrowed_call, handler.request_deserializer, handler.response_serializer
    )


def _require_own_chute(request: Any) -> None:
    principal = current_principal()
    if principal.kind == "chute" and getattr(request, "chute", principal.name) != principal.name:
        raise PermissionDenied("A chute's token is for that chute alone.", reason="CHUTE_NOT_YOURS")


def refusal(handler: Handler, error: Exception) -> Handler:
    """Returns a handler of the same kind that reads what the caller sends and then refuses.

    An HTTP/1.1 client that is still sending its upload when the answer comes would see a broken connection
    and never the answer.
    """
    if handler.request_streaming and not handler.response_streaming:

        async def refuse_upload(requests: AsyncIterator[Any], _: Any) -> None:
            async for _request in requests:
                pass
            raise error

        return grpc.stream_unary_rpc_method_handler(refuse_upload, None, handler.response_serializer)
    if handler.request_streaming:

        async def refuse_both(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
            # A client of grpc.aio that is just sending its first message would see an error of gRPC's own.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_MESSAGE_TIMEOUT_S):
                    await anext(aiter(requests), None)
            raise error
            yield

        return grpc.stream_stream_rpc_method_handler(refuse_both, None, handler.response_serializer)
    if handler.response_streaming:

        async def refuse_stream(_: Any, __: Any) -> AsyncIterator[Any]:
            raise error
            yield

        return grpc.unary_stream_rpc_method_handler(refuse_stream, None, handler.response_serializer)

    async def refuse(_: Any, __: Any) -> None:
        raise error

    return grpc.unary_unary_rpc_method_handler(refuse, None, handler.response_serializer)

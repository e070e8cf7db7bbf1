"""Refuses every call that the access table does not allow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from services.common.access import ACCESS, Access
from services.common.boundary import Handler
from services.common.errors import DomainError, PermissionDenied
from services.common.identity import (
    Principal,
    TokenVerifier,
    bearer_token,
    current_principal,
    set_current_principal,
)


class Authorizer(grpc.aio.ServerInterceptor):  # type: ignore[misc,unused-ignore]
    """Verifies the caller of each RPC itself, whatever stands in front of the server."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier
        self._narrowed: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Lets one call through or puts a refusal in its place."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        access = ACCESS.get(handler_call_details.method)
        try:
            if access is None:
                raise PermissionDenied("This call is not in the access table.", reason="RPC_NOT_LISTED")
            set_current_principal(self._authorised(access, handler_call_details.invocation_metadata))
        except DomainError as error:
            return _refusal(handler, error)
        return self._within_own_chute(handler_call_details.method, handler) if access.chutes else handler

    def _within_own_chute(self, method: str, handler: Handler) -> Handler:
        known = self._narrowed.get(method)
        if known is None or known[0] is not handler:
            known = self._narrowed[method] = (handler, _narrowed(handler))
        return known[1]

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
    named = getattr(request, "chute", None)
    if principal.kind == "chute" and named is not None and named != principal.name:
        raise PermissionDenied("A chute's token is for that chute alone.", reason="CHUTE_NOT_YOURS")


def _refusal(handler: Handler, error: DomainError) -> Handler:
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
    if handler.response_streaming:

        async def refuse_stream(_: Any, __: Any) -> AsyncIterator[Any]:
            raise error
            yield

        build: Any = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        refused: Handler = build(refuse_stream, None, handler.response_serializer)
        return refused

    async def refuse(_: Any, __: Any) -> None:
        raise error

    return grpc.unary_unary_rpc_method_handler(refuse, None, handler.response_serializer)

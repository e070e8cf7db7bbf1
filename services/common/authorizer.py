"""Refuses every call that the access table does not allow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from services.common.access import ACCESS, Access
from services.common.boundary import Handler
from services.common.errors import DomainError, PermissionDenied
from services.common.identity import Principal, TokenVerifier, bearer_token, set_current_principal


class Authorizer(grpc.aio.ServerInterceptor):  # type: ignore[misc,unused-ignore]
    """Verifies the caller of each RPC itself, whatever stands in front of the server."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

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
        return handler

    def _authorised(self, access: Access, metadata: Any) -> Principal | None:
        if access.public:
            return None
        header = next((value for key, value in metadata or () if key == "authorization"), None)
        principal = self._verifier.verify(bearer_token(header))
        access.check(principal)
        return principal


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

"""Serves archives of chutes as files. One that is not whole ends as a connection that breaks off."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import structlog
from paradrop.chutes.v1 import archives_pb2
from paradrop.chutes.v1.archives_pb2_grpc import ChuteArchiveServiceStub
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from gateway.bridge import replies
from gateway.bridge.callers import metadata_of
from services.common.errors import DomainError, InvalidArgument
from services.common.identity import TokenVerifier

PATH = "/api/v1/chutes/{chute}/export"
MEDIA_TYPE = "application/gzip"
FLAGS = {"": False, "false": False, "true": True}


log = structlog.get_logger()


class _BrokenOffError(Exception):
    """The service ended the archive before it was whole."""


class _Archive(StreamingResponse):
    """A file that does not end like a whole one if it is not."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except _BrokenOffError as error:
            # The server breaks the connection off when the end is not sent.
            log.warning("an archive is not whole", why=str(error))


class Export:
    """Answers GET for one chute."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], verifier: TokenVerifier) -> None:
        self._channel = channels["chutes"]
        self._verifier = verifier

    async def __call__(self, request: Request) -> Response:
        """Returns the archive, or why there is none."""
        chute = request.path_params["chute"]
        try:
            metadata = metadata_of(request.headers.get("authorization"), self._verifier)
            wanted = archives_pb2.ExportChuteRequest(chute=chute, pause=_flag(request, "pause"))
            call = ChuteArchiveServiceStub(self._channel).ExportChute(wanted, metadata=metadata)
            pieces = aiter(call)
            # Until something has come, what goes wrong can be told.
            first = await anext(pieces, None)
        except DomainError as error:
            return replies.from_error(error)
        except grpc.aio.AioRpcError as error:
            return replies.from_rpc_error(error)
        headers = {"content-disposition": f'attachment; filename="{chute}.chute.tar.gz"'}
        return _Archive(_content(call, first, pieces), 200, headers, MEDIA_TYPE)


async def _content(call: Any, first: Any, pieces: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    try:
        if first is not None:
            yield first.data
        async for piece in pieces:
            yield piece.data
    except grpc.aio.AioRpcError as error:
        raise _BrokenOffError(error.details()) from None
    finally:
        # Also when the client has gone.
        call.cancel()


def _flag(request: Request, name: str) -> bool:
    value = FLAGS.get(request.query_params.get(name, ""))
    if value is None:
        raise InvalidArgument(f"{name} must be true or false.", reason="QUERY_INVALID", field=name)
    return value

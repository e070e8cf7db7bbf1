"""Serves recordings of the spectrum as files, whole or in ranges."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from paradrop.airshark.v1 import airshark_pb2
from paradrop.airshark.v1.airshark_pb2_grpc import AirsharkServiceStub
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.bridge import replies
from gateway.bridge.callers import metadata_of
from services.common.errors import DomainError
from services.common.identity import TokenVerifier

PATH = "/api/v1/airshark/recordings/{name}/data"
MEDIA_TYPE = "application/octet-stream"
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
BEYOND_EVERY_END = 2**62


class Download:
    """Answers GET and HEAD for one recording."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], verifier: TokenVerifier) -> None:
        self._channel = channels["airshark"]
        self._verifier = verifier

    async def __call__(self, request: Request) -> Response:
        """Returns the bytes that are asked for, or why there are none."""
        if request.method not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        try:
            metadata = metadata_of(request.headers.get("authorization"), self._verifier)
            name = request.path_params["name"]
            size = await self._size(name, metadata)
        except DomainError as error:
            return replies.from_error(error)
        except grpc.aio.AioRpcError as error:
            return replies.from_rpc_error(error)
        headers = {"accept-ranges": "bytes", "content-disposition": f'attachment; filename="{name}.pdspec"'}
        wanted = _wanted(request.headers, size)
        if wanted is None:
            reply = replies.from_details(
                416, "OUT_OF_RANGE", "RANGE_NOT_SATISFIABLE", f"The recording has {size} bytes."
            )
            reply.headers["content-range"] = f"bytes */{size}"
            return reply
        start, length, status = wanted
        headers["content-length"] = str(length)
        if status == 206:
            headers["content-range"] = f"bytes {start}-{start + length - 1}/{size}"
        if request.method == "HEAD" or not length:
            return Response(status_code=status, headers=headers, media_type=MEDIA_TYPE)
        content = self._content(name, start, length, metadata)
        return StreamingResponse(content, status, headers, MEDIA_TYPE)

    def _read(self, name: str, offset: int, length: int, metadata: Any) -> Any:
        request = airshark_pb2.ReadRecordingRequest(name=name, offset=offset, length=length)
        return AirsharkServiceStub(self._channel).ReadRecording(request, metadata=metadata)

    async def _size(self, name: str, metadata: Any) -> int:
        size = 0
        async for message in self._read(name, BEYOND_EVERY_END, 1, metadata):
            size = size or message.size_bytes
        return size

    async def _content(self, name: str, start: int, length: int, metadata: Any) -> AsyncIterator[bytes]:
        call = self._read(name, start, length, metadata)
        try:
            async for message in call:
                if message.data:
                    yield message.data
        finally:
            # Also when the client has gone.
            call.cancel()


def _wanted(headers: Mapping[str, str], size: int) -> tuple[int, int, int] | None:
    """Returns where to begin, how many bytes to send and the status; None if there are no such bytes.

    What is not one range of bytes is answered with everything, as the standard allows; so is a condition,
    since a recording that grows has no name for its state.
    """
    match = RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or match[0] == "bytes=-" or "if-range" in headers:
        return 0, size, 200
    if not match[1]:
        length = min(int(match[2]), size)
        return (size - length, length, 206) if length else None
    start = int(match[1])
    end = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < start:
        return 0, size, 200
    return (start, end - start + 1, 206) if start < size else None

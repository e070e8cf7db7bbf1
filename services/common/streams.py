"""The in-band end of streams."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from google.rpc import status_pb2
from paradrop.type.v1 import stream_pb2

from services.common.errors import DomainError
from services.common.statuses import to_proto

T = TypeVar("T")


async def with_end(
    responses: AsyncIterator[T], to_response: Callable[[stream_pb2.End], T]
) -> AsyncIterator[T]:
    """Appends why the stream ended.

    Once a message was sent an HTTP reader cannot be told by status any more; before that, an error is an
    error.
    """
    status = status_pb2.Status()
    begun = False
    try:
        async for response in responses:
            begun = True
            yield response
    except DomainError as error:
        if not begun:
            raise
        status = to_proto(error)
    yield to_response(stream_pb2.End(status=status))


def heartbeat() -> stream_pb2.Heartbeat:
    """Returns a sign of life."""
    sign = stream_pb2.Heartbeat()
    sign.time.GetCurrentTime()
    return sign

"""Errors as HTTP, in the one JSON form of the node."""

from typing import Any

import grpc
from google.protobuf import json_format
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status
from starlette.responses import Response

from services.common.errors import DomainError
from services.common.statuses import to_proto

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 409,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
CHALLENGE = {"www-authenticate": 'Basic realm="Login Required"'}


def from_error(error: DomainError) -> Response:
    """Returns the reply to an error of ours."""
    return _reply(to_proto(error))


def from_rpc_error(error: grpc.aio.AioRpcError) -> Response:
    """Returns the reply to the refusal of a service."""
    return _reply(_status(error))


def from_details(http_status: int, code: str, reason: str, message: str) -> Response:
    """Returns a reply that no gRPC code stands for."""
    error = DomainError(message, reason=reason)
    status = to_proto(error)
    status.code = code_pb2.Code.Value(code)
    return _reply(status, http_status)


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # The details contradict the code: trust the code.
        status = None
    if status is not None:
        return status
    code: Any = error.code()
    return status_pb2.Status(code=code.value[0], message=error.details() or "")


def _reply(status: status_pb2.Status, http_status: int | None = None) -> Response:
    name = code_pb2.Code.Name(status.code)
    http_status = http_status or HTTP_STATUS.get(name, 500)
    return Response(
        json_format.MessageToJson(status, indent=None, always_print_fields_with_no_presence=True),
        http_status,
        CHALLENGE if http_status == 401 else None,
        "application/json",
    )

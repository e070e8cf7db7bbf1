"""Translates domain errors to and from `google.rpc.Status`."""

import math
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.common.errors import DomainError, Unavailable

DOMAIN = "paradrop"


def to_proto(error: DomainError) -> status_pb2.Status:
    """Returns the status of an error with exactly one ErrorInfo and, where known, the field and the delay."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.facts))
    ]
    if error.field is not None:
        found = error.violations or [(error.field, str(error))]
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=field, description=why)
                    for field, why in found
                ]
            )
        )
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration(seconds=math.ceil(error.retry_after_s))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.code),
        message=str(error),
        details=[_packed(detail) for detail in details],
    )


def to_grpc(error: DomainError) -> Any:
    """Returns what `context.abort_with_status` takes."""
    return rpc_status.to_status(to_proto(error))


def from_grpc(error: grpc.aio.AioRpcError) -> DomainError:
    """Returns what another service of the node refused, to be passed on as it is.

    What says nothing itself, such as a service that does not answer, is Unavailable (SERVICE_UNAVAILABLE).
    """
    status = rpc_status.from_call(error)
    info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    found = [detail for detail in status.details if detail.Unpack(info)] if status else []
    if not found:
        return Unavailable(
            "Another service of the node does not answer now; try again in a moment.",
            reason="SERVICE_UNAVAILABLE",
            status=error.code().name,
        )
    for detail in status.details:
        detail.Unpack(fields)
    violations = [(violation.field, violation.description) for violation in fields.field_violations]
    passed = DomainError(
        status.message,
        reason=info.reason,
        field=violations[0][0] if violations else None,
        violations=violations,
        **{key: value for key, value in info.metadata.items() if key.isidentifier()},
    )
    passed.code = error.code().name
    return passed


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed

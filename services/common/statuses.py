"""Translates domain errors to and from `google.rpc.Status`."""

import math
from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.common.errors import DomainError

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


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed

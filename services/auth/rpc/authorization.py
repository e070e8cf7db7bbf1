"""Envoy's external authorisation: asked about every request without a valid JWT."""

import base64
from functools import lru_cache
from typing import Any

from google.protobuf import json_format
from google.rpc import code_pb2, status_pb2
from paradrop.vendor.envoy.config.core.v3 import base_pb2
from paradrop.vendor.envoy.service.auth.v3 import external_auth_pb2 as pb
from paradrop.vendor.envoy.service.auth.v3 import external_auth_pb2_grpc
from paradrop.vendor.envoy.type.v3 import http_status_pb2

from services.auth.domain.gatekeeper import Gatekeeper
from services.common.errors import DomainError
from services.common.identity import Role
from services.common.statuses import to_proto

SERVICE = pb.DESCRIPTOR.services_by_name["Authorization"]
CHALLENGE = 'Basic realm="Login Required"'
DRAIN = "drain"
"""Set to "true" by routes that take uploads: their service refuses by itself, once it has read the body."""
ROLE = "role"
"""Lowest role on routes that lead past our services, which ask for it themselves; chutes have none."""

_HTTP_STATUS = {
    "UNAUTHENTICATED": http_status_pb2.Unauthorized,
    "RESOURCE_EXHAUSTED": http_status_pb2.TooManyRequests,
    "UNAVAILABLE": http_status_pb2.ServiceUnavailable,
}


class AuthorizationServicer(external_auth_pb2_grpc.AuthorizationServicer):
    """Answers `envoy.service.auth.v3.Authorization`."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        # The same few tokens are handed out over and over; nobody changes a reply.
        self._with_token = lru_cache(256)(_with_token)

    async def Check(self, request: pb.CheckRequest, context: Any) -> pb.CheckResponse:
        """Lets a request go on with a token that every service can verify, or answers it."""
        attributes = request.attributes
        headers = attributes.request.http.headers
        try:
            token = await self._gatekeeper.admit(
                headers.get("authorization", ""), attributes.source.address.socket_address.address
            )
            if role := attributes.context_extensions.get(ROLE):
                self._gatekeeper.require_role(token, Role[role.upper()])
        except DomainError as error:
            if attributes.context_extensions.get(DRAIN) == "true":
                return _without_credentials()
            return _denied(error, is_grpc=headers.get("content-type", "").startswith("application/grpc"))
        return self._with_token(token)


def _with_token(token: str) -> pb.CheckResponse:
    authorization = f"Bearer {token}"
    reply = pb.CheckResponse(
        status=status_pb2.Status(code=code_pb2.OK),
        ok_response=pb.OkHttpResponse(headers=[_header("authorization", authorization)]),
    )
    # For the gateway, which may use it again for the same password.
    reply.dynamic_metadata["authorization"] = authorization
    return reply


def _without_credentials() -> pb.CheckResponse:
    return pb.CheckResponse(
        status=status_pb2.Status(code=code_pb2.OK),
        ok_response=pb.OkHttpResponse(headers_to_remove=["authorization"]),
    )


def _denied(error: DomainError, *, is_grpc: bool) -> pb.CheckResponse:
    status = to_proto(error)
    headers = [_header("www-authenticate", CHALLENGE)] if error.code == "UNAUTHENTICATED" else []
    if error.retry_after_s is not None:
        delay = next(detail for detail in status.details if detail.type_url.endswith("RetryInfo"))
        headers.append(
            _header("retry-after", str(json_format.MessageToDict(delay)["retryDelay"]).rstrip("s"))
        )
    if is_grpc:
        details = base64.b64encode(status.SerializeToString()).rstrip(b"=").decode()
        headers += [_header("grpc-status", str(status.code)), _header("grpc-status-details-bin", details)]
        body = status.message
    else:
        headers.append(_header("content-type", "application/json"))
        body = json_format.MessageToJson(status, always_print_fields_with_no_presence=True, indent=None)
    denied = pb.DeniedHttpResponse(
        status=http_status_pb2.HttpStatus(code=_HTTP_STATUS.get(error.code, http_status_pb2.Forbidden)),
        headers=headers,
        body=body,
    )
    return pb.CheckResponse(status=status, denied_response=denied)


def _header(name: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )

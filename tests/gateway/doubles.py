"""Real gRPC services that answer what a test tells them, and remember what they were asked."""

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import status_pb2
from jwt.algorithms import OKPAlgorithm
from paradrop.airshark.v1 import airshark_pb2_grpc, detections_pb2_grpc
from paradrop.auth.v1 import auth_pb2_grpc
from paradrop.chutes.v1 import (
    archives_pb2_grpc,
    changes_pb2_grpc,
    chutes_pb2_grpc,
    processes_pb2_grpc,
    uploads_pb2_grpc,
)
from paradrop.network.v1 import (
    chute_networks_pb2_grpc,
    hostconfig_pb2_grpc,
    network_pb2_grpc,
    wireless_pb2_grpc,
)
from paradrop.node.v1 import audio_pb2_grpc, node_pb2_grpc
from paradrop.vendor.envoy.config.core.v3 import base_pb2
from paradrop.vendor.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from paradrop.vendor.envoy.type.v3 import http_status_pb2

from services.common.access import Access
from services.common.errors import DomainError
from services.common.identity import Role, TokenVerifier, bearer_token
from services.common.server import serving
from services.common.settings import Settings
from services.common.statuses import to_proto
from services.common.tls import certificate_of

USER, PASSWORD = "paradrop", "correct horse"
SERVICES = {
    "auth": [auth_pb2_grpc.AuthServiceServicer],
    "network": [
        network_pb2_grpc.NetworkServiceServicer,
        wireless_pb2_grpc.WirelessServiceServicer,
        hostconfig_pb2_grpc.HostConfigServiceServicer,
        chute_networks_pb2_grpc.ChuteNetworkServiceServicer,
    ],
    "airshark": [airshark_pb2_grpc.AirsharkServiceServicer, detections_pb2_grpc.DetectionServiceServicer],
    "chutes": [
        chutes_pb2_grpc.ChuteServiceServicer,
        processes_pb2_grpc.ChuteProcessServiceServicer,
        changes_pb2_grpc.ChangeServiceServicer,
        uploads_pb2_grpc.ChuteUploadServiceServicer,
        archives_pb2_grpc.ChuteArchiveServiceServicer,
    ],
    "node": [node_pb2_grpc.NodeServiceServicer, audio_pb2_grpc.AudioServiceServicer],
}


class Keys:
    """Signs tokens and publishes the key, as auth does."""

    def __init__(self, public_dir: Path) -> None:
        self._key = Ed25519PrivateKey.generate()
        jwk = json.loads(OKPAlgorithm.to_jwk(self._key.public_key()))
        jwk |= {"kid": "test", "alg": "EdDSA", "use": "sig"}
        (public_dir / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
        principals = {
            "users": {USER: {"generation": 1, "role": "owner"}, "guest": {"generation": 1, "role": "guest"}}
        }
        (public_dir / "principals.json").write_text(
            json.dumps(principals | {"chutes": {}, "services": {"node": {"generation": 1, "role": "owner"}}})
        )

    def token(self, sub: str = USER, key: Ed25519PrivateKey | None = None, **claims: Any) -> str:
        now = int(time.time())
        content = {"iss": "paradrop", "sub": sub, "iat": now, "exp": now + 3600, "role": "owner"}
        content |= {"domain": "localhost", "kind": "user", "gen": 1} | claims
        return jwt.encode(content, key or self._key, algorithm="EdDSA", headers={"kid": "test"})


@dataclass
class Call:
    """What a service was asked."""

    rpc: str
    request: Any
    metadata: dict[str, str]


@dataclass
class Doubles:
    """All services of a node."""

    keys: Keys
    calls: list[Call] = field(default_factory=list)
    checks: list[Any] = field(default_factory=list)
    """What Envoy asked the auth service."""
    replies: dict[str, Any] = field(default_factory=dict)
    """Reply, error or handler by RPC; default an empty reply."""

    def reset(self) -> None:
        self.calls.clear()
        self.checks.clear()
        self.replies.clear()

    @property
    def last(self) -> Call:
        return self.calls[-1]

    @asynccontextmanager
    async def serving(self, settings: Settings, without: frozenset[str] = frozenset()) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name in SERVICES.keys() - without:
                await stack.enter_async_context(self.serving_one(name, settings))
            yield

    @asynccontextmanager
    async def serving_one(self, name: str, settings: Settings) -> AsyncIterator[None]:
        verifier = TokenVerifier(settings.public_dir)
        names = [_service(base).full_name for base in SERVICES[name]]

        def register(server: grpc.aio.Server) -> None:
            for base in SERVICES[name]:
                _add(base)(_servicer(base, self)(), server)
            if name == "auth":
                gatekeeper = Gatekeeper(self, verifier)
                external_auth_pb2_grpc.add_AuthorizationServicer_to_server(gatekeeper, server)

        certificate = await asyncio.to_thread(certificate_of, as_part(settings, name))
        async with serving(settings.addresses[name], names, register, verifier, certificate=certificate):
            yield


def as_part(settings: Settings, name: str) -> Settings:
    """Returns the settings with which a part shows its own certificate, if the parts have any."""
    folder = settings.internal_tls
    return replace(settings, internal_tls=folder.parent / name) if folder else settings


def _service(base: type) -> ServiceDescriptor:
    module, name = base.__module__.replace("_pb2_grpc", ""), base.__name__.removesuffix("Servicer")
    return descriptor_pool.Default().FindServiceByName(f"{module.rpartition('.')[0]}.{name}")


def _add(base: type) -> Callable[[Any, grpc.aio.Server], None]:
    return getattr(sys.modules[base.__module__], f"add_{base.__name__}_to_server")


def _servicer(base: type, doubles: Doubles) -> type:
    methods = {method.name: _method(method, doubles) for method in _service(base).methods}
    return type(f"Double{base.__name__}", (base,), methods)


def _method(method: MethodDescriptor, doubles: Doubles) -> Any:
    reply_type = message_factory.GetMessageClass(method.output_type)
    service = method.full_name.rpartition(".")[0]

    def answer(request: Any, context: Any) -> Any:
        metadata = {key: value for key, value in context.invocation_metadata()}
        doubles.calls.append(Call(method.full_name, request, metadata))
        reply = doubles.replies.get(method.full_name, doubles.replies.get(f"{service}.*"))
        if isinstance(reply, DomainError):
            raise reply
        return reply

    async def unary(_: Any, request: Any, context: Any) -> Any:
        if method.client_streaming and not callable(doubles.replies.get(method.full_name)):
            request = [piece async for piece in request]
        reply = answer(request, context)
        if callable(reply):
            reply = await reply(request, context)
        return reply if reply is not None else reply_type()

    async def stream(_: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        reply = answer(request, context)
        if callable(reply):
            async for message in reply(request, context):
                yield message
        else:
            for message in reply or ():
                yield message

    return stream if method.server_streaming else unary


class Gatekeeper(external_auth_pb2_grpc.AuthorizationServicer):
    """Knows one user, and lets tokens pass that Envoy does not know but the node does."""

    def __init__(self, doubles: Doubles, verifier: TokenVerifier) -> None:
        self._doubles = doubles
        self._verifier = verifier

    async def Check(self, request: Any, _: Any) -> Any:
        self._doubles.checks.append(request)
        attributes = request.attributes
        headers = attributes.request.http.headers
        header = headers.get("authorization", "")
        if header == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            header = f"Bearer {self._doubles.keys.token()}"
        try:
            principal = self._verifier.verify(bearer_token(header))
            if role := attributes.context_extensions.get("role"):
                Access(Role[role.upper()]).check(principal)
        except DomainError as error:
            if attributes.context_extensions.get("drain") == "true":
                ok = external_auth_pb2.OkHttpResponse(headers_to_remove=["authorization"])
                return external_auth_pb2.CheckResponse(status=status_pb2.Status(), ok_response=ok)
            grpc_call = headers.get("content-type", "").startswith("application/grpc")
            return _denied(error, str(error) if grpc_call else json_format.MessageToJson(to_proto(error)))
        reply = external_auth_pb2.CheckResponse(
            status=status_pb2.Status(),
            ok_response=external_auth_pb2.OkHttpResponse(headers=[_header("authorization", header)]),
        )
        reply.dynamic_metadata["authorization"] = header
        return reply


def _denied(error: DomainError, body: str) -> Any:
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=16),
        denied_response=external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(code=403 if error.code == "PERMISSION_DENIED" else 401),
            headers=[_header("www-authenticate", 'Basic realm="Login Required"')],
            body=body,
        ),
    )


def _header(key: str, value: str) -> Any:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=key, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )

"""The access table is complete, and the servers enforce it for everybody."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import paradrop
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from services.common.access import ACCESS, Access
from services.common.authorizer import Authorizer
from services.common.identity import Role, TokenVerifier
from tests.support.handlers import call_of_kind, handler_of_kind, serving_handlers
from tests.support.publisher import Publisher

IMAGE = Path(paradrop.__path__[0]) / "descriptors.binpb"
FOREIGN = {"grpc.health.v1", "grpc.reflection.v1alpha", "envoy.service.auth.v3"}
"""Packages of others whose services our servers offer."""

READ_BY_CHUTES = {
    "ListChutes", "GetChute", "GetChuteCache", "GetChuteConfig", "StreamLogs", "GetUsage", "StreamUsage",
    "ListChuteNetworks",
    "GetChuteNetwork", "ListLeases", "GetSsid", "GetHostapdStatus", "ListStations", "GetStation",
    "ListDevices", "ListAssociations", "WatchStations", "WatchLeases", "ListSessions", "ListBans",
    "GetAccessList",
}  # fmt: skip
MAY_CHANGE_THEIR_OWN = {"ChangePassword"}
READING = ("List", "Get", "Watch", "Stream", "Subscribe", "Read")


def described() -> Iterator[tuple[str, str, str]]:
    """Yields package, full name and kind of every RPC that our servers can offer."""
    image = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())
    files = list(image.file)
    for module in (health_pb2, reflection_pb2):
        files.append(descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb))
    for file in files:
        for service in file.service:
            for method in service.method:
                kind = "_".join(
                    "stream" if streams else "unary"
                    for streams in (method.client_streaming, method.server_streaming)
                )
                yield file.package, f"/{file.package}.{service.name}/{method.name}", kind


KINDS = {name: kind for _, name, kind in described()}
OURS = {name for package, name, _ in described() if package.startswith("paradrop.")}
THEIRS = {name for package, name, _ in described() if package in FOREIGN}


def test_every_rpc_of_ours_is_in_the_table_and_nothing_else_is() -> None:
    assert len(OURS) > 50
    assert {name for name in ACCESS if name.startswith("/paradrop.")} == OURS


def test_the_rest_of_the_table_is_what_every_server_offers() -> None:
    assert {name for name in ACCESS if not name.startswith("/paradrop.")} == THEIRS


def test_only_logins_and_the_machinery_are_public() -> None:
    public = {name for name, access in ACCESS.items() if access.public}
    assert public == {
        "/envoy.service.auth.v3.Authorization/Check",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
        "/paradrop.auth.v1.AuthService/LoginCloud",
        "/paradrop.auth.v1.AuthService/LoginLocal",
    }


def test_chutes_only_read() -> None:
    for name, access in ACCESS.items():
        if access.chutes:
            assert name.rpartition("/")[2] in READ_BY_CHUTES, name


def test_guests_and_users_change_nothing_but_their_password() -> None:
    for name, access in ACCESS.items():
        method = name.rpartition("/")[2]
        is_reading = method.startswith(READING) or name in THEIRS
        if not (access.public or is_reading or method in MAY_CHANGE_THEIR_OWN) and access.users:
            assert access.role >= Role.TRUSTED, name


def test_users_are_managed_by_admins_and_tokens_of_chutes_by_services() -> None:
    prefix = "/paradrop.auth.v1.AuthService"
    for method in ("AddUser", "RemoveUser", "ListUsers", "ClearPassword", "ListLogins"):
        assert ACCESS[f"{prefix}/{method}"] == Access(Role.ADMIN)
    for method in ("IssueChuteToken", "RestoreChuteToken", "RevokeChuteToken"):
        assert not ACCESS[f"{prefix}/{method}"].users


CALLERS = [None, "guest", "user", "trusted", "admin", "owner", "web", "__paradrop__"]


def is_allowed(access: Access, caller: str | None) -> bool:
    """Says again, from the table alone, what the authoriser must do."""
    if access.public or caller == "__paradrop__":
        return True
    if caller is None:
        return False
    if caller == "web":
        return access.chutes
    return access.users and Role[caller.upper()] >= access.role


@pytest.fixture
async def channel(tmp_path: Path, publisher: Publisher) -> AsyncIterator[grpc.aio.Channel]:
    async def unary(_: Any, __: Any) -> bytes:
        return b"entered"

    async def stream(_: Any, __: Any) -> AsyncIterator[bytes]:
        yield b"entered"

    handlers = {
        name: handler_of_kind(kind, stream if kind.endswith("_stream") else unary)
        for name, kind in KINDS.items()
        if name in ACCESS
    }
    authorizer = Authorizer(TokenVerifier(publisher.public_dir))
    async with serving_handlers(tmp_path, handlers, authorizer) as channel:
        yield channel


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_rpc_lets_in_whom_the_table_names_and_nobody_else(
    channel: grpc.aio.Channel, publisher: Publisher, caller: str | None
) -> None:
    token = publisher.token(caller) if caller else None
    refused = grpc.StatusCode.PERMISSION_DENIED if token else grpc.StatusCode.UNAUTHENTICATED
    outcomes = {name: await outcome(channel, name, token) for name in ACCESS}
    expected = {
        name: grpc.StatusCode.OK if is_allowed(access, caller) else refused for name, access in ACCESS.items()
    }
    assert outcomes == expected


async def outcome(channel: grpc.aio.Channel, name: str, token: str | None) -> grpc.StatusCode:
    try:
        entered = await call_of_kind(channel, KINDS[name], name, token)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK if entered == [b"entered"] else grpc.StatusCode.UNKNOWN

"""Who may call what, asked of the running services of a node: every RPC by every role and by a chute."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import paradrop
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from paradrop.auth.v1 import auth_pb2, auth_pb2_grpc
from paradrop.vendor.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc

from services.common.access import ACCESS
from services.common.channels import service_metadata
from services.common.identity import Role
from services.common.settings import SERVICES, Settings
from services.launcher import parts
from tests.support.settings import PASSWORD, settings_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ROLES = ("guest", "user", "trusted", "admin", "owner")
CALLERS = ("nobody", *ROLES, "chute")
NOT_CALLED = {"StartUpdate", "FactoryReset", "ReloadPdconf", "SetHostConfig", "SetProvision"}
"""They act on the machine: for whom they are allowed is taken from the table, which the fast tests prove."""
TIMEOUT_S = 2.0
REFUSED = {"ROLE_TOO_LOW", "CHUTE_TOKEN_NOT_ENOUGH", "SERVICES_ONLY", "RPC_NOT_LISTED"}


def _methods() -> Iterator[Any]:
    image = descriptor_pb2.FileDescriptorSet.FromString(
        (Path(paradrop.__path__[0]) / "descriptors.binpb").read_bytes()
    )
    for file in image.file:
        # What a controller offers to nodes is not offered by a node.
        if file.package.startswith("paradrop.") and file.package != "paradrop.controller.v1" and file.service:
            __import__(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            for service in file.service:
                found = descriptor_pool.Default().FindServiceByName(f"{file.package}.{service.name}")
                yield from found.methods


METHODS = {f"/{m.containing_service.full_name}/{m.name}": m for m in _methods()}


@dataclass
class Node:
    """All gRPC services of a node, and a token for each caller."""

    settings: Settings
    channels: dict[str, grpc.aio.Channel]
    tokens: dict[str, str]
    chute_token: str = ""

    def channel(self, method: Any) -> grpc.aio.Channel:
        # What every process offers is asked of one of them.
        return self.channels.get(method.full_name.split(".")[1], self.channels["node"])

    async def outcome(self, name: str, caller: str, **fields: Any) -> tuple[str, str]:
        """Calls with a request that is empty but for some fields; returns the code and the reason."""
        method = METHODS[name]
        request = message_factory.GetMessageClass(method.input_type)(**fields)
        reply = message_factory.GetMessageClass(method.output_type)
        kinds = (
            "stream" if method.client_streaming else "unary",
            "stream" if method.server_streaming else "unary",
        )
        multi = getattr(self.channel(method), "_".join(kinds))(
            name, type(request).SerializeToString, reply.FromString
        )
        token = self.tokens.get(caller)
        metadata = [("authorization", f"Bearer {token}")] if token else []

        async def requests() -> AsyncIterator[Any]:
            yield request

        call = multi(requests() if method.client_streaming else request, metadata=metadata, timeout=TIMEOUT_S)
        try:
            if method.server_streaming:
                async for _ in call:
                    break
                call.cancel()
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return error.code().name, _reason(error)
        return "OK", ""


def _reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    return info.reason if status and status.details and status.details[0].Unpack(info) else ""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    home = tmp_path_factory.mktemp("roles") / "home"
    with settings_in(home, DOCKER_HOST=f"unix://{home}/no-engine.sock") as settings:
        await asyncio.to_thread(parts.load, *SERVICES)
        async with AsyncExitStack() as stack:
            for service in SERVICES:
                await stack.enter_async_context(parts.running(service, settings))
            channels = {
                service: await stack.enter_async_context(
                    grpc.aio.insecure_channel(settings.addresses[service])
                )
                for service in SERVICES
            }
            yield await _with_callers(Node(settings, channels, {}))


async def _with_callers(node: Node) -> Node:
    auth = auth_pb2_grpc.AuthServiceStub(node.channels["auth"])

    async def login(name: str) -> str:
        reply = await auth.LoginLocal(auth_pb2.LoginLocalRequest(username=name, password=PASSWORD))
        return str(reply.token)

    # Only the node itself may make an owner.
    services = await asyncio.to_thread(service_metadata, node.settings.service_token_file)
    for role in ROLES:
        user = auth_pb2.AddUserRequest(
            username=f"some-{role}", password=PASSWORD, role=auth_pb2.Role.Value(f"ROLE_{role.upper()}")
        )
        await auth.AddUser(user, metadata=services)
        node.tokens[role] = await login(f"some-{role}")
    issued = await auth.IssueChuteToken(auth_pb2.IssueChuteTokenRequest(chute="web"), metadata=services)
    node.chute_token = issued.token
    # What the gateway does with the token that a chute finds in its environment.
    check = external_auth_pb2.CheckRequest()
    check.attributes.request.http.headers["authorization"] = f"Bearer {issued.token}"
    checked = await external_auth_pb2_grpc.AuthorizationStub(node.channels["auth"]).Check(check)
    node.tokens["chute"] = checked.ok_response.headers[0].header.value.removeprefix("Bearer ")
    return node


def allowed(name: str, caller: str) -> bool:
    access = ACCESS[name]
    if access.public:
        return True
    if caller == "nobody":
        return False
    if caller == "chute":
        return access.chutes
    return access.users and Role[caller.upper()] >= access.role


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("caller", CALLERS)
async def test_each_rpc_lets_in_whom_the_table_names_and_nobody_else(node: Node, caller: str) -> None:
    assert len(METHODS) > 70
    wrong = {}
    for name in METHODS:
        if allowed(name, caller) and name.rpartition("/")[2] in NOT_CALLED:
            continue
        code, reason = await node.outcome(name, caller)
        if caller == "nobody" and not allowed(name, caller):
            is_right = code == "UNAUTHENTICATED"
        elif allowed(name, caller):
            is_right = reason not in REFUSED and code != "UNAUTHENTICATED"
            # A login that lacks its password is not refused for lack of a role.
            is_right |= ACCESS[name].public
        else:
            is_right = code == "PERMISSION_DENIED" and reason in REFUSED
        if not is_right:
            wrong[name] = (code, reason)
    assert wrong == {}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_chutes_token_is_good_for_the_chute_itself_and_for_nothing_else(node: Node) -> None:
    """Whatever names a chute is refused for every other one, also for one that does not exist."""
    own, other, unnamed = {}, {}, {}
    for name, method in METHODS.items():
        if ACCESS[name].public:
            continue  # Nobody's token matters there.
        if not ACCESS[name].chutes:
            assert (await node.outcome(name, "chute"))[0] == "PERMISSION_DENIED", name
        elif "chute" in method.input_type.fields_by_name:
            own[name] = await node.outcome(name, "chute", chute="web")
            for stranger in ("shop", "", "WEB", "web ", "web/../shop"):
                other[name, stranger] = await node.outcome(name, "chute", chute=stranger)
        else:
            unnamed[name] = await node.outcome(name, "chute")
    assert set(other.values()) == {("PERMISSION_DENIED", "CHUTE_NOT_YOURS")}
    assert not {outcome for outcome in own.values() if outcome[0] in ("PERMISSION_DENIED", "UNAUTHENTICATED")}
    assert len(own) >= 12
    # These tell a chute of itself alone; that is proven where they are answered.
    assert {name.rpartition("/")[2] for name in unnamed} == {"ListChutes", "ListDevices"}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_token_that_was_ended_opens_nothing(node: Node) -> None:
    services = await asyncio.to_thread(service_metadata, node.settings.service_token_file)
    auth = auth_pb2_grpc.AuthServiceStub(node.channels["auth"])
    await auth.RevokeChuteToken(auth_pb2.RevokeChuteTokenRequest(chute="web"), metadata=services)
    check = external_auth_pb2.CheckRequest()
    check.attributes.request.http.headers["authorization"] = f"Bearer {node.chute_token}"
    checked = await external_auth_pb2_grpc.AuthorizationStub(node.channels["auth"]).Check(check)
    assert checked.denied_response.status.code == 401
    await asyncio.sleep(1.1)  # How long a service may believe what it read last.
    for name in METHODS:
        if not ACCESS[name].public:
            assert (await node.outcome(name, "chute", **_named(name)))[0] == "UNAUTHENTICATED", name


def _named(name: str) -> dict[str, str]:
    field = METHODS[name].input_type.fields_by_name.get("chute")
    return {"chute": "web"} if field is not None and field.message_type is None else {}

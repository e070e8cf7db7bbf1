"""Drives auth the way a blocking controller does, with the fixtures of pytest-grpc around our own server."""

from collections.abc import Iterator

import grpc
import pytest
from paradrop.auth.v1 import auth_pb2 as pb
from paradrop.auth.v1.auth_pb2_grpc import AuthServiceStub

from services.auth.app import running
from tests.support.aio_server import run_in_thread
from tests.support.settings import PASSWORD, settings_in


@pytest.fixture(scope="module")
def grpc_addr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        settings_in(tmp_path_factory.mktemp("node")) as settings,
        run_in_thread(running(settings), settings.addresses["auth"]) as address,
    ):
        yield address


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[AuthServiceStub]:
    return AuthServiceStub


@pytest.fixture
def metadata(grpc_stub: AuthServiceStub) -> list[tuple[str, str]]:
    token = grpc_stub.LoginLocal(pb.LoginLocalRequest(password=PASSWORD)).token
    return [("authorization", f"Bearer {token}")]


def test_login_names_the_user(grpc_stub: AuthServiceStub) -> None:
    reply = grpc_stub.LoginLocal(pb.LoginLocalRequest(username="paradrop", password=PASSWORD))
    assert (reply.username, reply.success) == ("paradrop", True)


def test_users_can_be_managed(grpc_stub: AuthServiceStub, metadata: list[tuple[str, str]]) -> None:
    added = pb.AddUserRequest(username="ann", password="secret of ann", role=pb.ROLE_TRUSTED)
    grpc_stub.AddUser(added, metadata=metadata)
    listed = grpc_stub.ListUsers(pb.ListUsersRequest(), metadata=metadata).users
    assert [(user.username, user.role) for user in listed] == [
        ("ann", pb.ROLE_TRUSTED),
        ("paradrop", pb.ROLE_ADMIN),
    ]
    grpc_stub.RemoveUser(pb.RemoveUserRequest(username="ann"), metadata=metadata)
    assert len(grpc_stub.ListUsers(pb.ListUsersRequest(), metadata=metadata).users) == 1


def test_a_call_without_a_token_is_refused(grpc_stub: AuthServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        grpc_stub.ListUsers(pb.ListUsersRequest())
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_many_threads_can_share_a_channel(
    grpc_stub: AuthServiceStub, metadata: list[tuple[str, str]]
) -> None:
    futures = [grpc_stub.ListUsers.future(pb.ListUsersRequest(), metadata=metadata) for _ in range(50)]
    assert {len(future.result(10).users) for future in futures} == {1}

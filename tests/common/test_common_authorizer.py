"""Who gets through, who does not, and that the handler sees the one who called."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.common.authorizer import Authorizer
from services.common.errors import Unauthenticated
from services.common.identity import TokenVerifier, current_principal
from tests.support.handlers import Handlers, call_of_kind, handler_of_kind, serving_handlers
from tests.support.publisher import Publisher

UNARY = "/paradrop.chutes.v1.ChuteService/ListChutes"
TRUSTED_UNARY = "/paradrop.chutes.v1.ChuteService/StopChute"
SERVER_STREAM = "/paradrop.chutes.v1.ChuteService/StreamLogs"
UPLOAD = "/paradrop.chutes.v1.ChuteUploadService/UploadChute"
BIDI = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
PUBLIC = "/paradrop.auth.v1.AuthService/LoginLocal"
SERVICES_ONLY = "/paradrop.auth.v1.AuthService/IssueChuteToken"
UNLISTED = "/paradrop.chutes.v1.ChuteService/SelfDestruct"
KINDS = {
    UNARY: "unary_unary",
    TRUSTED_UNARY: "unary_unary",
    SERVER_STREAM: "unary_stream",
    UPLOAD: "stream_unary",
    BIDI: "stream_stream",
    PUBLIC: "unary_unary",
    SERVICES_ONLY: "unary_unary",
    UNLISTED: "unary_unary",
}


class Echo:
    """Answers each call with the name of its caller, asked for after other calls had their turn."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.entered = 0

    def handlers(self) -> Handlers:
        return {
            method: handler_of_kind(kind, self._stream if kind.endswith("_stream") else self._unary)
            for method, kind in KINDS.items()
        }

    async def _unary(self, request: Any, _: Any) -> bytes:
        self.entered += 1
        if not isinstance(request, bytes):
            async for part in request:
                self.received.append(part)
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await asyncio.to_thread(self._name)

    async def _stream(self, request: Any, _: Any) -> AsyncIterator[bytes]:
        self.entered += 1
        for _turn in range(3):
            yield self._name()
            await asyncio.sleep(0)

    @staticmethod
    def _name() -> bytes:
        try:
            principal = current_principal()
        except Unauthenticated:
            return b"nobody"
        return f"{principal.kind} {principal.name} {principal.role.name}".encode()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def channel(tmp_path: Path, publisher: Publisher, echo: Echo) -> AsyncIterator[grpc.aio.Channel]:
    authorizer = Authorizer(TokenVerifier(publisher.public_dir))
    async with serving_handlers(tmp_path, echo.handlers(), authorizer) as channel:
        yield channel


async def refusal(
    channel: grpc.aio.Channel, method: str, token: str | None, sent: tuple[bytes, ...] = (b"x",)
) -> tuple[str, str]:
    """Returns code and reason of the refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call_of_kind(channel, KINDS[method], method, token, sent)
    status = rpc_status.from_call(raised.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return raised.value.code().name, info.reason


@pytest.mark.parametrize("method", [UNARY, TRUSTED_UNARY, SERVER_STREAM, UPLOAD, BIDI, SERVICES_ONLY])
class TestRefused:
    async def test_without_a_token(self, channel: grpc.aio.Channel, echo: Echo, method: str) -> None:
        assert await refusal(channel, method, None) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING")
        assert echo.entered == 0

    async def test_with_an_expired_token(
        self, channel: grpc.aio.Channel, echo: Echo, publisher: Publisher, method: str
    ) -> None:
        token = publisher.token("owner", iat=1, exp=2)
        assert await refusal(channel, method, token) == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
        assert echo.entered == 0

    async def test_with_an_ended_token(
        self, channel: grpc.aio.Channel, echo: Echo, publisher: Publisher, method: str
    ) -> None:
        token = publisher.token("owner", gen=0)
        assert await refusal(channel, method, token) == ("UNAUTHENTICATED", "TOKEN_REVOKED")
        assert echo.entered == 0

    async def test_with_a_forged_token(
        self, channel: grpc.aio.Channel, echo: Echo, publisher: Publisher, method: str
    ) -> None:
        token = publisher.token("owner", key=Ed25519PrivateKey.generate())
        assert await refusal(channel, method, token) == ("UNAUTHENTICATED", "TOKEN_INVALID")
        assert echo.entered == 0


@pytest.mark.parametrize(
    "header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "bearer", "Token abc", "Bearer " + "x" * 9000]
)
async def test_other_credentials_are_malformed_here(channel: grpc.aio.Channel, header: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await channel.unary_unary(UNARY)(b"x", metadata=[("authorization", header)])
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_scheme_is_not_case_sensitive(channel: grpc.aio.Channel, publisher: Publisher) -> None:
    metadata = [("authorization", f"bEARER {publisher.token()}")]
    assert await channel.unary_unary(UNARY)(b"x", metadata=metadata) == b"user user USER"


async def test_a_second_header_does_not_count(channel: grpc.aio.Channel, publisher: Publisher) -> None:
    metadata = [
        ("authorization", f"Bearer {publisher.token('user')}"),
        ("authorization", f"Bearer {publisher.token('owner')}"),
    ]
    assert await channel.unary_unary(UNARY)(b"x", metadata=metadata) == b"user user USER"


async def test_a_role_below_is_refused(channel: grpc.aio.Channel, publisher: Publisher, echo: Echo) -> None:
    assert await refusal(channel, TRUSTED_UNARY, publisher.token("user")) == (
        "PERMISSION_DENIED",
        "ROLE_TOO_LOW",
    )
    assert echo.entered == 0


async def test_the_role_is_the_published_one_and_not_that_of_the_token(
    channel: grpc.aio.Channel, publisher: Publisher
) -> None:
    token = publisher.token("user", role="owner")
    assert await refusal(channel, TRUSTED_UNARY, token) == ("PERMISSION_DENIED", "ROLE_TOO_LOW")


async def test_a_chute_is_let_through_where_the_table_says_so(
    channel: grpc.aio.Channel, publisher: Publisher
) -> None:
    token = publisher.token("web")
    assert await call_of_kind(channel, "unary_unary", UNARY, token) == [b"chute web USER"]
    assert await refusal(channel, TRUSTED_UNARY, token) == ("PERMISSION_DENIED", "CHUTE_TOKEN_NOT_ENOUGH")
    assert await refusal(channel, BIDI, token) == ("PERMISSION_DENIED", "CHUTE_TOKEN_NOT_ENOUGH")


async def test_a_user_with_the_name_of_a_service_is_none(
    channel: grpc.aio.Channel, publisher: Publisher
) -> None:
    assert await refusal(channel, SERVICES_ONLY, publisher.token("owner")) == (
        "PERMISSION_DENIED",
        "SERVICES_ONLY",
    )
    token = publisher.token("__paradrop__", kind="user")
    assert await refusal(channel, SERVICES_ONLY, token) == ("UNAUTHENTICATED", "TOKEN_REVOKED")


async def test_a_service_is_let_through(channel: grpc.aio.Channel, publisher: Publisher) -> None:
    replies = await call_of_kind(channel, "unary_unary", SERVICES_ONLY, publisher.token("__paradrop__"))
    assert replies == [b"service __paradrop__ OWNER"]


async def test_what_is_not_in_the_table_is_refused_to_everybody(
    channel: grpc.aio.Channel, publisher: Publisher, echo: Echo
) -> None:
    for who in ("owner", "__paradrop__"):
        token = publisher.token(who)
        assert await refusal(channel, UNLISTED, token) == ("PERMISSION_DENIED", "RPC_NOT_LISTED")
    assert echo.entered == 0


async def test_a_public_call_has_no_caller_even_with_a_token(
    channel: grpc.aio.Channel, publisher: Publisher
) -> None:
    assert await call_of_kind(channel, "unary_unary", PUBLIC, None) == [b"nobody"]
    assert await call_of_kind(channel, "unary_unary", PUBLIC, publisher.token("owner")) == [b"nobody"]


async def test_a_refused_upload_is_read_to_its_end_first(
    channel: grpc.aio.Channel, publisher: Publisher
) -> None:
    """Otherwise an HTTP/1.1 client that is still sending sees a broken connection and never the refusal."""
    part = bytes(256 * 1024)
    asked_for = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal asked_for
        for _ in range(40):
            asked_for += 1
            yield part

    call = channel.stream_unary(UPLOAD)(
        parts(), metadata=[("authorization", f"Bearer {publisher.token('user')}")]
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    # Far more than the windows of the connection hold: somebody must have read it.
    assert asked_for == 40


async def test_an_upload_that_never_ends_is_not_answered_before(
    channel: grpc.aio.Channel, publisher: Publisher
) -> None:
    call = channel.stream_unary(UPLOAD)(metadata=[("authorization", f"Bearer {publisher.token('user')}")])
    for _ in range(20):
        await call.write(bytes(256 * 1024))
    assert not call.done()
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("method", [UNARY, SERVER_STREAM, UPLOAD, BIDI])
async def test_each_of_many_calls_at_once_sees_its_own_caller(
    channel: grpc.aio.Channel, publisher: Publisher, method: str
) -> None:
    names = ["trusted", "admin", "owner"] * 20
    tokens = {name: publisher.token(name) for name in names}
    replies = await asyncio.gather(
        *(call_of_kind(channel, KINDS[method], method, tokens[name], [b"x"] * 3) for name in names)
    )
    for name, reply in zip(names, replies, strict=True):
        assert set(reply) == {f"user {name} {name.upper()}".encode()}


async def test_callers_of_calls_of_all_kinds_at_once_do_not_mix(
    channel: grpc.aio.Channel, publisher: Publisher
) -> None:
    methods = [UNARY, SERVER_STREAM, UPLOAD, BIDI] * 10
    names = ["trusted", "admin", "owner", "trusted", "admin"] * 8
    replies = await asyncio.gather(
        *(
            call_of_kind(channel, KINDS[method], method, publisher.token(name))
            for method, name in zip(methods, names, strict=True)
        )
    )
    for name, reply in zip(names, replies, strict=True):
        assert set(reply) == {f"user {name} {name.upper()}".encode()}


async def test_a_call_after_an_authorised_one_inherits_nothing(
    channel: grpc.aio.Channel, publisher: Publisher
) -> None:
    await call_of_kind(channel, "unary_unary", UNARY, publisher.token("owner"))
    assert await call_of_kind(channel, "unary_unary", PUBLIC, None) == [b"nobody"]
    assert await refusal(channel, UNARY, None) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING")


async def test_without_auth_nobody_is_let_through(
    channel: grpc.aio.Channel, publisher: Publisher, echo: Echo
) -> None:
    publisher.jwks_file.unlink()
    assert await refusal(channel, UNARY, publisher.token("owner")) == ("UNAVAILABLE", "AUTH_KEYS_MISSING")
    assert echo.entered == 0

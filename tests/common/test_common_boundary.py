"""Every error leaves as a status with a reason, and an unexpected one leaves nothing of itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.common.errors import DomainError, InvalidArgument, NotFound, ResourceExhausted
from tests.support.handlers import call_of_kind, handler_of_kind, serving_handlers

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
METHOD = "/test.Service/Method"
SECRET = "swordfish"


def raising(kind: str, error: BaseException) -> grpc.RpcMethodHandler:
    async def unary(_: Any, __: Any) -> bytes:
        raise error

    async def stream(_: Any, __: Any) -> AsyncIterator[bytes]:
        yield b"before"
        raise error

    return handler_of_kind(kind, stream if kind.endswith("_stream") else unary)


async def refused(folder: Path, kind: str, error: BaseException) -> status_pb2.Status:
    async with serving_handlers(folder, {METHOD: raising(kind, error)}) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call_of_kind(channel, kind, METHOD)
    status: status_pb2.Status = rpc_status.from_call(raised.value)
    return status


def detail(status: status_pb2.Status, message: Message) -> Any:
    found = [packed for packed in status.details if packed.Is(message.DESCRIPTOR)]
    assert len(found) == 1
    found[0].Unpack(message)
    return message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_domain_error_keeps_code_reason_and_facts(tmp_path: Path, kind: str) -> None:
    error = NotFound("There is no chute web.", reason="CHUTE_NOT_FOUND", chute="web")
    status = await refused(tmp_path, kind, error)
    assert (status.code, status.message) == (5, "There is no chute web.")
    info = detail(status, error_details_pb2.ErrorInfo())
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "CHUTE_NOT_FOUND",
        "paradrop",
        {"chute": "web"},
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unexpected_error_leaks_nothing(tmp_path: Path, kind: str) -> None:
    with structlog.testing.capture_logs() as logs:
        status = await refused(tmp_path, kind, RuntimeError(SECRET))
    assert status.code == 13
    assert SECRET not in str(status)
    assert "RuntimeError" not in str(status)
    info = detail(status, error_details_pb2.ErrorInfo())
    assert info.reason == "INTERNAL"
    # The id leads from what the caller sees to the line in the log.
    assert info.metadata["log_id"] in status.message
    assert [(line["rpc"], line["log_id"]) for line in logs] == [(METHOD, info.metadata["log_id"])]


@pytest.mark.parametrize("kind", KINDS)
async def test_replies_pass_unchanged(tmp_path: Path, kind: str) -> None:
    async def unary(request: Any, _: Any) -> bytes:
        if isinstance(request, bytes):
            return b"re:" + request
        return b"re:" + b"".join([part async for part in request])

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
        yield await unary(request, context)
        yield b"end"

    is_stream = kind.endswith("_stream")
    handler = handler_of_kind(kind, stream if is_stream else unary)
    sent = [b"a", b"b"] if kind.startswith("stream") else [b"ab"]
    async with serving_handlers(tmp_path, {METHOD: handler}) as channel:
        assert await call_of_kind(channel, kind, METHOD, sent=sent) == [b"re:ab", b"end"][: 1 + is_stream]


async def test_what_a_stream_sent_before_its_error_arrives(tmp_path: Path) -> None:
    methods = {METHOD: raising("unary_stream", NotFound("gone"))}
    async with serving_handlers(tmp_path, methods) as channel:
        call = channel.unary_stream(METHOD)(b"x")
        assert await call.read() == b"before"
        with pytest.raises(grpc.aio.AioRpcError, match="gone"):
            await call.read()


async def test_the_wrong_field_is_named(tmp_path: Path) -> None:
    status = await refused(tmp_path, "unary_unary", InvalidArgument("Too short.", field="password"))
    violation = detail(status, error_details_pb2.BadRequest()).field_violations[0]
    assert (violation.field, violation.description) == ("password", "Too short.")


async def test_the_delay_is_named_in_whole_seconds(tmp_path: Path) -> None:
    error = ResourceExhausted("Wait.", retry_after_s=1.2)
    status = await refused(tmp_path, "unary_unary", error)
    assert detail(status, error_details_pb2.RetryInfo()).retry_delay.seconds == 2


async def test_an_abort_of_the_handler_itself_passes(tmp_path: Path) -> None:
    async def aborting(_: Any, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.DATA_LOSS, "own words")
        return b""

    methods = {METHOD: grpc.unary_unary_rpc_method_handler(aborting)}
    async with serving_handlers(tmp_path, methods) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(METHOD)(b"x")
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.DATA_LOSS, "own words")


async def test_a_cancelled_call_is_no_unexpected_error(tmp_path: Path) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def waiting(_: Any, __: Any) -> bytes:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    methods = {METHOD: grpc.unary_unary_rpc_method_handler(waiting)}
    with structlog.testing.capture_logs() as logs:
        async with serving_handlers(tmp_path, methods) as channel:
            call = channel.unary_unary(METHOD)(b"x")
            await began.wait()
            call.cancel()
            await ended.wait()
    assert logs == []


async def test_an_unknown_method_is_unimplemented(tmp_path: Path) -> None:
    async with serving_handlers(tmp_path, {}) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(METHOD)(b"x")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("error_type", DomainError.__subclasses__())
def test_every_kind_of_error_has_a_code_that_grpc_knows(error_type: type[DomainError]) -> None:
    assert error_type.code in grpc.StatusCode.__members__

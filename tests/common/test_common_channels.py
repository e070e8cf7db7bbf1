"""How services call each other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.common.channels import open_channel, service_metadata
from services.common.errors import Unavailable
from services.common.settings import Settings, load_settings

METHOD = "/test.Service/Method"


def at(address: str) -> Settings:
    return load_settings({"PARADROP_HOME": "/nowhere", "PARADROP_AUTH_ADDRESS": address})


def test_the_services_token_is_a_bearer_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    assert service_metadata(tmp_path / "token") == (("authorization", "Bearer abc"),)


def test_a_renewed_token_is_used_at_once(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    service_metadata(tmp_path / "token")
    (tmp_path / "token").write_text("new")
    assert service_metadata(tmp_path / "token") == (("authorization", "Bearer new"),)


def test_without_a_token_auth_is_not_up(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as raised:
        service_metadata(tmp_path / "token")
    assert raised.value.reason == "AUTH_KEYS_MISSING"


@asynccontextmanager
async def failing(
    folder: Path, code: grpc.StatusCode, failures: int
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serves a method that fails a number of times; yields the address and the calls that came."""
    calls: list[bytes] = []

    async def answer(request: bytes, context: Any) -> bytes:
        calls.append(request)
        if len(calls) <= failures:
            await context.abort(code, "not now")
        return b"ok"

    server = grpc.aio.server()
    handlers = {"Method": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", handlers)])
    address = f"unix:{folder}/s"
    server.add_insecure_port(address)
    await server.start()
    try:
        yield address, calls
    finally:
        await server.stop(0)


async def test_a_service_that_restarts_is_asked_again(tmp_path: Path) -> None:
    async with failing(tmp_path, grpc.StatusCode.UNAVAILABLE, failures=2) as (address, calls):
        async with open_channel(at(address), "auth") as channel:
            assert await channel.unary_unary(METHOD)(b"x", timeout=10) == b"ok"
        assert len(calls) == 3


async def test_a_refusal_is_final(tmp_path: Path) -> None:
    async with failing(tmp_path, grpc.StatusCode.ABORTED, failures=1) as (address, calls):
        async with open_channel(at(address), "auth") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary(METHOD)(b"x", timeout=10)
        assert raised.value.code() is grpc.StatusCode.ABORTED
        assert len(calls) == 1


async def test_an_absent_service_is_unavailable_soon(tmp_path: Path) -> None:
    async with open_channel(at(f"unix:{tmp_path}/absent"), "auth") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(METHOD)(b"", timeout=20)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE

"""The helper that other tests stand on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.aio_server import run_in_thread


def test_runs_for_the_time_of_the_context() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        log.append("up")
        await asyncio.to_thread(log.append, "in a thread")
        yield
        log.append("down")

    with run_in_thread(running(), "somewhere") as address:
        assert address == "somewhere"
        assert log == ["up", "in a thread"]
    assert log == ["up", "in a thread", "down"]


def test_an_error_at_the_start_is_raised() -> None:
    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        raise OSError("no place to listen")
        yield

    with pytest.raises(OSError, match="no place"), run_in_thread(running(), "somewhere"):
        pytest.fail("it never started")


def test_an_error_at_the_end_is_raised() -> None:
    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        yield
        raise OSError("did not stop")

    with pytest.raises(OSError, match="did not stop"), run_in_thread(running(), "somewhere"):
        pass


def test_the_server_ends_when_the_test_fails() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("down")

    with pytest.raises(ValueError, match="the test"), run_in_thread(running(), "somewhere"):
        raise ValueError("the test failed")
    assert log == ["down"]

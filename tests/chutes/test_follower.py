"""What follows from the chutes: one consequence that cannot be done keeps no other from being done."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import pytest

from services.chutes.domain import follower
from services.chutes.domain.chute import Actor, Chute
from services.chutes.domain.follower import Follower
from services.chutes.domain.ports import ContainerState
from services.chutes.domain.registry import Registry
from services.common.errors import Unavailable
from tests.chutes.bench import spec
from tests.fakes.engine import FakeEngine

Containers = Mapping[str, ContainerState] | None

CHUTE = Chute(spec("web"), Actor("alice", "localhost", "trusted"), 1, {}, 0.0)


class Seen:
    """A consequence that notes which chutes it was called with."""

    def __init__(self) -> None:
        self.chutes: list[list[str]] = []
        self.called = asyncio.Event()
        self.failures = 0

    async def follow(self, installed: Mapping[str, Chute], containers: Containers) -> None:
        self.chutes.append(sorted(installed))
        self.called.set()
        if self.failures:
            self.failures -= 1
            raise Unavailable("Nobody is there.", reason="SERVICE_UNAVAILABLE")

    async def again(self) -> list[str]:
        """Waits for the next call and returns what it was called with."""
        async with asyncio.timeout(5):
            await self.called.wait()
        self.called.clear()
        return self.chutes[-1]


async def _hang(installed: Mapping[str, Chute], containers: Containers) -> None:
    await asyncio.Event().wait()


async def _break(installed: Mapping[str, Chute], containers: Containers) -> None:
    raise RuntimeError("a fault")


@asynccontextmanager
async def _following(registry: Registry, *consequences: follower.Consequence) -> AsyncIterator[None]:
    task = asyncio.create_task(Follower(FakeEngine(), registry, consequences).run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("other", [_hang, _break])
async def test_one_that_cannot_be_done_holds_up_no_other(other: follower.Consequence) -> None:
    registry, seen = Registry(), Seen()
    async with _following(registry, other, seen.follow):
        assert await seen.again() == []
        registry.update({"web": CHUTE})
        assert await seen.again() == ["web"]
        registry.update({"web": None})
        assert await seen.again() == []


async def test_one_that_failed_is_called_again_with_what_is_there_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower, "RETRY_S", 0.05)
    registry, seen = Registry(), Seen()
    seen.failures = 1
    async with _following(registry, seen.follow):
        assert await seen.again() == []
        registry.update({"web": CHUTE})
        assert await seen.again() == ["web"]
    assert len(seen.chutes) == 2

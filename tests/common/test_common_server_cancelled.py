"""A server whose start is cut short leaves nothing behind."""

import asyncio
from pathlib import Path

import pytest

from services.common.identity import TokenVerifier
from services.common.server import serving


@pytest.mark.parametrize("steps", range(15))
async def test_a_start_can_be_cancelled_at_any_moment(tmp_path: Path, steps: int) -> None:
    async def serve() -> None:
        async with serving(f"unix:{tmp_path}/s.sock", [], lambda _: None, TokenVerifier(tmp_path)):
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.glob("*.sock")) == []

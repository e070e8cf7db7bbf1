"""A bridge that nobody asks anything does nothing."""

import asyncio
import selectors
from pathlib import Path
from typing import Any

import pytest

from gateway.bridge import app
from tests.support.settings import settings_in


class CountingSelector(selectors.EpollSelector):
    """Counts how often the loop wakes."""

    wakes = 0

    def select(self, timeout: float | None = None) -> Any:
        self.wakes += 1
        return super().select(timeout)


@pytest.mark.thorough
def test_an_idle_bridge_does_not_wake_again_and_again(tmp_path: Path) -> None:
    selector = CountingSelector()

    async def idle() -> int:
        with settings_in(tmp_path / "home") as settings:
            settings.prepare()
            async with app.running(settings):
                await asyncio.sleep(0.5)
                before = selector.wakes
                await asyncio.sleep(2)
                return selector.wakes - before

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert runner.run(idle()) <= 5

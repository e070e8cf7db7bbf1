from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.airshark import Home, Shark, running_shark, shark_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with shark_home(tmp_path / "home") as home:
        yield home


@pytest.fixture
async def shark(home: Home) -> AsyncIterator[Shark]:
    async with running_shark(home) as shark:
        yield shark

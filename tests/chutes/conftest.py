from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.chutes.bench import Bench, without_pauses


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with without_pauses():
        yield Bench(tmp_path)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged, unformatted: to format a traceback means to read source files in the event loop."""
    with capture_logs() as entries:
        yield entries

"""What auth would publish, for what verifies it."""

from pathlib import Path

import pytest

from tests.support.publisher import Publisher


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)

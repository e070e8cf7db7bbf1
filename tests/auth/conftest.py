"""Auth in two sizes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.auth import Domain, Service, domain_in, service_with
from tests.support.settings import settings_in


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with domain_in(tmp_path) as domain:
        yield domain


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    with settings_in(tmp_path) as settings:
        async with service_with(settings) as service:
            yield service

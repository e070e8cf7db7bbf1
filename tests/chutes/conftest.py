import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from structlog.testing import capture_logs

from services.common.settings import Settings
from tests.chutes.bench import Bench, without_pauses
from tests.chutes.client import Client
from tests.chutes.on_engine import remove_chutes, serving_node
from tests.chutes.served import Served, serving_bench
from tests.support.own_engine import OwnEngine, client_of, own_engine
from tests.support.publisher import Publisher


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with without_pauses():
        yield Bench(tmp_path / "home")


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """A user of each role, another trusted one, and a chute."""
    (tmp_path / "public").mkdir()
    publisher = Publisher(tmp_path / "public")
    publisher.principals["users"]["other"] = {"generation": 1, "role": "trusted"}
    publisher.publish()
    return publisher


@pytest.fixture
def address() -> Iterator[str]:
    """Where a service may listen: a path that is short enough."""
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        yield f"unix:{folder}/chutes.sock"


@pytest.fixture
async def served(bench: Bench, publisher: Publisher, address: str) -> AsyncIterator[Served]:
    """The whole service but for the engine and the tokens of chutes."""
    async with serving_bench(bench, publisher, address) as served:
        yield served


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged, unformatted: to format a traceback means to read source files in the event loop."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def name() -> str:
    """A name that no other chute on a shared engine has."""
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    """An engine that the tests of one file have for themselves."""
    with own_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def docker_client(engine: OwnEngine) -> Iterator[docker.APIClient]:
    with client_of(engine) as client:
        yield client


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A client of the chute service with the settings of the test's file, on a real engine."""
    async with serving_node(settings) as client:
        yield client
        await remove_chutes(client)

"""One machine with simulated radios for all tests of the lab."""

from collections.abc import Iterator

import pytest

from tests.lab import machine, node
from tests.lab.air import Client
from tests.lab.chutes import PLAN
from tests.lab.node import LabNode


@pytest.fixture(scope="session")
def lab_session() -> Iterator[LabNode]:
    missing = machine.missing_packages()
    if missing:
        pytest.skip(f"The lab needs the Debian packages {' '.join(missing)}.")
    with node.running(radios=3, clients=2) as running:
        yield running


@pytest.fixture
def lab(lab_session: LabNode) -> Iterator[LabNode]:
    """The node with the networks of the plan and no station."""
    lab_session.settle(PLAN)
    yield lab_session
    for client in lab_session.clients:
        client.leave()


@pytest.fixture
def client(lab: LabNode) -> Client:
    return lab.clients[0]


@pytest.fixture
def other(lab: LabNode) -> Client:
    return lab.clients[1]

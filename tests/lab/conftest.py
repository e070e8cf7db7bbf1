"""One machine with simulated radios for all tests of the lab."""

from collections.abc import Iterator

import pytest

from tests.lab import machine, node
from tests.lab.air import Client
from tests.lab.node import LabNode, open_network

WPA2 = open_network(
    chute="seccam",
    name="wlan0",
    section="cameras",
    interface="vwlan3cbe",
    ssid='Café "2"|\\',
    encryption="psk2",
    key='pass "word\\ 1',
    subnet="192.168.129.0/24",
)
WPA3 = open_network(
    chute="seccam",
    name="wlan1",
    section="guests",
    interface="vwlan3cbf",
    phy="phy1",
    channel=6,
    ssid="Three",
    encryption="sae",
    key="correct horse",
    subnet="192.168.130.0/24",
)
PLAN = [open_network(), WPA2, WPA3]


@pytest.fixture(scope="session")
def lab_session() -> Iterator[LabNode]:
    missing = machine.missing_packages()
    if missing:
        pytest.skip(f"The lab needs the Debian packages {' '.join(missing)}.")
    with node.running(radios=3, clients=2, plan=PLAN) as running:
        yield running


@pytest.fixture
def lab(lab_session: LabNode) -> Iterator[LabNode]:
    """The node with the networks of the plan and no station."""
    if lab_session.plan != PLAN:
        lab_session.set_plan(PLAN)
    yield lab_session
    for client in lab_session.clients:
        client.leave()


@pytest.fixture
def client(lab: LabNode) -> Client:
    return lab.clients[0]


@pytest.fixture
def other(lab: LabNode) -> Client:
    return lab.clients[1]

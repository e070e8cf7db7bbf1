"""A password that was right a moment ago saves the question, and nothing else changes."""

import time
from http.client import HTTPConnection

import pytest

from services.common.errors import Unauthenticated
from tests.gateway.conftest import Gateway, basic

pytestmark = pytest.mark.gateway

LIST = "/api/v1/chutes/"
LIST_RPC = "paradrop.chutes.v1.ChuteService.ListChutes"


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    # No other test's password is remembered for longer.
    time.sleep(2.1)


def read(gateway: Gateway, method: str = "GET", path: str = LIST, password: str | None = None) -> int:
    headers = basic(password=password) if password else basic()
    return gateway.request(method, path, None, headers, token=False).status


def test_the_same_password_is_asked_about_once(gateway: Gateway) -> None:
    assert [read(gateway) for _ in range(5)] == [200] * 5

    assert len(gateway.doubles.checks) == 1
    tokens = {call.metadata["authorization"] for call in gateway.doubles.calls}
    assert len(gateway.doubles.calls) == 5
    assert len(tokens) == 1
    assert tokens.pop().startswith("Bearer ")


def test_it_is_asked_about_again_soon(gateway: Gateway) -> None:
    read(gateway)
    time.sleep(2.1)
    read(gateway)

    assert len(gateway.doubles.checks) == 2


def test_a_wrong_password_is_asked_about_every_time(gateway: Gateway) -> None:
    read(gateway)

    assert [read(gateway, password="wrong") for _ in range(3)] == [401] * 3
    assert len(gateway.doubles.checks) == 4


def test_another_address_is_somebody_else(gateway: Gateway) -> None:
    read(gateway)
    connection = HTTPConnection(gateway.address, timeout=10, source_address=("127.0.0.2", 0))
    connection.request("GET", LIST, headers=basic())
    assert connection.getresponse().status == 200
    connection.close()

    assert len(gateway.doubles.checks) == 2


def test_what_alters_something_is_always_asked_about(gateway: Gateway) -> None:
    read(gateway)
    assert read(gateway, "POST", "/api/v1/chutes/web/stop") == 200
    assert len(gateway.doubles.checks) == 2

    # It may have been a new password: the next one is asked about as well.
    read(gateway)
    assert len(gateway.doubles.checks) == 3


def test_a_token_that_has_ended_is_forgotten(gateway: Gateway) -> None:
    read(gateway)
    gateway.doubles.replies[LIST_RPC] = Unauthenticated("The token was ended; log in again.")
    assert read(gateway) == 401
    gateway.doubles.replies.clear()

    assert read(gateway) == 200
    assert len(gateway.doubles.checks) == 2

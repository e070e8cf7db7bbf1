"""Requests at the same moment share an answer that no call changes, and nobody gets what is not theirs."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paradrop.node.v1 import node_pb2

from services.common.errors import Unavailable
from tests.gateway.conftest import Gateway

pytestmark = pytest.mark.gateway

HARDWARE = "/api/v1/info/hardware"
HARDWARE_RPC = "paradrop.node.v1.NodeService.GetHardware"
KEPT_S = 0.1
REQUESTS = 300


@pytest.fixture(autouse=True)
def _nothing_is_shared() -> None:
    time.sleep(KEPT_S + 0.01)


@pytest.fixture
def boards(gateway: Gateway) -> Callable[[], Any]:
    """Makes each answer another, and returns how many there were."""

    async def answer(request: Any, context: Any) -> node_pb2.GetHardwareResponse:
        return node_pb2.GetHardwareResponse(board=f"board {len(gateway.doubles.calls)}")

    gateway.doubles.replies[HARDWARE_RPC] = answer
    return lambda: len(gateway.doubles.calls)


def burst(gateway: Gateway, path: str) -> float:
    """Sends many requests, one after the other, and returns how long they took."""
    connection, headers, begin = HTTPConnection(gateway.address, timeout=30), gateway.bearer, time.monotonic()
    try:
        for _ in range(REQUESTS):
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
            reply.read()
    finally:
        connection.close()
    return time.monotonic() - begin


def test_however_many_ask_the_service_answers_ten_times_a_second(
    gateway: Gateway, boards: Callable[[], int]
) -> None:
    took_s = burst(gateway, HARDWARE)

    assert 1 <= boards() <= took_s / KEPT_S + 1
    assert boards() < REQUESTS


def test_many_at_once_do_not_all_ask_when_an_answer_grows_old(
    gateway: Gateway, boards: Callable[[], int]
) -> None:
    answer, clients = gateway.doubles.replies[HARDWARE_RPC], 16

    async def slow(request: Any, context: Any) -> node_pb2.GetHardwareResponse:
        await asyncio.sleep(0.02)
        return await answer(request, context)

    gateway.doubles.replies[HARDWARE_RPC] = slow
    with ThreadPoolExecutor(clients) as pool:
        took_s = max(pool.map(lambda _: burst(gateway, HARDWARE), range(clients)))

    # All of them at first, when there is no answer yet, and again should the machine stand still once.
    assert boards() <= 3 * clients + took_s / KEPT_S


def test_a_moment_later_the_answer_is_new(gateway: Gateway, boards: Callable[[], int]) -> None:
    headers = gateway.bearer
    first = gateway.request("GET", HARDWARE, None, headers, token=False)
    time.sleep(KEPT_S + 0.01)
    second = gateway.request("GET", HARDWARE, None, headers, token=False)

    assert (first.json["board"], second.json["board"]) == ("board 1", "board 2")


def test_what_calls_change_is_always_asked_for(gateway: Gateway) -> None:
    burst(gateway, "/api/v1/chutes/")

    assert len(gateway.doubles.calls) == REQUESTS


def test_another_caller_is_asked_who_he_is(gateway: Gateway, boards: Callable[[], int]) -> None:
    guest, forged = gateway.doubles.keys.token("guest", role="guest"), Ed25519PrivateKey.generate()
    others = (guest, gateway.doubles.keys.token(key=forged), gateway.doubles.keys.token(exp=1))
    headers = gateway.bearer

    for _ in range(20):
        assert gateway.request("GET", HARDWARE, None, headers, token=False).status == 200
        answers = [
            gateway.request("GET", HARDWARE, None, {"authorization": f"Bearer {other}"}, token=False)
            for other in others
        ]
        assert [answer.status for answer in answers] == [403, 401, 401]
        assert gateway.request("GET", HARDWARE, token=False).status == 401


def test_a_failure_is_not_kept(gateway: Gateway, boards: Callable[[], int]) -> None:
    headers, answer = gateway.bearer, gateway.doubles.replies[HARDWARE_RPC]
    gateway.doubles.replies[HARDWARE_RPC] = Unavailable("Not now.", reason="NOT_NOW")
    assert gateway.request("GET", HARDWARE, None, headers, token=False).status == 503
    gateway.doubles.replies[HARDWARE_RPC] = answer

    assert gateway.request("GET", HARDWARE, None, headers, token=False).status == 200


def test_a_shared_answer_is_the_same_for_every_client(gateway: Gateway, boards: Callable[[], int]) -> None:
    headers = gateway.bearer | {"origin": "https://portal.example"}
    for _ in range(20):
        own, shared = (gateway.request("GET", HARDWARE, None, headers, token=False) for _ in range(2))
        if own.body == shared.body:
            break
        time.sleep(KEPT_S)
    else:
        pytest.fail("no two requests shared an answer")
    head = gateway.request("HEAD", HARDWARE, None, headers, token=False)

    kept = {"content-type", "content-length", "access-control-allow-origin", "access-control-expose-headers"}
    assert {name: own.headers.get(name) for name in kept} == {name: shared.headers.get(name) for name in kept}
    assert own.headers.keys() == shared.headers.keys()
    assert own.headers["access-control-allow-origin"] == "https://portal.example"
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(own.body)))

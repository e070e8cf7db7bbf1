"""Server-sent events whose service fails: what a reader is told when the status of the answer has gone."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from paradrop.airshark.v1 import airshark_pb2
from paradrop.type.v1 import stream_pb2

from services.common.errors import Unavailable
from tests.gateway.conftest import Gateway

pytestmark = pytest.mark.gateway
SWEEP = "paradrop.airshark.v1.AirsharkService.SubscribeSweep"
EVENTS = {"accept": "text/event-stream"}


def test_a_stream_that_fails_on_its_way_ends_with_an_error(gateway: Gateway) -> None:
    async def failing(request: Any, context: Any) -> AsyncIterator[Any]:
        yield airshark_pb2.SubscribeSweepResponse(synced=stream_pb2.Synced())
        raise Unavailable("The radio is gone.", reason="SOURCE_LOST")

    gateway.doubles.replies[SWEEP] = failing
    reply = gateway.request("GET", "/api/v1/airshark/sweep", headers={**gateway.bearer, **EVENTS})
    assert reply.status == 200
    retry, synced, error, rest = reply.body.decode().split("\n\n")
    assert retry.startswith("retry: ")
    assert synced.startswith("event: synced\n")
    assert rest == ""
    name, data = error.split("\n")
    assert name == "event: error"
    told = json.loads(data.removeprefix("data: "))
    assert told["message"] == "The radio is gone."
    assert told["details"][0]["reason"] == "SOURCE_LOST"


def test_an_exception_in_a_stream_is_told_without_its_words(gateway: Gateway) -> None:
    async def failing(request: Any, context: Any) -> AsyncIterator[Any]:
        yield airshark_pb2.SubscribeSweepResponse(synced=stream_pb2.Synced())
        raise RuntimeError("secret words")

    gateway.doubles.replies[SWEEP] = failing
    reply = gateway.request("GET", "/api/v1/airshark/sweep", headers={**gateway.bearer, **EVENTS})
    assert reply.status == 200
    assert b"event: error\n" in reply.body
    assert b"secret" not in reply.body

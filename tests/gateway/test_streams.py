"""Streams and uploads: long, large, and ended when nobody reads."""

import asyncio
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from paradrop.chutes.v1 import changes_pb2, uploads_pb2
from paradrop.type.v1 import stream_pb2

from services.common.errors import InvalidArgument, NotFound, ResourceExhausted
from tests.gateway.conftest import Gateway, basic

pytestmark = pytest.mark.gateway

WATCH = "paradrop.chutes.v1.ChangeService.WatchChange"
UPLOAD = "paradrop.chutes.v1.ChuteUploadService.UploadChute"
TAR = {"content-type": "application/x-tar"}
MIB = 1024 * 1024


def progress(message: str) -> changes_pb2.WatchChangeResponse:
    return changes_pb2.WatchChangeResponse(progress=changes_pb2.Progress(time=1.5, message=message))


def test_a_stream_is_one_json_object_a_line(gateway: Gateway) -> None:
    gateway.doubles.replies[WATCH] = [
        progress("one"),
        progress("two\nlines"),
        changes_pb2.WatchChangeResponse(synced=stream_pb2.Synced()),
    ]

    answer = gateway.request("GET", "/api/v1/changes/1/watch")

    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line.get("progress", {}).get("message") for line in lines] == ["one", "two\nlines", None]
    assert "synced" in lines[2]
    assert not [name for name in answer.headers if name.startswith("grpc-")]


def test_a_stream_that_fails_before_its_first_message_is_an_error(gateway: Gateway) -> None:
    gateway.doubles.replies[WATCH] = NotFound("none", reason="CHANGE_NOT_FOUND")

    answer = gateway.request("GET", "/api/v1/changes/1/watch")

    assert (answer.status, answer.reason) == (404, "CHANGE_NOT_FOUND")


def test_a_message_arrives_when_it_is_sent(gateway: Gateway) -> None:
    go_on = asyncio.Event()

    async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
        yield progress("first")
        await go_on.wait()
        yield progress("second")

    gateway.doubles.replies[WATCH] = talk
    connection = HTTPConnection(gateway.address, timeout=10)
    connection.request("GET", "/api/v1/changes/1/watch", headers=gateway.bearer)
    reply = connection.getresponse()

    assert b"first" in reply.readline()
    gateway.loop.call_soon_threadsafe(go_on.set)
    assert b"second" in reply.readline()
    assert reply.readline() == b""
    connection.close()


def test_a_quiet_stream_is_not_cut(gateway: Gateway) -> None:
    """Longer than the default timeout of a route, 15 s."""

    async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
        yield progress("first")
        await asyncio.sleep(21)
        yield progress("last")

    gateway.doubles.replies[WATCH] = talk

    answer = gateway.request("GET", "/api/v1/changes/1/watch")

    assert [json.loads(line)["progress"]["message"] for line in answer.body.splitlines()] == ["first", "last"]


def test_a_stream_ends_with_its_reader(gateway: Gateway) -> None:
    ended = asyncio.Event()

    async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
        try:
            yield progress("first")
            await asyncio.Event().wait()
        finally:
            ended.set()

    gateway.doubles.replies[WATCH] = talk
    connection = HTTPConnection(gateway.address, timeout=10)
    connection.request("GET", "/api/v1/changes/1/watch", headers=gateway.bearer)
    connection.getresponse().readline()
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()

    gateway.run(asyncio.wait_for(ended.wait(), 5))


def test_a_reader_that_stops_reading_holds_up_the_service_not_the_memory(gateway: Gateway) -> None:
    sent = 0

    async def talk(_: Any, __: Any) -> AsyncIterator[Any]:
        nonlocal sent
        while True:
            yield progress("x" * 10_000)
            sent += 1

    gateway.doubles.replies[WATCH] = talk
    connection = HTTPConnection(gateway.address, timeout=10)
    connection.request("GET", "/api/v1/changes/1/watch", headers=gateway.bearer)
    connection.getresponse().readline()

    before = -1
    while before != sent:
        before = sent
        time.sleep(0.3)
    connection.close()

    assert sent < 1500  # 15 MB, most of it in the sockets of this machine.


def memory_mb(pid: int) -> float:
    return int(re.search(r"Anonymous:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())[1]) / 1024


class Sponge:
    """Takes uploads and keeps their size, hash and the most memory that was used meanwhile."""

    def __init__(self, envoy_pid: int) -> None:
        self.envoy_pid = envoy_pid
        self.size = self.pieces = self.largest = 0
        self.hash = hashlib.sha256()
        self.envoy_mb = self.services_mb = 0.0
        self.first: Any = None
        self.reply: Any = uploads_pb2.UploadChuteResponse(change_id=7)

    async def __call__(self, requests: AsyncIterator[Any], _: Any) -> Any:
        async for request in requests:
            self.first = self.first or request
            data = request.content.data
            self.pieces += 1
            self.size += len(data)
            self.largest = max(self.largest, len(data))
            self.hash.update(data)
            if self.pieces % 50 == 1:
                now_mb = await asyncio.to_thread(memory_mb, self.envoy_pid)
                self.envoy_mb = max(self.envoy_mb, now_mb)
                self.services_mb = max(self.services_mb, await asyncio.to_thread(memory_mb, os.getpid()))
        return self.reply


class TestUpload:
    def test_100_mb_pass_in_small_pieces_and_little_memory(self, gateway: Gateway) -> None:
        piece = b"0123456789abcdef" * 65536
        sponge = gateway.doubles.replies[UPLOAD] = Sponge(gateway.envoy.pid)
        before_mb, services_before_mb = memory_mb(gateway.envoy.pid), memory_mb(os.getpid())
        connection = HTTPConnection(gateway.address, timeout=60)

        size = {"content-length": str(100 * len(piece))}
        connection.request(
            "POST", "/api/v1/chutes/", (piece for _ in range(100)), gateway.bearer | TAR | size
        )
        reply = connection.getresponse()

        assert (reply.status, json.load(reply)) == (200, {"change_id": 7})
        connection.close()
        assert sponge.size == 100 * MIB
        assert sponge.hash.digest() == hashlib.sha256(piece * 100).digest()
        assert sponge.largest <= MIB
        assert sponge.envoy_mb - before_mb < 20
        assert sponge.services_mb - services_before_mb < 30

    @pytest.mark.parametrize(
        "content_type", ["application/x-tar", "application/x-tar; charset=binary", "Application/X-Tar"]
    )
    def test_the_content_type_tells_it_from_json(self, gateway: Gateway, content_type: str) -> None:
        gateway.request("POST", "/api/v1/chutes", b"tar", {"content-type": content_type})
        assert gateway.doubles.last.rpc == UPLOAD

        gateway.send_json("POST", "/api/v1/chutes", {"config": {}})
        assert gateway.doubles.last.rpc == "paradrop.chutes.v1.ChuteService.InstallChute"

    @pytest.mark.parametrize("content_type", ["application/x-tarball", "application/x-tar,text/plain"])
    def test_similar_types_are_not_it(self, gateway: Gateway, content_type: str) -> None:
        answer = gateway.request("POST", "/api/v1/chutes", b"tar", {"content-type": content_type})

        assert (answer.status, answer.reason) == (415, "CONTENT_TYPE_NOT_SUPPORTED")

    def test_an_update_names_the_chute_of_the_path(self, gateway: Gateway) -> None:
        gateway.request("PUT", "/api/v1/chutes/web/?chute=other", b"x" * (3 * MIB), TAR)

        pieces = gateway.doubles.last.request
        assert pieces[0].chute == "web"
        assert {piece.chute for piece in pieces} <= {"web", ""}
        assert sum(len(piece.content.data) for piece in pieces) == 3 * MIB

    def test_an_empty_upload_arrives_as_one(self, gateway: Gateway) -> None:
        assert gateway.request("POST", "/api/v1/chutes/", b"", TAR).status == 200
        assert gateway.doubles.last.rpc == UPLOAD

    def test_an_upload_in_chunks_arrives(self, gateway: Gateway) -> None:
        body = b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"

        gateway.request("POST", "/api/v1/chutes/", body, TAR | {"transfer-encoding": "chunked"})

        assert sum(len(piece.content.data) for piece in gateway.doubles.last.request) == 1024

    def test_basic_uploads(self, gateway: Gateway) -> None:
        answer = gateway.request("POST", "/api/v1/chutes/", b"x" * (5 * MIB), TAR | basic(), token=False)

        assert answer.status == 200

    @pytest.mark.parametrize(
        "credentials", [{}, {"authorization": "Bearer None"}, basic(password="wrong"), {"authorization": "x"}]
    )
    def test_bad_credentials_are_answered_after_the_whole_upload(
        self, gateway: Gateway, credentials: dict[str, str]
    ) -> None:
        connection = HTTPConnection(gateway.address, timeout=30)
        headers = TAR | credentials

        for _ in range(2):  # The connection stays usable.
            connection.request("POST", "/api/v1/chutes/", b"x" * (30 * MIB), headers)
            reply = connection.getresponse()
            answer = json.load(reply)

            assert reply.status == 401
            assert reply.getheader("www-authenticate") == 'Basic realm="Login Required"'
            assert answer["code"] == 16
        connection.close()
        assert not gateway.doubles.calls

    def test_a_refusal_of_the_service_is_answered_after_the_whole_upload(self, gateway: Gateway) -> None:
        gateway.doubles.replies[UPLOAD] = InvalidArgument("bad", reason="TAR_CORRUPT")

        answer = gateway.request("POST", "/api/v1/chutes/", b"x" * (30 * MIB), TAR)

        assert (answer.status, answer.reason) == (400, "TAR_CORRUPT")

    def test_too_large_is_413(self, gateway: Gateway) -> None:
        gateway.doubles.replies[UPLOAD] = ResourceExhausted("large", reason="UPLOAD_TOO_LARGE")

        answer = gateway.request("POST", "/api/v1/chutes/", b"x", TAR)

        assert (answer.status, answer.reason) == (413, "UPLOAD_TOO_LARGE")

    def test_a_full_disk_is_507(self, gateway: Gateway) -> None:
        gateway.doubles.replies[UPLOAD] = ResourceExhausted("full", reason="DISK_FULL")

        answer = gateway.request("POST", "/api/v1/chutes/", b"x", TAR)

        assert (answer.status, answer.reason) == (507, "DISK_FULL")

    def test_other_exhaustion_stays_429(self, gateway: Gateway) -> None:
        gateway.doubles.replies[UPLOAD] = ResourceExhausted("busy", reason="QUEUE_FULL")

        assert gateway.request("POST", "/api/v1/chutes/", b"x", TAR).status == 429

    def test_an_upload_that_breaks_off_ends_the_call(self, gateway: Gateway) -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def take(requests: AsyncIterator[Any], _: Any) -> None:
            try:
                async for _request in requests:
                    began.set()
            finally:
                ended.set()

        gateway.doubles.replies[UPLOAD] = take
        head = f"POST /api/v1/chutes HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.token}\r\n"
        head += "content-type: application/x-tar\r\ncontent-length: 99999999\r\n\r\n"
        with socket.create_connection((gateway.settings.listen_host, gateway.settings.listen_port)) as client:
            client.sendall(head.encode() + b"x" * MIB)
            gateway.run(asyncio.wait_for(began.wait(), 5))

        gateway.run(asyncio.wait_for(ended.wait(), 5))


def test_a_time_is_a_query_parameter(gateway: Gateway) -> None:
    times = "since=2026-01-02T03:04:05.000000006Z&until=2027-01-01T00:00:00%2B01:00"
    assert gateway.request("GET", f"/api/v1/chutes/web/logs?tail=5&{times}").status == 200
    request = gateway.doubles.last.request
    assert (request.tail, request.since.ToNanoseconds()) == (5, 1767323045000000006)
    assert request.until.ToJsonString() == "2026-12-31T23:00:00Z"
    answer = gateway.request("GET", "/api/v1/chutes/web/logs?since=yesterday")
    assert answer.status == 400

"""Archives of chutes through Envoy and the bridge: in pieces, and never half of one as a whole."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from http.client import HTTPConnection, IncompleteRead
from typing import Any

import pytest
from paradrop.chutes.v1 import archives_pb2

from services.common.errors import Aborted, AlreadyExists, NotFound
from tests.gateway.conftest import Gateway, basic
from tests.gateway.test_streams import Sponge, memory_mb

pytestmark = pytest.mark.gateway

SERVICE = "paradrop.chutes.v1.ChuteArchiveService"
EXPORT, IMPORT = f"{SERVICE}.ExportChute", f"{SERVICE}.ImportChute"
PATH = "/api/v1/chutes/web/export"
GZIP = {"content-type": "application/gzip"}
MIB = 1024 * 1024


def _piece(data: bytes) -> archives_pb2.ExportChuteResponse:
    return archives_pb2.ExportChuteResponse(data=data)


def test_an_archive_comes_as_a_file(gateway: Gateway) -> None:
    async def export(_: Any, __: Any) -> AsyncIterator[Any]:
        for number in range(3):
            yield _piece(bytes([number]) * 1000)

    gateway.doubles.replies[EXPORT] = export
    answer = gateway.request("GET", PATH + "?pause=true&chute=other")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/gzip"
    assert answer.headers["content-disposition"] == 'attachment; filename="web.chute.tar.gz"'
    assert answer.body == bytes(1000) + b"\1" * 1000 + b"\2" * 1000
    request = gateway.doubles.last.request
    assert (request.chute, request.pause) == ("web", True)
    assert gateway.request("GET", PATH, headers=basic(), token=False).status == 200
    assert not gateway.doubles.last.request.pause


def test_why_there_is_none_is_told(gateway: Gateway) -> None:
    gateway.doubles.replies[EXPORT] = NotFound("no such chute", reason="CHUTE_NOT_FOUND")
    answer = gateway.request("GET", PATH)
    assert (answer.status, answer.reason) == (404, "CHUTE_NOT_FOUND")
    answer = gateway.request("GET", PATH + "?pause=perhaps")
    assert (answer.status, answer.reason) == (400, "QUERY_INVALID")
    assert gateway.request("GET", PATH, token=False).status == 401
    answer = gateway.request("POST", PATH)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, OPTIONS")


def test_one_that_is_not_whole_does_not_end_like_a_whole_one(gateway: Gateway) -> None:
    async def export(_: Any, __: Any) -> AsyncIterator[Any]:
        yield _piece(b"half of it")
        raise Aborted("changed", reason="CHUTE_CHANGED")

    gateway.doubles.replies[EXPORT] = export
    with pytest.raises((IncompleteRead, ConnectionError)):
        gateway.request("GET", PATH)


def test_a_slow_reader_holds_up_the_service_and_not_the_memory(gateway: Gateway) -> None:
    sent, ended = 0, asyncio.Event()

    async def export(_: Any, __: Any) -> AsyncIterator[Any]:
        nonlocal sent
        try:
            for _ in range(400):
                yield _piece(os.urandom(256 * 1024))
                sent += 1
        finally:
            ended.set()

    gateway.doubles.replies[EXPORT] = export
    before_mb = memory_mb(os.getpid())
    connection = HTTPConnection(gateway.address, timeout=10)
    connection.request("GET", PATH, headers=gateway.bearer)
    reply = connection.getresponse()
    assert len(reply.read(1000)) == 1000
    gateway.run(asyncio.sleep(1.5))
    assert sent < 100
    assert memory_mb(os.getpid()) - before_mb < 40
    reply.close()
    connection.close()
    gateway.run(asyncio.wait_for(ended.wait(), 5))


def test_100_mb_are_imported_in_small_pieces(gateway: Gateway) -> None:
    piece = b"0123456789abcdef" * 65536
    sponge = gateway.doubles.replies[IMPORT] = Sponge(gateway.envoy.pid)
    sponge.reply = archives_pb2.ImportChuteResponse(change_id=7)
    connection = HTTPConnection(gateway.address, timeout=60)
    size = {"content-length": str(100 * len(piece))}
    path = "/api/v1/chutes/import?name=other&replace=true&force=true&dry_run=false"
    connection.request("POST", path, (piece for _ in range(100)), gateway.bearer | GZIP | size)
    reply = connection.getresponse()
    assert (reply.status, json.load(reply)["change_id"]) == (200, 7)
    connection.close()
    assert sponge.size == 100 * MIB
    assert sponge.largest <= MIB
    first = sponge.first
    assert (first.name, first.replace, first.force, first.dry_run) == ("other", True, True, False)
    assert first.content.content_type == "application/gzip"


@pytest.mark.parametrize("content_type", ["application/json", "application/x-tar", None])
def test_whatever_the_type_the_service_is_asked(gateway: Gateway, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert gateway.request("POST", "/api/v1/chutes/import", b"x" * (3 * MIB), headers).status == 200
    assert gateway.doubles.last.rpc == IMPORT
    assert gateway.doubles.last.request[0].content.content_type == (content_type or "")


def test_a_refusal_is_answered_after_the_whole_archive(gateway: Gateway) -> None:
    gateway.doubles.replies[IMPORT] = AlreadyExists("there", reason="CHUTE_EXISTS")
    answer = gateway.request("POST", "/api/v1/chutes/import", b"x" * (30 * MIB), GZIP)
    assert (answer.status, answer.reason) == (409, "CHUTE_EXISTS")
    answer = gateway.request("POST", "/api/v1/chutes/import", b"x" * (30 * MIB), GZIP, token=False)
    assert answer.status == 401


def test_a_chute_may_be_called_import(gateway: Gateway) -> None:
    for method, rpc in (("GET", "GetChute"), ("DELETE", "DeleteChute")):
        assert gateway.request(method, "/api/v1/chutes/import").status == 200
        assert gateway.doubles.last.rpc == f"paradrop.chutes.v1.ChuteService.{rpc}"
        assert gateway.doubles.last.request.chute == "import"
    gateway.request("PUT", "/api/v1/chutes/import", b"tar", {"content-type": "application/x-tar"})
    assert gateway.doubles.last.rpc == "paradrop.chutes.v1.ChuteUploadService.UploadChuteUpdate"


def test_the_description_of_the_api_tells_what_the_files_are(gateway: Gateway) -> None:
    paths = gateway.request("GET", "/openapi.json").json["paths"]
    export = paths["/api/v1/chutes/{chute}/export"]["get"]
    assert list(export["responses"]["200"]["content"]) == ["application/gzip"]
    assert {parameter["name"] for parameter in export["parameters"]} == {"chute", "pause"}
    taken = paths["/api/v1/chutes/import"]["post"]
    assert list(taken["requestBody"]["content"]) == ["application/gzip", "application/octet-stream"]
    assert {one["name"] for one in taken["parameters"]} >= {"name", "replace", "force", "dry_run"}

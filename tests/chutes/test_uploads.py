"""Uploads, good and bad, over a real socket; whatever is wrong leaves nothing behind."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.chutes.adapters import disk, uploads
from services.chutes.adapters import pieces as pieces_of
from services.chutes.adapters.pieces import Piece
from services.chutes.adapters.uploads import Uploads
from services.common.errors import DomainError
from tests.chutes.client import refusal
from tests.chutes.served import MAX_UPLOAD_BYTES, Served
from tests.support.cases import thorough_but
from tests.support.engine import chute_tar, small_chute


def _with(**changes: Any) -> bytes:
    """Returns the tar of a good chute with one member more."""
    member = tarfile.TarInfo(changes.pop("name", "more"))
    content = changes.pop("content", b"")
    member.size = len(content)
    for name, value in changes.items():
        setattr(member, name, value)
    archive = io.BytesIO(chute_tar(small_chute("web")))
    with tarfile.open(fileobj=archive, mode="a") as tar:
        tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _yaml(text: str) -> bytes:
    return chute_tar(small_chute("web") | {"paradrop.yaml": text})


GOOD = chute_tar(small_chute("web"))

BAD = {
    "nothing": (b"", "INVALID_ARGUMENT", "UPLOAD_EMPTY"),
    "text": (b"this is not a tar file " * 100, "INVALID_ARGUMENT", "TAR_CORRUPT"),
    "cut off": (GOOD[:700], "INVALID_ARGUMENT", "TAR_CORRUPT"),
    "absolute path": (_with(name="/etc/passwd"), "INVALID_ARGUMENT", "TAR_UNSAFE_PATH"),
    "path out": (_with(name="a/../../b"), "INVALID_ARGUMENT", "TAR_UNSAFE_PATH"),
    "link out": (_with(type=tarfile.SYMTYPE, linkname="../x"), "INVALID_ARGUMENT", "TAR_UNSAFE_MEMBER"),
    "hard link out": (_with(type=tarfile.LNKTYPE, linkname="../x"), "INVALID_ARGUMENT", "TAR_UNSAFE_PATH"),
    "device": (_with(type=tarfile.CHRTYPE), "INVALID_ARGUMENT", "TAR_UNSAFE_MEMBER"),
    "no description": (chute_tar({"Dockerfile": "FROM x"}), "INVALID_ARGUMENT", "CHUTE_FILE_MISSING"),
    "no dockerfile": (chute_tar({"paradrop.yaml": "name: web"}), "INVALID_ARGUMENT", "DOCKERFILE_MISSING"),
    "no yaml": (_yaml("a: [b"), "INVALID_ARGUMENT", "CHUTE_FILE_INVALID"),
    "no mapping": (_yaml("- a"), "INVALID_ARGUMENT", "CHUTE_FILE_INVALID"),
    "no name": (_yaml("version: 1"), "INVALID_ARGUMENT", "CHUTE_NAME_MISSING"),
    "bad name": (_yaml("name: ../web"), "INVALID_ARGUMENT", "CHUTE_NAME_INVALID"),
    "too large": (b"\0" * (MAX_UPLOAD_BYTES + 1), "RESOURCE_EXHAUSTED", "UPLOAD_TOO_LARGE"),
}


async def _refused(call: Any) -> tuple[str, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("update", thorough_but([False, True], False), ids=["new", "update"])
async def test_a_bad_upload_is_refused_and_leaves_nothing(kind: str, update: bool, served: Served) -> None:
    content, code, reason = BAD[kind]
    client = served.client()
    pieces = content or [b""]
    call = client.update("web", pieces) if update else client.upload(pieces)
    assert (await _refused(call))[:2] == (code, reason)
    assert served.bench.files() == []
    assert (await client.call("ListChanges", include_ended=True)).changes == []
    first = await client.upload(GOOD)
    assert first == 1
    await client.done(first)


@pytest.mark.parametrize("content_type", ["application/json", "", "application/x-tarball", "text/plain"])
async def test_the_content_type_is_checked(content_type: str, served: Served) -> None:
    refused = await _refused(served.client().upload(GOOD, content_type))
    assert refused == ("INVALID_ARGUMENT", "CONTENT_TYPE_WRONG", "content.content_type")


@pytest.mark.parametrize("content_type", ["application/x-tar; charset=binary", "Application/X-Tar"])
async def test_parameters_of_the_content_type_do_no_harm(content_type: str, served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD, content_type))


async def test_a_stream_without_a_piece_is_refused(served: Served) -> None:
    assert (await _refused(served.client().upload([])))[1] == "UPLOAD_EMPTY"


async def test_the_names_in_path_and_description_must_be_the_same(served: Served) -> None:
    refused = await _refused(served.client().update("other", GOOD))
    assert refused == ("INVALID_ARGUMENT", "CHUTE_NAME_MISMATCH", "chute")
    assert served.bench.files() == []


async def test_an_update_of_nothing_installs(served: Served) -> None:
    client = served.client()
    change_id = await client.update("web", GOOD)
    await client.done(change_id)
    assert (await client.call("GetChange", change_id=change_id)).change.update_type == "update"
    assert await client.chutes() == {"web": "running"}


async def test_a_chute_that_shares_a_container_name_is_refused(served: Served) -> None:
    client = served.client()
    services = "services: {b-c: {}}"
    await client.done(await client.upload(_yaml(f"name: a\n{services}\n")))
    clash = _yaml("name: a-b\nservices: {c: {}}\n")
    assert await _refused(client.upload(clash)) == ("ALREADY_EXISTS", "CONTAINER_NAME_TAKEN", "")
    served.bench.engine.build_pause.clear()
    waiting = await client.upload(_yaml("name: x-y\nservices: {z: {}}\n"))
    clash = _yaml("name: x\nservices: {y-z: {}}\n")
    assert (await _refused(client.upload(clash)))[1] == "CONTAINER_NAME_TAKEN"
    served.bench.engine.build_pause.set()
    await client.done(waiting)


async def test_a_refused_upload_is_read_to_its_end(served: Served) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(20):
            sent += 1
            yield b"x" * 10_000

    assert (await _refused(served.client().upload(pieces(), "text/plain")))[1] == "CONTENT_TYPE_WRONG"
    assert sent == 20


async def test_an_endless_upload_is_cut_off(served: Served) -> None:
    sent = 0

    async def pieces() -> AsyncIterator[Piece]:
        nonlocal sent
        while True:
            sent += 1
            yield Piece(bytes(64 * 1024), "application/x-tar")

    with pytest.raises(DomainError) as error:
        await served.uploads.take(pieces(), _never)
    assert error.value.reason == "UPLOAD_TOO_LARGE"
    assert sent * 64 * 1024 < 3 * MAX_UPLOAD_BYTES
    assert served.bench.files() == []


async def test_a_caller_that_goes_away_leaves_nothing(served: Served) -> None:
    begun = asyncio.Event()

    async def pieces() -> AsyncIterator[Piece]:
        yield Piece(GOOD, "application/x-tar")
        begun.set()
        await asyncio.Event().wait()

    async def install(_spec: Any, _workspace: Any, _first: Piece) -> int:
        raise AssertionError("half an upload was installed")

    task = asyncio.create_task(served.uploads.take(pieces(), install))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert served.bench.files() == []


async def test_a_caller_that_goes_away_at_the_end_does_not_stop_the_change(served: Served) -> None:
    accepting, accepted = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[Piece]:
        yield Piece(GOOD, "application/x-tar")

    async def install(_spec: Any, workspace: Any, _first: Piece) -> int:
        accepting.set()
        await accepted.wait()
        assert await asyncio.to_thread((served.node.folders.workspace(workspace) / "Dockerfile").exists)
        accepted.clear()
        return 7

    task = asyncio.create_task(served.uploads.take(pieces(), install))
    await accepting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    accepted.set()
    async with asyncio.timeout(5):
        while accepted.is_set():
            await asyncio.sleep(0.01)
    assert any(path.endswith("paradrop.yaml") for path in served.bench.files())


async def test_an_upload_that_stalls_ends(served: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr(pieces_of, "MAX_SILENCE_S", 0.05)

    async def pieces() -> AsyncIterator[Piece]:
        yield Piece(GOOD, "application/x-tar")
        await asyncio.Event().wait()

    with pytest.raises(DomainError) as error:
        await served.uploads.take(pieces(), _never)
    assert error.value.reason == "UPLOAD_STALLED"
    assert served.bench.files() == []


async def test_too_many_uploads_at_once_are_refused(served: Served) -> None:
    going_on = asyncio.Event()

    async def slow() -> AsyncIterator[Piece]:
        yield Piece(GOOD, "application/x-tar")
        await going_on.wait()
        raise DomainError("enough")

    tasks = [asyncio.create_task(served.uploads.take(slow(), _never)) for _ in range(uploads.MAX_PARALLEL)]
    await asyncio.sleep(0)
    assert (await _refused(served.client().upload(GOOD)))[1] == "TOO_MANY_UPLOADS"
    going_on.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    client = served.client()
    await client.done(await client.upload(GOOD))


async def test_a_full_disk_is_told(served: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr(disk, "MIN_FREE_BYTES", 2**60)
    assert (await _refused(served.client().upload(GOOD)))[:2] == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    assert served.bench.files() == []


async def test_a_large_upload_takes_little_memory(served: Served, tmp_path: Path) -> None:
    """The pieces are written as they come: what waits to be written is at most a piece beyond a mebibyte."""
    size = 64 * 1024 * 1024
    store = Uploads(served.node.folders, 2 * size)
    head = io.BytesIO()
    with tarfile.open(fileobj=head, mode="w") as tar:
        for name, text in small_chute("web").items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        large = tarfile.TarInfo("large")
        large.size = size
        head.write(b"")
        start = large.tobuf()
        offset = tar.offset
    content = head.getvalue()[:offset] + start

    async def pieces() -> AsyncIterator[Piece]:
        yield Piece(content, "application/x-tar")
        for _ in range(size // 262_144):
            yield Piece(bytes(262_144), "application/x-tar")
        yield Piece(bytes(1024), "application/x-tar")

    async def install(_spec: Any, workspace: Any, _first: Piece) -> int:
        path = served.node.folders.workspace(workspace) / "large"
        assert (await asyncio.to_thread(path.stat)).st_size == size
        return 7

    before = await asyncio.to_thread(_peak_bytes)
    assert await store.take(pieces(), install) == 7
    assert await asyncio.to_thread(_peak_bytes) - before < 16 * 1024 * 1024


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell the peak")


async def _never(_spec: Any, _workspace: Any, _first: Piece) -> int:
    raise AssertionError("a bad upload was installed")

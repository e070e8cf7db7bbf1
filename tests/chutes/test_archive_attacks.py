"""Archives that are damaged, hostile or of another time: each is refused, and nothing of it stays."""

import asyncio
import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.chutes.adapters import datatree, disk
from services.chutes.adapters import pieces as pieces_of
from services.chutes.adapters.folders import DiskFolders
from services.chutes.adapters.imports import CONTENT_TYPES, MAX_PARALLEL, Imports
from services.chutes.adapters.pieces import Piece
from services.chutes.adapters.tarstream import TarStream
from services.chutes.adapters.unpacker import Target, unpack
from services.chutes.domain.archives import description, read_description
from services.chutes.domain.chute import Actor, Chute
from services.chutes.domain.chutefile import read_definition
from services.common.errors import DomainError
from tests.chutes.archives import DESCRIPTION, GZIP, MANIFEST, entry, make_archive, make_tar
from tests.chutes.client import refusal
from tests.chutes.served import MAX_UPLOAD_BYTES, Served
from tests.support.cases import thorough_but
from tests.support.small_disk import MEBIBYTE, small_disk

INVALID, EXHAUSTED = "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"
GOOD = make_archive(entry("data/kept", b"precious"), entry("data", type=tarfile.DIRTYPE))
SYM, LNK = {"type": tarfile.SYMTYPE}, {"type": tarfile.LNKTYPE}


def _data(*names: str, **fields: Any) -> bytes:
    return make_archive(*(entry(name, b"", **fields) for name in names))


def _described(text: bytes) -> bytes:
    return make_archive(description=text)


BAD = {
    "nothing": (b"", INVALID, "UPLOAD_EMPTY"),
    "text": (b"no archive at all " * 50, INVALID, "TAR_CORRUPT"),
    "a plain tar": (gzip.decompress(GOOD), INVALID, "TAR_CORRUPT"),
    "compressed text": (gzip.compress(b"no tar at all " * 100), INVALID, "TAR_CORRUPT"),
    "cut off": (GOOD[: len(GOOD) // 2], INVALID, "TAR_CORRUPT"),
    "cut off at the very end": (GOOD[:-4], INVALID, "TAR_CORRUPT"),
    "more at the end": (GOOD + b"more", INVALID, "TAR_CORRUPT"),
    "two in one": (GOOD + GOOD, INVALID, "TAR_CORRUPT"),
    "more in the tar": (gzip.compress(gzip.decompress(GOOD) + b"x" * 1024), INVALID, "TAR_CORRUPT"),
    "a damaged byte": (GOOD[:200] + bytes([GOOD[200] ^ 1]) + GOOD[201:], INVALID, "TAR_CORRUPT"),
    "without a manifest": (
        gzip.compress(make_tar(entry("paradrop.yaml", DESCRIPTION))),
        INVALID,
        "ARCHIVE_INVALID",
    ),
    "an empty tar": (gzip.compress(bytes(10240)), INVALID, "ARCHIVE_INVALID"),
    "a manifest that is no JSON": (make_archive(manifest=b"{"), INVALID, "ARCHIVE_INVALID"),
    "a manifest that is a list": (make_archive(manifest=[]), INVALID, "ARCHIVE_INVALID"),
    "a manifest without format": (make_archive(manifest={"name": "web"}), INVALID, "ARCHIVE_INVALID"),
    "a format that is none": (make_archive(manifest=MANIFEST | {"format": True}), INVALID, "ARCHIVE_INVALID"),
    "a size that is none": (make_archive(manifest=MANIFEST | {"data_bytes": -1}), INVALID, "ARCHIVE_INVALID"),
    "a large manifest": (make_archive(manifest=bytes(100_000)), INVALID, "ARCHIVE_INVALID"),
    "a format of the future": (
        make_archive(manifest={"format": 2}),
        "FAILED_PRECONDITION",
        "ARCHIVE_TOO_NEW",
    ),
    "more data than room": (make_archive(manifest=MANIFEST | {"data_bytes": 2**60}), EXHAUSTED, "DISK_FULL"),
    "no description": (_described(b"a: [b"), INVALID, "CHUTE_FILE_INVALID"),
    "a description with unknown keys": (
        _described(b"name: web\nservises: {}"),
        INVALID,
        "CHUTE_FILE_INVALID",
    ),
    "a bad name": (_described(b"name: ../web"), INVALID, "CHUTE_NAME_INVALID"),
    "a download": (
        _described(b"name: web\ndownload: {url: 'https://x/y'}"),
        INVALID,
        "CHUTE_FILE_INVALID",
    ),
    "without the end": (make_archive(ends=False), INVALID, "ARCHIVE_INVALID"),
    "another checksum": (make_archive(checksum="0" * 64), INVALID, "ARCHIVE_CHECKSUM_WRONG"),
    "no dockerfile": (make_archive(sources=entry("sources/x")), INVALID, "DOCKERFILE_MISSING"),
    "no sources": (make_archive(sources=entry("data/x")), INVALID, "ARCHIVE_INVALID"),
    "a part that is unknown": (_data("other/x"), INVALID, "TAR_UNSAFE_PATH"),
    "a part that is like another": (_data("database"), INVALID, "TAR_UNSAFE_PATH"),
    "an absolute path": (_data("/data/x"), INVALID, "TAR_UNSAFE_PATH"),
    "an absolute path within": (_data("data//etc/passwd"), INVALID, "TAR_UNSAFE_PATH"),
    "a path out": (_data("data/../../x"), INVALID, "TAR_UNSAFE_PATH"),
    "a path out of sources": (_data("sources/../x"), INVALID, "TAR_UNSAFE_PATH"),
    "a path without end": (_data("data/" + "x/" * 70 + "x"), INVALID, "TAR_UNSAFE_PATH"),
    "a link out": (_data("data/x", linkname="../../etc/passwd", **SYM), INVALID, "TAR_UNSAFE_MEMBER"),
    "a link to nothing": (_data("data/x", linkname="", **SYM), INVALID, "TAR_UNSAFE_MEMBER"),
    "an absolute link in sources": (_data("sources/x", linkname="/etc", **SYM), INVALID, "TAR_UNSAFE_MEMBER"),
    "below a link": (
        make_archive(entry("data/x", linkname="/etc", **SYM), entry("data/x/passwd", b"root")),
        INVALID,
        "TAR_UNSAFE_MEMBER",
    ),
    "through a link": (
        make_archive(entry("data/x", linkname="/etc/passwd", **SYM), entry("data/x", b"root")),
        INVALID,
        "TAR_UNSAFE_MEMBER",
    ),
    "a folder upon a link": (
        make_archive(entry("data/x", linkname="/etc", **SYM), entry("data/x", type=tarfile.DIRTYPE)),
        INVALID,
        "TAR_UNSAFE_MEMBER",
    ),
    "below a file": (_data("data/x", "data/x/y"), INVALID, "TAR_UNSAFE_MEMBER"),
    "a name twice": (_data("data/x", "data/x"), INVALID, "TAR_UNSAFE_MEMBER"),
    "a hard link out": (_data("data/x", linkname="/etc/passwd", **LNK), INVALID, "TAR_UNSAFE_PATH"),
    "a hard link to another part": (
        _data("data/x", linkname="sources/Dockerfile", **LNK),
        INVALID,
        "TAR_UNSAFE_PATH",
    ),
    "a hard link to nothing": (_data("data/x", linkname="data/y", **LNK), INVALID, "TAR_UNSAFE_MEMBER"),
    "a hard link through a link": (
        make_archive(
            entry("data/x", linkname="/etc", **SYM), entry("data/y", linkname="data/x/passwd", **LNK)
        ),
        INVALID,
        "TAR_UNSAFE_MEMBER",
    ),
    "a hard link to a link": (
        make_archive(
            entry("data/x", linkname="/etc/passwd", **SYM), entry("data/y", linkname="data/x", **LNK)
        ),
        INVALID,
        "TAR_UNSAFE_MEMBER",
    ),
    "a device": (_data("data/x", type=tarfile.CHRTYPE), INVALID, "TAR_UNSAFE_MEMBER"),
    "a pipe": (_data("data/x", type=tarfile.FIFOTYPE), INVALID, "TAR_UNSAFE_MEMBER"),
    "a device in sources": (_data("sources/x", type=tarfile.BLKTYPE), INVALID, "TAR_UNSAFE_MEMBER"),
    "the folder as a file": (_data("data"), INVALID, "TAR_UNSAFE_MEMBER"),
    "an owner that cannot be": (_data("data/x", uid=2**40), INVALID, "TAR_UNSAFE_MEMBER"),
    "too large sources": (
        make_archive(entry("sources/x", bytes(MAX_UPLOAD_BYTES + 1))),
        EXHAUSTED,
        "UPLOAD_TOO_LARGE",
    ),
}
IN_EVERY_RUN = (
    "nothing",
    "a plain tar",
    "cut off",
    "without a manifest",
    "a format of the future",
    "more data than room",
    "another checksum",
    "a path out",
    "a link out",
    "below a link",
    "a hard link out",
    "a name twice",
)


async def _refused(call: Any) -> tuple[str, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


@pytest.mark.parametrize("kind", thorough_but(BAD, *IN_EVERY_RUN))
async def test_a_bad_archive_is_refused_and_leaves_nothing(kind: str, served: Served) -> None:
    content, code, reason = BAD[kind]
    client = served.client()
    found = await _refused(client.import_(content or [b""]))
    assert found[:2] == (code, reason)
    if code == INVALID and reason != "UPLOAD_EMPTY":
        assert found[2]
    assert served.bench.files() == []
    assert (await client.call("ListChanges", include_ended=True)).changes == []
    await client.done((await client.import_(GOOD)).change_id)


async def test_too_many_members_are_refused(served: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr(datatree.DataTree.__init__, "__defaults__", (datatree.Limits(members=20),))
    found = await _refused(served.client().import_(_data(*(f"data/{n}" for n in range(21)))))
    assert found[:2] == (INVALID, "TAR_TOO_MANY_MEMBERS")
    found = await _refused(served.client().import_(_data("data/" + "/".join("abcdefghijklmnopqrstuvw"))))
    assert found[:2] == (INVALID, "TAR_TOO_MANY_MEMBERS")
    assert served.bench.files() == []


@pytest.mark.parametrize("content_type", ["application/x-tar", "", "application/json"])
async def test_the_content_type_is_checked(content_type: str, served: Served) -> None:
    found = await _refused(served.client().import_(GOOD, content_type))
    assert found == (INVALID, "CONTENT_TYPE_WRONG", "content.content_type")


@pytest.mark.parametrize("content_type", [*CONTENT_TYPES, "Application/GZip; a=b"])
async def test_these_content_types_are_fine(content_type: str, served: Served) -> None:
    client = served.client()
    await client.done((await client.import_(GOOD, content_type)).change_id)


async def test_set_id_bits_and_odd_times_do_no_harm(served: Served) -> None:
    client = served.client()
    archive = make_archive(
        entry("data/x", b"x", mode=0o6755, mtime=-1),
        entry("data/y", b"y", mtime=2**60),
        entry("data/d", type=tarfile.DIRTYPE, mode=0o7777),
    )
    await client.done((await client.import_(archive)).change_id)
    data = served.node.folders.data("web")
    assert oct((data / "x").stat().st_mode) == "0o100755"
    assert oct((data / "d").stat().st_mode) == "0o41777"


async def _stream(content: bytes, then: Any) -> AsyncIterator[Piece]:
    yield Piece(content, GZIP)
    await then()


async def _never(*_: Any) -> int:
    raise AssertionError("half an archive was imported")


async def test_a_caller_that_goes_away_leaves_nothing(served: Served) -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(served.imports.take(_stream(GOOD[:-20], wait), lambda *_: None, _never))
    await begun.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert served.bench.files() == []


async def test_an_archive_that_stalls_ends(served: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr(pieces_of, "MAX_SILENCE_S", 0.05)
    with pytest.raises(DomainError) as error:
        await served.imports.take(_stream(GOOD[:-20], asyncio.Event().wait), lambda *_: None, _never)
    assert error.value.reason == "UPLOAD_STALLED"
    assert served.bench.files() == []


async def test_too_many_at_once_are_refused(served: Served) -> None:
    going_on = asyncio.Event()
    tasks = [
        asyncio.create_task(served.imports.take(_stream(GOOD[:-20], going_on.wait), lambda *_: None, _never))
        for _ in range(MAX_PARALLEL)
    ]
    await asyncio.sleep(0.05)
    assert (await _refused(served.client().import_(GOOD)))[1] == "TOO_MANY_UPLOADS"
    going_on.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served.bench.files() == []


@pytest.mark.thorough
async def test_a_disk_that_fills_up_meanwhile_is_told(served: Served, monkeypatch: Any) -> None:
    size = 8 * 1024 * 1024
    archive = make_archive(entry("data/large", os.urandom(size)))
    free = iter([2**40] * 12)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: _Usage(next(free, 0)))
    assert (await _refused(served.client().import_(archive)))[:2] == (EXHAUSTED, "DISK_FULL")
    monkeypatch.undo()
    assert served.bench.files() == []


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[DiskFolders]:
    """The folders of a node whose disk has little room."""
    with small_disk(tmp_path, 16 * MEBIBYTE) as folder:
        yield DiskFolders(folder)


@pytest.mark.thorough
async def test_data_that_does_not_fit_on_the_disk_leaves_nothing(
    narrow: DiskFolders, monkeypatch: Any
) -> None:
    monkeypatch.setattr(disk, "MIN_FREE_BYTES", MEBIBYTE)

    async def send(content: bytes) -> AsyncIterator[Piece]:
        for start in range(0, len(content), MEBIBYTE):
            yield Piece(content[start : start + MEBIBYTE], GZIP)

    async def install(_: Any, __: Any, data: str, ___: Any) -> str:
        return data

    with closing(Imports(narrow, MAX_UPLOAD_BYTES)) as imports:
        content = make_archive(entry("data/large", os.urandom(30 * MEBIBYTE)))
        with pytest.raises(DomainError) as error:
            await imports.take(send(content), lambda *_: None, install)
        assert error.value.reason == "DISK_FULL"
        assert [path for path in narrow.uploads.parent.rglob("*") if path.is_file()] == []
        content = make_archive(entry("data/small", os.urandom(5 * MEBIBYTE)))
        data = await imports.take(send(content), lambda *_: None, install)
        assert (narrow.workspace(data) / "small").stat().st_size == 5 * MEBIBYTE


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


@pytest.mark.thorough
async def test_zeros_without_end_fill_no_disk_and_no_memory(served: Served, tmp_path: Path) -> None:
    size = 512 * 1024 * 1024
    head = io.BytesIO()
    packed = gzip.GzipFile(fileobj=head, mode="wb", compresslevel=1)
    plain = gzip.decompress(make_archive(ends=False))[:-1024].rstrip(b"\0")
    plain += bytes(-len(plain) % 512)
    zeros = tarfile.TarInfo("data/zeros")
    zeros.size = size
    packed.write(plain + zeros.tobuf())
    for _ in range(size // 1_048_576):
        packed.write(bytes(1_048_576))
    packed.close()
    content = io.BytesIO(head.getvalue())
    target = Target(tmp_path / "sources", tmp_path / "data", MAX_UPLOAD_BYTES)

    def work() -> int:
        tracemalloc.start()
        try:
            with pytest.raises(DomainError) as error:
                unpack(lambda: content.read(65_536), target, lambda _: None)
            assert error.value.reason == "TAR_CORRUPT"
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert await asyncio.to_thread(work) < 8_000_000
    assert (tmp_path / "data" / "zeros").stat().st_blocks * 512 < 1_000_000


@pytest.mark.thorough
@settings(max_examples=200, deadline=None)
@given(
    chunks=st.lists(st.integers(0, 400_000), max_size=8),
    moves=st.lists(st.tuples(st.integers(-60_000, 900_000), st.integers(0, 100_000)), max_size=20),
)
def test_a_stream_reads_like_a_file_as_long_as_it_goes_not_far_back(
    chunks: list[int], moves: list[tuple[int, int]]
) -> None:
    content = os.urandom(sum(chunks))
    ends = list(accumulate(chunks))
    stream = TarStream(content[end - size : end] for size, end in zip(chunks, ends, strict=True))
    file, furthest = io.BytesIO(content), 0
    for move, size in moves:
        position = min(max(stream.tell() + move, furthest - 60_000, 0), len(content))
        assert stream.seek(position) == file.seek(position)
        assert stream.read(size) == file.read(size)
        assert stream.tell() == file.tell()
        furthest = max(furthest, file.tell())
        before = max(furthest - 60_000, 0)
        assert stream.digest_before(before) == sha256(content[:before]).hexdigest()


@pytest.mark.thorough
async def test_many_small_files_that_pack_well(served: Served) -> None:
    """What is unpacked comes in pieces that are far larger than a member."""
    lines = [b"2026-11-25 line %d\n" % number * 50 for number in range(5000)]
    archive = make_archive(*(entry(f"data/log-{number}", line) for number, line in enumerate(lines)))
    client = served.client()
    await client.done((await client.import_(archive)).change_id)
    data = served.node.folders.data("web")
    assert [(data / f"log-{number}").read_bytes() for number in range(5000)] == lines


@pytest.mark.thorough
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2000), cut=st.integers(0, 200), bits=st.integers(1, 255))
def test_a_damaged_archive_is_refused(tmp_path_factory: Any, place: int, cut: int, bits: int) -> None:
    """Whatever byte is another, also within the compression, no archive is taken for whole."""
    plain = bytearray(gzip.decompress(GOOD))
    place %= plain.rstrip(b"\0").__len__()
    plain[place] ^= bits
    content = io.BytesIO(gzip.compress(bytes(plain), 1)[: -cut or None])
    folder = tmp_path_factory.mktemp("box")
    with pytest.raises(DomainError):
        unpack(lambda: content.read(100), Target(folder / "s", folder / "d", 10_000), lambda _: None)


@pytest.mark.thorough
@settings(max_examples=100, deadline=None)
@given(
    value=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    version=st.one_of(
        st.none(), st.integers(0, 10**6), st.sampled_from(["1.0", "1.5e3", "no", "0x1f", "1:30"])
    ),
    command=st.lists(st.text("ab'\"\\ \n\t$~-:#é", min_size=1), min_size=1, max_size=3),
)
@example(value="1.5e3", version=1.5, command=["true"])
def test_a_description_is_read_as_it_was_meant(value: str, version: Any, command: list[str]) -> None:
    for document in (
        {
            "name": "web",
            "environment": {"KEY": value},
            "services": {
                "a": {"command": command, "environment": {"yes": value}, "dns": ["10.0.0.1"]},
                "b": {
                    "type": "image",
                    "image": "redis",
                    "restart": "no",
                    "depends-on": ["a"],
                    "requests": {"memory-limit": "64m", "port-bindings": {"80/tcp": 8080}},
                    "interfaces": {
                        "wlan0": {"type": "wifi-ap", "wireless": {"ssid": "x", "key": "12345678"}}
                    },
                },
            },
            "web": {"service": "a", "port": 80, "access": "users"},
        },
        {
            "name": "web",
            "type": "light",
            "use": "python3",
            "command": command,
            "config": {"web": {"port": 5}},
        },
        {
            "name": "web",
            "net": {"wifi": {"type": "wifi", "intfName": "wlan0", "ssid": "x", "key": "12345678"}},
            "config": {"environment": {"K": value}},
        },
    ):
        whole = {**document, **({} if version is None else {"version": version})}
        spec = read_definition(whole).spec
        chute = Chute(spec, Actor("a", "localhost", "admin"), "1", {}, 0.0, environment=spec.environment)
        again = read_description(description(chute), "").spec
        # Networks beside "config" have no place in what is kept of the old form.
        assert again == (replace(spec, config={}) if "net" in document else spec)

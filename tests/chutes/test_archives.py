"""A chute leaves one node as one archive and is the same on another, with its data."""

import asyncio
import gzip
import io
import os
import socket
import stat
import tarfile
import tracemalloc
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.chutes.adapters import disk
from services.chutes.domain import exporter
from tests.chutes.bench import ADMIN, Bench, spec
from tests.chutes.client import refusal
from tests.chutes.served import Served
from tests.support.engine import chute_tar, small_chute

FILES = small_chute("web") | {
    "src/app.py": "print()",
    "paradrop.yaml": "name: web\nversion: 3\nservices: {main: {}}\n",
}
GOOD = chute_tar(FILES)


def _fill(data: Path) -> None:
    """Puts into a folder whatever a chute may keep."""
    (data / "sub" / "empty").mkdir(parents=True)
    (data / "sub" / "shared").write_bytes(b"x" * 100_000)
    (data / "sub" / "shared").chmod(0o640)
    (data / "sub" / "twin").hardlink_to(data / "sub" / "shared")
    os.utime(data / "sub" / "shared", ns=(1_500_000_000_123_456_700,) * 2)
    (data / "sub" / "up").symlink_to("../sub/shared")
    (data / "python").symlink_to("/usr/bin/python3")
    (data / "tool").write_bytes(b"#!")
    (data / "tool").chmod(0o4755)
    (data / os.fsdecode(b"caf\xe9")).write_bytes(b"latin")
    with (data / "holes").open("wb") as file:
        file.truncate(3_000_000)
        file.seek(2_000_000)
        file.write(b"in the middle")
    (data / "update.lock").write_text("do not touch")
    (data / "out").symlink_to("../../../etc/passwd")
    os.mkfifo(data / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        # Its path is too long for bind from elsewhere.
        before = os.getcwd()
        os.chdir(data)
        try:
            listener.bind("socket")
        finally:
            os.chdir(before)
    if os.geteuid() == 0:
        for path in (data / "sub" / "shared", data / "sub"):
            os.chown(path, 999, 998)
        os.chown(data / "python", 999, 999, follow_symlinks=False)
    (data / "sub" / "empty").chmod(0o500)
    os.utime(data / "sub", ns=(1_400_000_000_000_000_000,) * 2)


def _seen(data: Path) -> dict[str, Any]:
    """Everything that can be told of what is in a folder."""
    seen: dict[str, Any] = {}
    for path in sorted(data.rglob("*")):
        status = path.lstat()
        content: Any = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        seen[str(path.relative_to(data))] = (
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            content,
        )
    return seen


NOT_TAKEN = {"pipe", "socket", "out", "update.lock"}


async def test_a_chute_is_the_same_after_its_archive(served: Served) -> None:
    client, data = served.client(), served.node.folders.data("web")
    await client.done(await client.upload(GOOD))
    await asyncio.to_thread(_fill, data)
    before = await asyncio.to_thread(_seen, data)
    config = (await client.call("GetChuteConfig", chute="web")).config
    archive = await client.export("web")

    await client.done(await client.call_id("DeleteChute", chute="web", force=True))
    assert served.bench.files() == []
    lines = await client.done((await client.import_(archive)).change_id)

    assert any(line == "Calling put_data" for line in lines)
    assert await client.chutes() == {"web": "running"}
    assert (await client.call("GetChuteConfig", chute="web")).config == config
    after = await asyncio.to_thread(_seen, data)
    mode, *rest = before["tool"]
    expected = {name: what for name, what in before.items() if name not in NOT_TAKEN}
    # Set-id bits are the image's business.
    expected["tool"] = (oct(int(mode, 8) & ~0o6000), *rest)
    assert after == expected
    assert (data / "sub" / "twin").samefile(data / "sub" / "shared")
    assert (data / "holes").stat().st_blocks * 512 < 1_000_000
    sources = served.node.folders.workspace(served.bench.sources()["web"])
    assert sorted(str(path.relative_to(sources)) for path in sources.rglob("*")) == sorted([*FILES, "src"])


async def test_an_archive_tells_what_it_is_and_can_be_unpacked_by_hand(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    (served.node.folders.data("web") / "kept").write_text("precious")
    archive = await client.export("web")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        names = tar.getnames()
    assert names[:2] == ["paradrop-chute.json", "paradrop.yaml"]
    assert names[-1] == "checksum.json"
    assert {"sources/src/app.py", "data/kept", "data"} <= set(names)
    token = (await served.node.world.journal.load())[0][0].token
    assert token
    assert token.encode() not in gzip.decompress(archive)


async def test_under_another_name_it_is_another_chute(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    (served.node.folders.data("web") / "kept").write_text("precious")
    archive = await client.export("web")
    (served.node.folders.data("web") / "kept").write_text("altered")
    await client.done((await client.import_(archive, name="web-two")).change_id)
    assert await client.chutes() == {"web": "running", "web-two": "running"}
    assert (served.node.folders.data("web-two") / "kept").read_text() == "precious"
    assert (served.node.folders.data("web") / "kept").read_text() == "altered"
    assert (await client.call("GetChuteConfig", chute="web-two")).config["name"] == "web-two"


async def test_in_the_place_of_another_its_data_goes_only_at_the_end(served: Served) -> None:
    client, data = served.client(), served.node.folders.data("web")
    await client.done(await client.upload(GOOD))
    (data / "kept").write_text("old")
    archive = await client.export("web")
    (data / "kept").write_text("newer")
    change = await client.import_(archive, replace=True)
    await client.done(change.change_id)
    assert (data / "kept").read_text() == "old"
    assert [path.name for path in (served.bench.home / "data").iterdir()] == ["web"]

    (data / "kept").write_text("newest")
    served.bench.engine.exits_at_once.add("web")
    _, failure = await client.failed((await client.import_(archive, replace=True)).change_id)
    assert failure.reason == "SERVICE_EXITED"
    assert (data / "kept").read_text() == "newest"
    assert [path.name for path in (served.bench.home / "data").iterdir()] == ["web"]


async def test_an_import_that_fails_leaves_nothing(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    archive = await client.export("web")
    await client.done(await client.call_id("DeleteChute", chute="web"))
    served.bench.engine.exits_at_once.add("web")
    _, failure = await client.failed((await client.import_(archive)).change_id)
    assert failure.reason == "SERVICE_EXITED"
    assert served.bench.files() == []


async def test_data_that_was_kept_waits_for_an_install_without_any(served: Served) -> None:
    client, data = served.client(), served.node.folders.data("web")
    await client.done(await client.upload(GOOD))
    (data / "kept").write_text("of the archive")
    archive = await client.export("web")
    (data / "kept").write_text("kept")
    await client.done(await client.call_id("DeleteChute", chute="web", keep_data=True))
    await client.done((await client.import_(archive)).change_id)
    assert (data / "kept").read_text() == "of the archive"
    await client.done(await client.call_id("DeleteChute", chute="web"))
    await client.done(await client.upload(GOOD))
    assert (data / "kept").read_text() == "kept"


async def test_a_name_that_is_taken_is_refused_before_the_data_comes(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    archive = await client.export("web")
    before = served.bench.files()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.import_(archive)
    assert refusal(error.value) == ("ALREADY_EXISTS", "CHUTE_EXISTS", "name")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.import_(archive, name="No Name")
    assert refusal(error.value) == ("INVALID_ARGUMENT", "CHUTE_NAME_INVALID", "name")
    assert served.bench.files() == before


async def test_a_dry_run_tells_the_plan_and_leaves_nothing(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    archive = await client.export("web")
    before = served.bench.files()
    answer = await client.import_(archive, replace=True, dry_run=True)
    assert answer.change_id == 0
    steps = [step.name for step in answer.plan.steps]
    assert (
        steps.index("remove_container main") < steps.index("put_data") < steps.index("create_container main")
    )
    assert steps[-1] == "remove_earlier_data"
    assert served.bench.files() == before


async def test_the_same_request_imports_once(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    archive = await client.export("web")
    await client.done(await client.call_id("DeleteChute", chute="web"))
    with client.idempotency_key("k1"):
        first = (await client.import_(archive)).change_id
        await client.done(first)
        before = served.bench.files()
        assert (await client.import_(archive)).change_id == first
    assert served.bench.files() == before


async def test_a_locked_chute_is_not_replaced_unless_by_force(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    archive = await client.export("web")
    await client.call("LockChute", chute="web", reason="busy")
    await client.done((await client.import_(archive, replace=True, force=True)).change_id)
    # The lock was one of the data that is gone.
    await client.done(await client.call_id("StopChute", chute="web"))


@pytest.mark.parametrize(("name", "reason"), [("user", "ROLE_TOO_LOW"), ("other", "CHUTE_NOT_YOURS")])
async def test_only_its_owner_and_administrators_may_have_it(name: str, reason: str, served: Served) -> None:
    owner = served.client("trusted")
    await owner.done(await owner.upload(GOOD))
    archive = await owner.export("web")
    assert await served.client("admin").export("web")
    client = served.client(name)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.export("web")
    assert refusal(error.value)[:2] == ("PERMISSION_DENIED", reason)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.import_(archive, replace=True)
    assert refusal(error.value)[:2] == ("PERMISSION_DENIED", reason)


async def test_the_owner_of_an_imported_chute_is_who_imports_it(served: Served) -> None:
    admin, other = served.client(), served.client("other")
    await admin.done(await admin.upload(GOOD))
    archive = await admin.export("web")
    await other.done((await other.import_(archive, name="mine")).change_id)
    chutes = {chute.name: chute.owner.name for chute in (await admin.call("ListChutes")).chutes}
    assert chutes == {"web": "admin", "mine": "other"}
    # In the place of another it stays with its owner.
    await admin.done((await admin.import_(archive, name="mine", replace=True)).change_id)
    assert (await admin.call("GetChute", chute="mine")).chute.owner.name == "other"


async def test_a_chute_of_images_has_no_sources(served: Served) -> None:
    client = served.client()
    services = {"main": {"type": "image", "image": "redis:7"}}
    await client.done(await client.call_id("InstallChute", config={"name": "web", "services": services}))
    archive = await client.export("web")
    await client.done(await client.call_id("DeleteChute", chute="web"))
    await client.done((await client.import_(archive)).change_id)
    assert served.bench.sources() == {}
    assert [reference for reference, _ in served.bench.engine.pulled] == ["redis:7"] * 2


async def test_without_the_files_there_is_no_archive(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    registry = served.node.domain.registry
    registry.update({"web": _without_sources(registry.find("web"))})
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.export("web")
    assert refusal(error.value)[:2] == ("FAILED_PRECONDITION", "CHUTE_FILES_NOT_KEPT")


def _without_sources(chute: Any) -> Any:
    return replace(chute, sources="")


async def test_a_chute_that_is_not_there(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await served.client().export("web")
    assert refusal(error.value)[:2] == ("NOT_FOUND", "CHUTE_NOT_FOUND")


class TestPause:
    async def test_containers_stand_still_while_the_data_is_read(self, served: Served) -> None:
        client, engine = served.client(), served.bench.engine
        await client.done(await client.upload(GOOD))
        (served.node.folders.data("web") / "large").write_bytes(os.urandom(8_000_000))
        seen = set()
        async for _ in client.exporting("web", pause=True):
            status = engine.running["web-main"].status
            seen.add((status, (await client.call("GetChute", chute="web")).chute.deviation.reason))
        assert ("paused", "BEING_EXPORTED") in seen
        assert engine.running["web-main"].status == "running"
        # The supervisor has not taken it for fallen.
        assert len((await client.call("ListChanges", include_ended=True)).changes) == 1

    async def test_a_reader_who_goes_away_lets_them_go_on(self, served: Served) -> None:
        client, engine = served.client(), served.bench.engine
        await client.done(await client.upload(GOOD))
        (served.node.folders.data("web") / "large").write_bytes(os.urandom(8_000_000))
        call = client.exporting("web", pause=True)
        async for _ in call:
            if engine.running["web-main"].status == "paused":
                break
        call.cancel()
        async with asyncio.timeout(5):
            while engine.running["web-main"].status != "running":
                await asyncio.sleep(0.01)

    @pytest.mark.thorough
    async def test_a_reader_who_takes_nothing_lets_them_go_on(self, served: Served, monkeypatch: Any) -> None:
        monkeypatch.setattr(exporter, "MAX_STALL_S", 0.2)
        client, engine = served.client(), served.bench.engine
        await client.done(await client.upload(GOOD))
        (served.node.folders.data("web") / "large").write_bytes(os.urandom(30_000_000))
        call = client.exporting("web", pause=True)
        async with asyncio.timeout(10):
            while engine.running["web-main"].status != "paused":
                await asyncio.sleep(0.01)
            while engine.running["web-main"].status != "running":
                await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in call:
                pass
        assert refusal(error.value)[:2] == ("DEADLINE_EXCEEDED", "EXPORT_STALLED")

    async def test_the_end_of_the_node_does_not_leave_them_paused(self, bench: Bench) -> None:
        async with bench.running() as node:
            await node.install(spec())
            (node.folders.data("web") / "large").write_bytes(os.urandom(8_000_000))
            async for _ in node.domain.exporter.export("web", ADMIN, pause=True):
                if bench.engine.running["web-main"].status == "paused":
                    break
            # As kill -9 leaves it.
            bench.engine.running["web-main"].status = "paused"
        bench.engine.running["web-main"].status = "paused"
        async with bench.running(), asyncio.timeout(10):
            while bench.engine.running["web-main"].status != "running":
                await asyncio.sleep(0.01)


async def test_a_chute_that_changes_meanwhile_has_no_whole_archive(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    (served.node.folders.data("web") / "large").write_bytes(os.urandom(8_000_000))
    call = client.exporting("web")
    pieces = aiter(call)
    archive = (await anext(pieces)).data
    await client.done(await client.update("web", GOOD))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        archive += b"".join([piece.data async for piece in pieces])
    assert refusal(error.value)[:2] == ("ABORTED", "CHUTE_CHANGED")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.import_(archive, replace=True)
    assert refusal(error.value)[1] == "TAR_CORRUPT"


@pytest.mark.thorough
async def test_a_large_chute_needs_little_memory(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    data = served.node.folders.data("web")
    content = os.urandom(1_000_000)
    with (data / "large").open("wb") as file:
        for _ in range(60):
            file.write(content)
    chute = served.node.domain.registry.find("web")
    size = 0

    async def work() -> int:
        nonlocal size
        tracemalloc.start()
        try:
            async for piece in served.node.world.packer.pack(chute, nullcontext()):
                size += len(piece)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert await work() < 6_000_000
    assert size > 60_000_000


@pytest.mark.thorough
async def test_only_a_few_are_made_at_once(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    (served.node.folders.data("web") / "large").write_bytes(os.urandom(8_000_000))
    calls = [client.exporting("web") for _ in range(exporter.MAX_PARALLEL)]
    for call in calls:
        await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.export("web")
    assert refusal(error.value)[:2] == ("RESOURCE_EXHAUSTED", "TOO_MANY_EXPORTS")
    for call in calls:
        call.cancel()
    async with asyncio.timeout(5):
        while True:
            try:
                assert await client.export("web")
                return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)


async def test_a_full_disk_is_told_before_the_data_comes(served: Served, monkeypatch: Any) -> None:
    client = served.client()
    await client.done(await client.upload(GOOD))
    archive = await client.export("web")
    await client.done(await client.call_id("DeleteChute", chute="web"))
    monkeypatch.setattr(disk, "MIN_FREE_BYTES", 2**60)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.import_(archive)
    assert refusal(error.value)[:2] == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    assert served.bench.files() == []

"""Changes of the node itself: how a kind is added, and what it may rely on."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2

from services.chutes.domain.chute import Chute
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.planner import Plan
from services.chutes.domain.steps import Run, Step
from services.common.errors import DomainError, FailedPrecondition, InvalidArgument
from services.common.identity import SYSTEM, Role
from tests.chutes.bench import ADMIN, ALICE, Bench, Crash, spec
from tests.chutes.client import refusal
from tests.chutes.served import Served


@dataclass(frozen=True)
class Write(Step):
    """Writes the banner of the node, and brings the one before back."""

    label = "write_banner"
    file: Path
    text: str
    before: str

    async def do(self, run: Run) -> None:
        run.say(f"The banner was {self.before!r}")
        await asyncio.to_thread(self.file.write_text, self.text)

    async def undo(self, run: Run) -> None:
        await asyncio.to_thread(self.file.write_text, self.before)


@dataclass(frozen=True)
class Approve(Step):
    """Refuses rude banners."""

    label = "approve_banner"
    text: str

    async def do(self, run: Run) -> None:
        if "rude" in self.text:
            raise FailedPrecondition("No rude banners.", reason="BANNER_RUDE")


class SetBanner(NodeChange):
    type = "setbanner"
    keys = ("text",)

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_text("")

    def check(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(payload.get("text"), str):
            raise InvalidArgument("text must be a text.", reason="BANNER_INVALID", field="change.text")
        return payload

    async def look(self, payload: Mapping[str, Any], installed: Mapping[str, Chute]) -> Mapping[str, Any]:
        return {"before": await asyncio.to_thread(self._file.read_text)}

    def plan(self, change_id: int, payload: Mapping[str, Any], facts: Mapping[str, Any]) -> Plan:
        return Plan((Write(self._file, payload["text"], facts["before"]), Approve(payload["text"])))


class Forget(NodeChange):
    """Takes all chutes out of the record, as a factory reset does among other things."""

    type = "forget"
    role = Role.OWNER
    needs_engine = True
    exclusive = True

    async def look(self, payload: Mapping[str, Any], installed: Mapping[str, Chute]) -> Mapping[str, Any]:
        return {"chutes": sorted(installed)}

    def plan(self, change_id: int, payload: Mapping[str, Any], facts: Mapping[str, Any]) -> Plan:
        return Plan((), gone=tuple(facts["chutes"]))


@pytest.fixture
def banner(tmp_path: Path) -> Path:
    return tmp_path / "banner"


@pytest.fixture
def bench(bench: Bench, banner: Path) -> Bench:
    bench.node_changes = (SetBanner(banner), Forget())
    return bench


async def test_a_change_of_the_node_runs_and_tells_so(bench: Bench, banner: Path) -> None:
    async with bench.running() as node:
        change = await node.ended(await node.domain.node.accept("setbanner", {"text": "hello"}, ADMIN))
        assert (change.status, change.percent) == ("succeeded", 100)
        assert await asyncio.to_thread(banner.read_text) == "hello"
        assert await node.lines(change.id) == [
            "Calling write_banner",
            "The banner was ''",
            "Calling approve_banner",
            "Chute __PARADROP__ setbanner success",
            "Completed setbanner operation on chute __PARADROP__: success",
        ]
        assert bench.engine.calls["sweep"] == 1


async def test_it_needs_no_engine_unless_it_says_so(bench: Bench) -> None:
    bench.engine.down = True
    async with bench.running() as node:
        await node.ended(await node.domain.node.accept("setbanner", {"text": "hello"}, ADMIN))
        waiting = await node.domain.node.accept("forget", {}, SYSTEM)
        await asyncio.sleep(0.05)
        assert not node.domain.queue.find(waiting).ended
        bench.engine.down = False
        assert (await node.ended(waiting)).status == "succeeded"


async def test_a_failed_one_is_undone(bench: Bench, banner: Path) -> None:
    async with bench.running() as node:
        await node.ended(await node.domain.node.accept("setbanner", {"text": "hello"}, ADMIN))
        change = await node.ended(await node.domain.node.accept("setbanner", {"text": "rude"}, ADMIN))
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("BANNER_RUDE", True)
        assert await asyncio.to_thread(banner.read_text) == "hello"


async def test_a_crash_in_the_middle_is_undone_and_the_change_done_again(bench: Bench, banner: Path) -> None:
    crashed = asyncio.Event()

    def crash(moment: str, step: str) -> None:
        if (moment, step) == ("after", "write_banner"):
            crashed.set()
            raise Crash

    async with bench.running(crash) as node:
        change_id = await node.domain.node.accept("setbanner", {"text": "hello"}, ADMIN)
        await crashed.wait()
    assert await asyncio.to_thread(banner.read_text) == "hello"
    async with bench.running() as node:
        assert (await node.ended(change_id)).status == "succeeded"
        lines = await node.lines(change_id)
        assert lines.count("Calling write_banner") == 2
        assert lines.count("Undoing write_banner") == 1
        assert lines[-5:-3] == ["Calling write_banner", "The banner was ''"]


async def test_changes_of_the_node_keep_their_order(bench: Bench, banner: Path) -> None:
    async with bench.running() as node:
        ids = [
            await node.domain.node.accept("setbanner", {"text": str(number)}, ADMIN) for number in range(5)
        ]
        for change_id in ids:
            await node.ended(change_id)
        assert await asyncio.to_thread(banner.read_text) == "4"
        lines = [line for change_id in ids for line in await node.lines(change_id) if "was" in line]
        assert lines == [f"The banner was {before!r}" for before in ("", "0", "1", "2", "3")]


async def test_an_exclusive_one_runs_alone_and_may_take_chutes_out_of_the_record(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec("a"))
        bench.engine.build_pause.clear()
        before = await node.install(spec("b"), ends=False)
        reset = await node.domain.node.accept("forget", {}, SYSTEM)
        after = await node.install(spec("c"), ends=False)
        await asyncio.sleep(0.05)
        assert [change.status for change in node.domain.queue.unfinished()] == [
            "processing",
            "queued",
            "queued",
        ]
        bench.engine.build_pause.set()
        ended = [await node.ended(change_id) for change_id in (before.id, reset, after.id)]
        assert [change.status for change in ended] == ["succeeded"] * 3
        assert [chute.name for chute in node.domain.manager.visible(ADMIN)] == ["c"]
        assert set(bench.engine.running) == {"c-main"}
    async with bench.running() as node:
        assert [chute.name for chute in node.domain.manager.visible(ADMIN)] == ["c"]


async def test_only_its_role_may_ask(bench: Bench) -> None:
    async with bench.running() as node:
        for kind, caller in (("setbanner", ALICE), ("forget", ADMIN)):
            with pytest.raises(DomainError) as error:
                await node.domain.node.accept(kind, {}, caller)
            assert error.value.reason == "ROLE_TOO_LOW"


async def test_a_kind_that_another_version_knew_fails_and_does_not_stay(bench: Bench) -> None:
    bench.engine.down = True
    async with bench.running() as node:
        change_id = await node.domain.node.accept("forget", {}, SYSTEM)
    bench.engine.down, bench.node_changes = False, ()
    async with bench.running() as node:
        change = await node.ended(change_id)
        assert change.failure is not None
        assert change.failure.reason == "CHANGE_TYPE_UNKNOWN"


def _document(**keys: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update({"updateClass": "ROUTER", "updateType": "setbanner", **keys})
    return struct


@pytest.mark.parametrize("name", [{}, {"name": "__PARADROP__"}, {"name": "PARADROP"}])
async def test_a_document_asks_for_it(name: dict[str, str], served: Served) -> None:
    client = served.client()
    change_id = await client.call_id("CreateChange", change=_document(text="hello", **name))
    await client.done(change_id)
    change = (await client.call("GetChange", change_id=change_id)).change
    assert (change.update_class, change.update_type, change.name) == ("ROUTER", "setbanner", "__PARADROP__")
    assert change.user.name == "admin"


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ({"text": 1}, ("INVALID_ARGUMENT", "BANNER_INVALID", "change.text")),
        ({"text": "a", "colour": "red"}, ("INVALID_ARGUMENT", "CHANGE_INVALID", "change.colour")),
        ({"text": "a", "tok": 7}, ("INVALID_ARGUMENT", "CHANGE_INVALID", "change.tok")),
        ({"text": "a", "name": "web"}, ("INVALID_ARGUMENT", "CHANGE_INVALID", "change.name")),
        ({"updateType": "setflag"}, ("INVALID_ARGUMENT", "CHANGE_INVALID", "change.updateType")),
    ],
)
async def test_a_wrong_document_takes_no_id(keys: Any, answer: Any, served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await served.client().call("CreateChange", change=_document(**keys))
    assert refusal(error.value) == answer
    assert list(served.node.domain.queue.unfinished()) == []
    assert served.node.domain.queue.ended() == []

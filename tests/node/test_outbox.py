"""The outbox: nothing lost, nothing twice, bounded, and calls with a key done once."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.database import Database as BlockingDatabase
from services.node.adapters import outbox as module
from services.node.adapters.outbox import MIGRATIONS, Outbox, Remembered


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.sqlite3"


@pytest.fixture
def outbox(file: Path) -> Iterator[Outbox]:
    database = BlockingDatabase(file, MIGRATIONS)
    yield Outbox(database)
    database.close()


async def told(outbox: Outbox, after: int = 0) -> list[bytes]:
    return [record.payload for record in await outbox.after(after)]


async def test_records_stay_until_they_are_acknowledged_and_over_restarts(file: Path) -> None:
    first = await asyncio.to_thread(BlockingDatabase, file, MIGRATIONS)
    outbox = Outbox(first)
    for number in range(3):
        assert await outbox.add_ended(number, b"change %d" % number)
    identity = await outbox.identity()
    sequence = (await outbox.after(0))[0].sequence
    await outbox.acknowledge(sequence)
    await asyncio.to_thread(first.close)
    second = await asyncio.to_thread(BlockingDatabase, file, MIGRATIONS)
    again = Outbox(second)
    assert await told(again) == [b"change 1", b"change 2"]
    assert await again.identity() == identity
    assert not await again.add_ended(0, b"change 0")
    assert await again.ended_changes() == {0, 1, 2}
    await asyncio.to_thread(second.close)


async def test_numbers_are_never_used_again(outbox: Outbox) -> None:
    await outbox.add_ended(1, b"a")
    last = (await outbox.after(0))[-1].sequence
    await outbox.acknowledge(last)
    await outbox.add_ended(2, b"b")
    assert (await outbox.after(0))[0].sequence > last


async def test_a_state_takes_the_place_of_the_one_that_waits(outbox: Outbox) -> None:
    await outbox.set_state(b"old")
    await outbox.add_ended(1, b"change")
    await outbox.set_state(b"new")
    assert await told(outbox) == [b"change", b"new"]


async def test_the_oldest_go_when_there_are_too_many_and_that_is_counted(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 5)
    for number in range(8):
        await outbox.add_ended(number, b"%d" % number)
    assert await told(outbox) == [b"3", b"4", b"5", b"6", b"7"]
    assert (await outbox.identity())[1] == 3


async def test_another_controller_means_another_series(outbox: Outbox) -> None:
    before = await outbox.identity()
    await outbox.add_ended(1, b"for the old one")
    await outbox.clear()
    assert (await outbox.identity())[0] != before[0]
    assert await told(outbox) == []


async def test_a_call_with_a_key_is_remembered(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await outbox.begin_call("k") is None
    assert await outbox.begin_call("k") == Remembered(None, None)
    await outbox.end_call("k", b"reply", b"status")
    assert await outbox.begin_call("k") == Remembered(b"reply", b"status")
    await outbox.forget_call("k")
    assert await outbox.begin_call("k") is None
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    for key in "abc":
        await outbox.begin_call(key)
    assert await outbox.begin_call("k") is None


@pytest.mark.thorough
@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["change", "state", "acknowledge", "reconnect"]), max_size=30))
def test_whatever_happens_a_controller_learns_each_end_once_and_the_last_state(events: list[str]) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            database = await asyncio.to_thread(BlockingDatabase, Path(folder) / "x", MIGRATIONS)
            outbox, stored, sent, number, state = Outbox(database), [], 0, 0, b""
            try:
                for event in [*events, "reconnect", "acknowledge"]:
                    if event == "change":
                        number += 1
                        await outbox.add_ended(number, b"change %d" % number)
                    elif event == "state":
                        number += 1
                        state = b"state %d" % number
                        await outbox.set_state(state)
                    elif event == "reconnect":
                        # What was sent and not acknowledged comes again; the controller knows by the number.
                        sent = min(sent, stored[-1][0] if stored else 0)
                    for record in await outbox.after(sent):
                        if not stored or record.sequence > stored[-1][0]:
                            stored.append((record.sequence, record.payload))
                        sent = record.sequence
                    if event == "acknowledge" and stored:
                        await outbox.acknowledge(stored[-1][0])
                changes = [payload for _, payload in stored if payload.startswith(b"change")]
                assert len(changes) == len(set(changes))
                assert len(changes) == (events.count("change"))
                assert not state or state in [payload for _, payload in stored]
            finally:
                await asyncio.to_thread(database.close)

    asyncio.run(play())

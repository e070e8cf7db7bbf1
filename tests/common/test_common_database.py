"""SQLite files: migrations, transactions, durability settings."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.database import Database
from services.common.errors import ResourceExhausted
from services.common.files import StateError
from services.common.reserve import RESERVE_BYTES
from tests.support.small_disk import MEBIBYTE, fill, small_disk

FIRST = "CREATE TABLE things (name TEXT PRIMARY KEY)"
SECOND = (
    "ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 7; CREATE INDEX by_size ON things (size)"
)
BROKEN = "CREATE TABLE others (name TEXT); INSERT INTO nowhere VALUES (1)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.sqlite3"


def pragma(database: Database, name: str) -> object:
    return database.call(lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0])


def test_migrations_are_applied_once_each(path: Path) -> None:
    database = Database(path, [FIRST])
    database.call(lambda connection: connection.execute("INSERT INTO things VALUES ('a')"))
    assert pragma(database, "user_version") == 1
    database.close()

    for _ in range(2):
        database = Database(path, [FIRST, SECOND])
        assert pragma(database, "user_version") == 2
        rows = database.call(
            lambda connection: connection.execute("SELECT name, size FROM things").fetchall()
        )
        assert [tuple(row) for row in rows] == [("a", 7)]
        database.close()


def test_a_failed_migration_leaves_the_schema_before_it(path: Path) -> None:
    Database(path, [FIRST]).close()
    with pytest.raises(sqlite3.Error):
        Database(path, [FIRST, BROKEN])
    database = Database(path, [FIRST, SECOND])
    tables = database.call(
        lambda connection: connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
    )
    assert [row[0] for row in tables] == ["things"]
    database.close()


def test_a_newer_file_is_not_touched(path: Path) -> None:
    Database(path, [FIRST, SECOND]).close()
    with pytest.raises(StateError, match=r"test\.sqlite3 is of a later version .*schema 2"):
        Database(path, [FIRST])
    Database(path, [FIRST, SECOND]).close()


def test_a_damaged_file_is_named_with_what_to_do(path: Path) -> None:
    wanted = r"test\.sqlite3 cannot be used \(.*paradrop restore"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StateError, match=wanted):
        Database(path, [FIRST])
    path.unlink()
    database = Database(path, [FIRST])
    database.call(
        lambda connection: connection.executemany(
            "INSERT INTO things VALUES (?)", [(f"{number} {'x' * 90}",) for number in range(1000)]
        )
    )
    database.close()
    content = bytearray(path.read_bytes())
    content[4096 * 3 :] = os.urandom(len(content) - 4096 * 3)
    path.write_bytes(content)
    database = Database(path, [FIRST])
    with pytest.raises(StateError, match=wanted):
        database.call(lambda connection: connection.execute("SELECT * FROM things").fetchall())
    database.close()


def test_a_failed_transaction_leaves_nothing(path: Path) -> None:
    database = Database(path, [FIRST])

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('a')")
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        database.call(work)
    count = database.call(lambda connection: connection.execute("SELECT count(*) FROM things").fetchone()[0])
    assert count == 0
    database.close()


async def test_transactions_from_many_threads_do_not_mix(path: Path) -> None:
    script = "CREATE TABLE counter (value INTEGER); INSERT INTO counter VALUES (0)"
    database = await asyncio.to_thread(Database, path, [script])

    def increment(connection: sqlite3.Connection) -> None:
        (value,) = connection.execute("SELECT value FROM counter").fetchone()
        connection.execute("UPDATE counter SET value = ?", (value + 1,))

    await asyncio.gather(*(database.run(increment) for _ in range(50)))
    value = await database.run(
        lambda connection: connection.execute("SELECT value FROM counter").fetchone()[0]
    )
    assert value == 50
    await asyncio.to_thread(database.close)


def test_the_file_is_private_and_durable(path: Path) -> None:
    database = Database(path, [FIRST])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "synchronous") == 2
    assert pragma(database, "foreign_keys") == 1
    database.close()


def test_a_cheaper_durability_can_be_chosen(path: Path) -> None:
    database = Database(path, [FIRST], synchronous="NORMAL")
    assert pragma(database, "synchronous") == 1
    database.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 8 * MEBIBYTE) as disk:
        yield disk


def test_a_full_disk_is_told_and_costs_nothing_that_was_noted(disk: Path) -> None:
    database = Database(disk / "test.sqlite3", ["CREATE TABLE things (name TEXT)"])

    def note(text: str) -> None:
        database.call(lambda connection: connection.execute("INSERT INTO things VALUES (?)", [text]))

    def noted() -> list[str]:
        return database.call(
            lambda c: [row[0] for row in c.execute("SELECT name FROM things ORDER BY rowid")]
        )

    def note_until_full() -> None:
        for _ in range(1000):
            note("x" * 5000)
            written.append("x" * 5000)

    note("first")
    filler, written = fill(disk), ["first"]
    with pytest.raises(ResourceExhausted) as raised:
        note_until_full()
    assert raised.value.reason == "DISK_FULL"
    with pytest.raises(ResourceExhausted):
        note("x" * 100_000)
    assert noted() == written
    filler.unlink()
    note("last")
    assert noted() == [*written, "last"]
    database.close()
    again = sqlite3.connect(disk / "test.sqlite3")
    assert again.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    again.close()


def test_what_makes_room_can_be_noted_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path, 40 * MEBIBYTE) as disk:
        path, reserve = disk / "test.sqlite3", disk / "test.sqlite3-reserve"

        def note(database: Database, text: str) -> None:
            database.call(lambda connection: connection.execute("INSERT INTO things VALUES (?)", [text]))

        database = Database(path, ["CREATE TABLE things (name TEXT)"])
        assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES
        assert stat.S_IMODE(reserve.stat().st_mode) == 0o600
        filler = fill(disk)
        note(database, "x" * 100_000)
        assert not reserve.exists()
        with pytest.raises(ResourceExhausted):
            note(database, "x" * 10 * MEBIBYTE)
        filler.unlink()
        note(database, "with room again")
        assert reserve.exists()
        database.close()
        # And it opens on a disk without any room.
        filler = fill(disk)
        database = Database(path, ["CREATE TABLE things (name TEXT)"])
        note(database, "last")
        assert database.call(lambda c: c.execute("SELECT count(*) FROM things").fetchone()[0]) == 3
        database.close()

"""SQLite files: migrations, transactions, durability settings."""

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from services.common.database import Database

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
    with pytest.raises(RuntimeError, match="schema 2"):
        Database(path, [FIRST])
    Database(path, [FIRST, SECOND]).close()


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

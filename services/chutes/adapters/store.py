"""Keeps chutes and changes in SQLite."""

import asyncio
import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from services.chutes.domain.change import Change, Failure, Request, Situation
from services.chutes.domain.chute import Chute
from services.chutes.domain.journalport import Line
from services.common.database import Database

KEPT_CHANGES = 1000
KEPT_MESSAGES = 200
"""So many ended changes keep their messages: they are much larger than the changes themselves."""

MIGRATIONS = (
    """
    CREATE TABLE chutes (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        request TEXT NOT NULL,
        situation TEXT,
        status TEXT NOT NULL,
        phase TEXT NOT NULL,
        step TEXT NOT NULL DEFAULT '',
        percent INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        create_time_s REAL NOT NULL,
        start_time_s REAL,
        end_time_s REAL
    ) STRICT;
    CREATE TABLE messages (
        change_id INTEGER NOT NULL REFERENCES changes (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        lines BLOB NOT NULL,
        PRIMARY KEY (change_id, number)
    ) STRICT, WITHOUT ROWID;
    """,
    "ALTER TABLE changes ADD COLUMN cancelled_by TEXT NOT NULL DEFAULT ''",
)


class Store:
    """The journal of the change queue and the record of the chutes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> tuple[Sequence[Chute], Sequence[Change]]:
        """Returns all chutes, and the changes that are kept, oldest first."""

        def work(connection: sqlite3.Connection) -> tuple[list[Chute], list[Change]]:
            chutes = connection.execute("SELECT document FROM chutes ORDER BY name").fetchall()
            changes = connection.execute("SELECT * FROM changes ORDER BY id").fetchall()
            return [Chute.from_document(json.loads(row["document"])) for row in chutes], [
                _change(row) for row in changes
            ]

        return await self._database.run(work)

    async def accept(self, request: Request, time_s: float) -> Change:
        """Records a new change under a new id."""

        def work(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO changes (request, status, phase, create_time_s) VALUES (?, ?, ?, ?)",
                (_json(request.to_document()), "queued", "waiting", time_s),
            )
            if cursor.lastrowid is None:
                raise sqlite3.DatabaseError("SQLite gave a new row no id")
            return cursor.lastrowid

        return Change(await self._database.run(work), request, time_s)

    async def amend(self, change: Change) -> None:
        """Records what a change is asked for now that more is known of it."""
        document = _json(change.request.to_document())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE changes SET request = ? WHERE id = ?", (document, change.id))

        # Until now it was said how to fetch the files, perhaps with a password.
        await asyncio.to_thread(self._database.erase, work)

    async def begin(self, change: Change, situation: Situation) -> None:
        """Records that a change starts to run, and from where."""
        document = _json(situation.to_document())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE changes SET situation = ? WHERE id = ?", (document, change.id))
            _save(connection, change)

        await self._database.run(work)

    async def enter(self, change: Change, lines: Sequence[Line]) -> None:
        """Records the step and phase that a change is about to enter, and the lines that came since."""

        def work(connection: sqlite3.Connection) -> None:
            _save(connection, change)
            if lines:
                connection.execute(
                    "INSERT INTO messages SELECT ?1, coalesce(max(number), 0) + 1, ?2 "
                    "FROM messages WHERE change_id = ?1",
                    (change.id, _pack(lines)),
                )

        await self._database.run(work)

    async def commit(self, change: Change, outcome: Mapping[str, Chute | None]) -> None:
        """Makes the outcome of a change the truth: each chute as it is now, None if it is gone."""

        def work(connection: sqlite3.Connection) -> None:
            for name, chute in outcome.items():
                if chute is None:
                    connection.execute("DELETE FROM chutes WHERE name = ?", (name,))
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO chutes VALUES (?, ?)", (name, _json(chute.to_document()))
                    )
            _save(connection, change)

        await self._database.run(work)

    async def cancel(self, change: Change) -> None:
        """Records who has cancelled a change."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE changes SET cancelled_by = ? WHERE id = ?", (change.cancelled_by, change.id)
            )

        await self._database.run(work)

    async def requeue(self, change: Change) -> None:
        """Records that a change was undone and waits to be run again."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE changes SET situation = NULL WHERE id = ?", (change.id,))
            _save(connection, change)

        await self._database.run(work)

    async def end(self, change: Change, lines: Sequence[Line]) -> None:
        """Records how a change ended and all lines that are kept of it; forgets the oldest changes."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE changes SET situation = NULL, request = ? WHERE id = ?",
                (_json(change.request.without_payload().to_document()), change.id),
            )
            _save(connection, change)
            connection.execute("DELETE FROM messages WHERE change_id = ?", (change.id,))
            connection.execute("INSERT INTO messages VALUES (?, 1, ?)", (change.id, _pack(lines)))
            connection.execute(
                "DELETE FROM messages WHERE change_id IN "
                "(SELECT id FROM changes WHERE phase = 'ended' ORDER BY id DESC LIMIT -1 OFFSET ?)",
                (KEPT_MESSAGES,),
            )
            connection.execute(
                "DELETE FROM changes WHERE id IN "
                "(SELECT id FROM changes WHERE phase = 'ended' ORDER BY id DESC LIMIT -1 OFFSET ?)",
                (KEPT_CHANGES,),
            )

        secret = change.request.credentials or change.request.download
        await asyncio.to_thread(self._database.erase if secret else self._database.call, work)

    async def lines(self, change_id: int) -> Sequence[Line]:
        """Returns the lines that are kept of a change."""

        def work(connection: sqlite3.Connection) -> list[Line]:
            rows = connection.execute(
                "SELECT lines FROM messages WHERE change_id = ? ORDER BY number", (change_id,)
            ).fetchall()
            return [line for row in rows for line in _unpack(row["lines"])]

        return await self._database.run(work)


def _save(connection: sqlite3.Connection, change: Change) -> None:
    failure = change.failure
    connection.execute(
        "UPDATE changes SET status = ?, phase = ?, step = ?, percent = ?, attempts = ?, failure = ?, "
        "start_time_s = ?, end_time_s = ? WHERE id = ?",
        (
            change.status,
            change.phase,
            change.step,
            change.percent,
            change.attempts,
            _json([failure.reason, failure.message, failure.undone]) if failure else None,
            change.start_time_s,
            change.end_time_s,
            change.id,
        ),
    )


def _change(row: sqlite3.Row) -> Change:
    situation = row["situation"]
    failure = row["failure"]
    return Change(
        id=row["id"],
        request=Request.from_document(json.loads(row["request"])),
        create_time_s=row["create_time_s"],
        status=row["status"],
        phase=row["phase"],
        step=row["step"],
        percent=row["percent"],
        attempts=row["attempts"],
        failure=Failure(*json.loads(failure)) if failure else None,
        start_time_s=row["start_time_s"],
        end_time_s=row["end_time_s"],
        situation=Situation.from_document(json.loads(situation)) if situation else None,
        cancelled_by=row["cancelled_by"],
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _pack(lines: Sequence[Line]) -> bytes:
    return zlib.compress(_json(lines).encode("utf-8", "surrogatepass"))


def _unpack(packed: bytes) -> list[Line]:
    return [
        (time_s, text)
        for time_s, text in json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
    ]

"""What the controller must learn, kept until it has; and what it has asked for, so that it is done once."""

import asyncio
import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from services.common.database import Database

MAX_RECORDS = 1000
MAX_ENDED_CHANGES = 5000
"""More than the chute service keeps, so that none is told of twice."""
MAX_KEYS = 1000
ORIGIN = "origin:"
"""Begins the names of facts about chutes that the controller had installed."""

MIGRATIONS = (
    """
    CREATE TABLE records (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        time_s REAL NOT NULL,
        kind TEXT NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE TABLE ended_changes (change_id INTEGER PRIMARY KEY);
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE calls (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        reply BLOB,
        status BLOB
    )
    """,
)

Kind = Literal["change", "state"]


@dataclass(frozen=True, slots=True)
class Record:
    """Something that the controller must learn."""

    sequence: int
    time_s: float
    kind: Kind
    payload: bytes
    """The serialised message."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A call with a key that was seen before."""

    reply: bytes | None
    status: bytes | None
    """None if nobody knows how it ended: the node went down in the middle of it."""


class Outbox:
    """A bounded queue that survives power loss. States replace each other, ends of changes do not."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.added = asyncio.Event()
        """Set when there may be something new to tell."""

    async def identity(self) -> tuple[str, int]:
        """Returns the name of the series, and how many records of it were forgotten."""
        return await self._database.run(_identity)

    async def see_ended(self, change_ids: Iterable[int]) -> None:
        """Notes changes that ended before the node had a controller, and that nobody need be told of."""
        ids = [(change_id,) for change_id in change_ids]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR IGNORE INTO ended_changes VALUES (?)", ids)

        await self._database.run(work)

    async def ended_changes(self) -> set[int]:
        """Returns the changes whose ends are known."""
        rows = await self._database.run(
            lambda db: db.execute("SELECT change_id FROM ended_changes").fetchall()
        )
        return {change_id for (change_id,) in rows}

    async def add_ended(self, change_id: int, payload: bytes) -> bool:
        """Adds the end of a change unless it was added before."""

        def work(db: sqlite3.Connection) -> bool:
            known = db.execute("INSERT OR IGNORE INTO ended_changes VALUES (?)", (change_id,)).rowcount == 0
            if known:
                return False
            _add(db, "change", payload)
            db.execute(
                "DELETE FROM ended_changes WHERE change_id <= ?"
                " AND change_id <= (SELECT max(change_id) FROM ended_changes) - ?",
                (change_id, MAX_ENDED_CHANGES),
            )
            return True

        added = await self._database.run(work)
        if added:
            self.added.set()
        return added

    async def set_state(self, payload: bytes) -> None:
        """Adds a state in the place of the one that waits."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM records WHERE kind = 'state'")
            _add(db, "state", payload)

        await self._database.run(work)
        self.added.set()

    async def after(self, sequence: int, limit: int = 50) -> Sequence[Record]:
        """Returns the records after a number, in their order."""

        def work(db: sqlite3.Connection) -> Sequence[Record]:
            rows = db.execute(
                "SELECT sequence, time_s, kind, payload FROM records WHERE sequence > ?"
                " ORDER BY sequence LIMIT ?",
                (sequence, limit),
            )
            return [Record(*row) for row in rows]

        return await self._database.run(work)

    async def acknowledge(self, sequence: int) -> None:
        """Forgets the records up to a number."""
        await self._database.run(
            lambda db: db.execute("DELETE FROM records WHERE sequence <= ?", (sequence,))
        )

    async def clear(self) -> None:
        """Begins a new series: the node has another controller, or none."""

        def work(db: sqlite3.Connection) -> None:
            for table in ("records", "facts", "calls", "ended_changes"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608

        await self._database.run(work)

    async def begin_call(self, key: str) -> Remembered | None:
        """Notes that a call with a key begins; returns what is remembered if it began before."""

        def work(db: sqlite3.Connection) -> Remembered | None:
            row = db.execute("SELECT reply, status FROM calls WHERE key = ?", (key,)).fetchone()
            if row is not None:
                return Remembered(*row)
            db.execute("INSERT INTO calls (key) VALUES (?)", (key,))
            db.execute("DELETE FROM calls WHERE number <= (SELECT max(number) FROM calls) - ?", (MAX_KEYS,))
            return None

        return await self._database.run(work)

    async def end_call(self, key: str, reply: bytes | None, status: bytes) -> None:
        """Notes how a call with a key ended."""
        await self._database.run(
            lambda db: db.execute(
                "UPDATE calls SET reply = ?, status = ? WHERE key = ?", (reply, status, key)
            )
        )

    async def forget_call(self, key: str) -> None:
        """Forgets a call that did nothing, so that it can be tried again."""
        await self._database.run(lambda db: db.execute("DELETE FROM calls WHERE key = ?", (key,)))

    async def set_origin(self, chute: str, change_id: int, origin: Mapping[str, Any]) -> None:
        """Notes what the controller calls a chute that it had installed by a change."""
        value = json.dumps({"change_id": change_id, "origin": dict(origin)})
        await self._database.run(
            lambda db: db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (ORIGIN + chute, value))
        )
        self.added.set()

    async def forget_origin(self, chute: str, change_id: int) -> None:
        """Forgets that, unless a later change or this one has set it: somebody else has altered the chute."""

        def work(db: sqlite3.Connection) -> None:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (ORIGIN + chute,)).fetchone()
            if row is not None and json.loads(row[0])["change_id"] < change_id:
                db.execute("DELETE FROM facts WHERE name = ?", (ORIGIN + chute,))

        await self._database.run(work)

    async def origins(self) -> dict[str, Any]:
        """Returns what the controller calls the chutes that it had installed, by their names."""

        def work(db: sqlite3.Connection) -> dict[str, Any]:
            rows = db.execute("SELECT name, value FROM facts WHERE name LIKE ?", (f"{ORIGIN}%",)).fetchall()
            return {name.removeprefix(ORIGIN): json.loads(value)["origin"] for name, value in rows}

        return await self._database.run(work)


def _identity(db: sqlite3.Connection) -> tuple[str, int]:
    db.execute("INSERT OR IGNORE INTO facts VALUES ('queue_id', ?)", (secrets.token_hex(8),))
    facts = dict(db.execute("SELECT name, value FROM facts").fetchall())
    return facts["queue_id"], int(facts.get("forgotten", 0))


def _add(db: sqlite3.Connection, kind: Kind, payload: bytes) -> None:
    db.execute("INSERT INTO records (time_s, kind, payload) VALUES (?, ?, ?)", (time.time(), kind, payload))
    (count,) = db.execute("SELECT count(*) FROM records").fetchone()
    if count > MAX_RECORDS:
        db.execute(
            "DELETE FROM records WHERE sequence IN (SELECT sequence FROM records ORDER BY sequence LIMIT ?)",
            (count - MAX_RECORDS,),
        )
        db.execute(
            "INSERT INTO facts VALUES ('forgotten', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + ?",
            (str(count - MAX_RECORDS), count - MAX_RECORDS),
        )

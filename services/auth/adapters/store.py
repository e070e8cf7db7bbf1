"""The SQLite file of auth."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from services.auth.domain.model import ChuteToken, Login, Outcome, User
from services.common.database import Database
from services.common.identity import Role

KEPT_LOGINS = 1000
MIGRATIONS = (
    """
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counters VALUES ('generation', 0);
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        role INTEGER NOT NULL,
        password_hash TEXT NOT NULL,
        generation INTEGER NOT NULL,
        created_s REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE bootstrap (only INTEGER PRIMARY KEY CHECK (only = 1), password_hash TEXT NOT NULL);
    CREATE TABLE chute_tokens (
        chute TEXT PRIMARY KEY,
        digest BLOB NOT NULL,
        generation INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE logins (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time_s REAL NOT NULL,
        username TEXT NOT NULL,
        address TEXT NOT NULL,
        outcome INTEGER NOT NULL
    );
    """,
    "ALTER TABLE chute_tokens ADD COLUMN former BLOB",
)

log = structlog.get_logger()


class SqliteStore:
    """Users, chute tokens and the audit, each call in one transaction."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, MIGRATIONS)

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: Path) -> AsyncIterator["SqliteStore"]:
        """Opens the file for the time of the context."""
        store = await asyncio.to_thread(cls, path)
        try:
            yield store
        finally:
            await asyncio.to_thread(store._database.close)

    async def bootstrap_hash(self) -> str | None:
        """Returns the hash of the password of the first start, or nothing before it."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT password_hash FROM bootstrap").fetchone()
            return row["password_hash"] if row else None

        return await self._database.run(work)

    async def set_up(self, bootstrap_hash: str, name: str, role: Role, created_s: float) -> None:
        """Keeps the hash of the first start's password and adds the first user with it."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO bootstrap VALUES (1, ?)", (bootstrap_hash,))
            _put_user(connection, User(name, role, bootstrap_hash, _next_generation(connection), created_s))

        await self._database.run(work)

    async def users(self) -> Sequence[User]:
        """Returns all users."""

        def work(connection: sqlite3.Connection) -> list[User]:
            rows = connection.execute("SELECT name, role, password_hash, generation, created_s FROM users")
            return [
                User(
                    row["name"], Role(row["role"]), row["password_hash"], row["generation"], row["created_s"]
                )
                for row in rows
            ]

        return await self._database.run(work)

    async def put_user(self, name: str, role: Role, password_hash: str, created_s: float) -> User:
        """Adds or replaces a user, with a new generation."""

        def work(connection: sqlite3.Connection) -> User:
            user = User(name, role, password_hash, _next_generation(connection), created_s)
            _put_user(connection, user)
            return user

        return await self._database.run(work)

    async def delete_user(self, name: str) -> None:
        """Removes a user."""
        await self._execute("DELETE FROM users WHERE name = ?", name)

    async def chute_tokens(self) -> Sequence[ChuteToken]:
        """Returns the tokens of all chutes."""

        def work(connection: sqlite3.Connection) -> list[ChuteToken]:
            rows = connection.execute("SELECT chute, digest, generation, former FROM chute_tokens")
            return [ChuteToken(row["chute"], row["digest"], row["generation"], row["former"]) for row in rows]

        return await self._database.run(work)

    async def put_chute_token(self, chute: str, digest: bytes, former: bytes | None) -> ChuteToken:
        """Adds or replaces the token of a chute, with a new generation."""

        def work(connection: sqlite3.Connection) -> ChuteToken:
            token = ChuteToken(chute, digest, _next_generation(connection), former)
            connection.execute(
                "INSERT OR REPLACE INTO chute_tokens (chute, digest, generation, former) VALUES (?, ?, ?, ?)",
                (chute, digest, token.generation, former),
            )
            return token

        return await self._database.run(work)

    async def delete_chute_token(self, chute: str) -> None:
        """Removes the token of a chute."""
        await self._execute("DELETE FROM chute_tokens WHERE chute = ?", chute)

    async def next_generation(self) -> int:
        """Returns a generation higher than all before it."""
        return await self._database.run(_next_generation)

    async def add_login(self, login: Login) -> None:
        """Writes to the audit; the oldest entries go.

        A full disk must not keep the owner out, so a failure is only logged.
        """

        def work(connection: sqlite3.Connection) -> None:
            added = connection.execute(
                "INSERT INTO logins (time_s, username, address, outcome) VALUES (?, ?, ?, ?)",
                (login.time_s, login.username, login.address, login.outcome),
            )
            connection.execute("DELETE FROM logins WHERE id <= ?", ((added.lastrowid or 0) - KEPT_LOGINS,))

        try:
            await self._database.run(work)
        except sqlite3.Error:
            log.exception("a login was not written down", outcome=login.outcome.name.lower())

    async def logins(self, before_id: int | None, limit: int) -> Sequence[tuple[int, Login]]:
        """Returns logins with their ids, newest first."""

        def work(connection: sqlite3.Connection) -> list[tuple[int, Login]]:
            rows = connection.execute(
                "SELECT id, time_s, username, address, outcome FROM logins "
                "WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?",
                (before_id, before_id, limit),
            )
            return [
                (row["id"], Login(row["time_s"], row["username"], row["address"], Outcome(row["outcome"])))
                for row in rows
            ]

        return await self._database.run(work)

    async def _execute(self, statement: str, *values: object) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statement, values)

        await self._database.run(work)


def _next_generation(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'generation'")
    (value,) = connection.execute("SELECT value FROM counters WHERE name = 'generation'").fetchone()
    return int(value)


def _put_user(connection: sqlite3.Connection, user: User) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?, ?)",
        (user.name, user.role, user.password_hash, user.generation, user.created_s),
    )

"""The SQLite file of the network service."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from services.common.database import Database
from services.network.domain.documents import from_document, to_document
from services.network.domain.hostversions import HostState, Version
from services.network.domain.model import Attachment, Network, Owner
from services.network.domain.store import Borrowed, ChuteRecord

MIGRATIONS = (
    """
    CREATE TABLE chutes (
        chute TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        owner_domain TEXT NOT NULL,
        networks TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE attachments (
        chute TEXT NOT NULL,
        name TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process_mark TEXT NOT NULL,
        PRIMARY KEY (chute, name)
    ) WITHOUT ROWID;
    CREATE TABLE versions (
        version INTEGER PRIMARY KEY,
        create_time_s REAL NOT NULL,
        author TEXT NOT NULL,
        change_id INTEGER NOT NULL,
        document TEXT NOT NULL
    );
    CREATE TABLE host_state (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        state TEXT NOT NULL
    );
    CREATE TABLE borrowed (
        interface TEXT PRIMARY KEY,
        document TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
)
KEPT_VERSIONS = 20


class Store:
    """Keeps networks and versions; what a call wrote survives power loss when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def chutes(self) -> Sequence[ChuteRecord]:
        """Returns the chutes with their networks, by name."""

        def work(connection: sqlite3.Connection) -> list[ChuteRecord]:
            return [
                ChuteRecord(
                    Owner(row["chute"], row["owner"], row["owner_domain"]),
                    tuple(map(from_document, json.loads(row["networks"]))),
                )
                for row in connection.execute("SELECT * FROM chutes ORDER BY chute")
            ]

        return await self._database.run(work)

    async def set_chute(self, owner: Owner, networks: Sequence[Network]) -> None:
        """Keeps a chute with its networks."""
        text = json.dumps([to_document(network) for network in networks])

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO chutes VALUES (?, ?, ?, ?)",
                (owner.chute, owner.name, owner.domain, text),
            )

        await self._database.run(work)

    async def remove_chute(self, chute: str) -> None:
        """Forgets a chute."""

        def work(connection: sqlite3.Connection) -> None:
            for table in ("chutes", "attachments"):
                connection.execute(f"DELETE FROM {table} WHERE chute = ?", (chute,))  # noqa: S608

        await self._database.run(work)

    async def attachments(self) -> Sequence[Attachment]:
        """Returns where the interfaces of chutes are."""
        return await self._database.run(
            lambda connection: [
                Attachment(row["chute"], row["name"], row["pid"], row["process_mark"])
                for row in connection.execute("SELECT * FROM attachments ORDER BY chute, name")
            ]
        )

    async def set_attachments(self, chute: str, attachments: Sequence[Attachment]) -> None:
        """Keeps where the interfaces of a chute are."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM attachments WHERE chute = ?", (chute,))
            connection.executemany(
                "INSERT INTO attachments VALUES (?, ?, ?, ?)",
                [(item.chute, item.name, item.pid, item.process_mark) for item in attachments],
            )

        await self._database.run(work)

    async def versions(self) -> Sequence[Version]:
        """Returns the versions that are kept, newest first, without their documents."""
        query = "SELECT version, create_time_s, author, change_id FROM versions ORDER BY version DESC"
        return await self._database.run(
            lambda connection: [Version(**dict(row)) for row in connection.execute(query)]
        )

    async def document(self, version: int) -> Mapping[str, Any] | None:
        """Returns the document of a version; None if it is not kept."""

        def work(connection: sqlite3.Connection) -> Mapping[str, Any] | None:
            row = connection.execute("SELECT document FROM versions WHERE version = ?", (version,)).fetchone()
            return dict(json.loads(row["document"])) if row else None

        return await self._database.run(work)

    async def host_state(self) -> HostState | None:
        """Returns which version is in force; None before the first."""

        def work(connection: sqlite3.Connection) -> HostState | None:
            row = connection.execute("SELECT state FROM host_state").fetchone()
            return HostState(**json.loads(row["state"])) if row else None

        return await self._database.run(work)

    async def add_version(self, version: Version, document: Mapping[str, Any], state: HostState) -> None:
        """Keeps a version and which one is in force, and forgets the oldest."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?)",
                (
                    version.version,
                    version.create_time_s,
                    version.author,
                    version.change_id,
                    json.dumps(document),
                ),
            )
            connection.execute(
                "DELETE FROM versions WHERE version NOT IN (?, ?) AND version NOT IN "
                "(SELECT version FROM versions ORDER BY version DESC LIMIT ?)",
                (state.version, state.previous, KEPT_VERSIONS),
            )
            _set_state(connection, state)

        await self._database.run(work)

    async def set_host_state(self, state: HostState) -> None:
        """Keeps which version is in force."""
        await self._database.run(lambda connection: _set_state(connection, state))

    async def borrowed(self) -> Mapping[str, Borrowed]:
        """Returns what interfaces had before they became ports of the bridge."""
        return await self._database.run(
            lambda connection: {
                row["interface"]: Borrowed(**json.loads(row["document"]))
                for row in connection.execute("SELECT * FROM borrowed")
            }
        )

    async def set_borrowed(self, interface: str, borrowed: Borrowed | None) -> None:
        """Keeps or forgets what an interface had."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM borrowed WHERE interface = ?", (interface,))
            if borrowed is not None:
                text = json.dumps({"address": borrowed.address, "gateway": borrowed.gateway})
                connection.execute("INSERT INTO borrowed VALUES (?, ?)", (interface, text))

        await self._database.run(work)


def _set_state(connection: sqlite3.Connection, state: HostState) -> None:
    text = json.dumps(state.to_document())
    connection.execute("INSERT OR REPLACE INTO host_state VALUES (1, ?)", (text,))

"""SQLite files with numbered migrations, used from threads and never from the event loop."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from services.common.errors import ResourceExhausted
from services.common.files import StateError, damaged
from services.common.reserve import Reserve

T = TypeVar("T")

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class Database:
    """One SQLite file in WAL mode behind one lock.

    `migrations` are SQL scripts; script number n brings `user_version` from n to n + 1. They are only ever
    appended to. Raises `StateError` if the file is damaged or of a later version of this software.
    """

    def __init__(
        self, path: Path, migrations: Sequence[str], synchronous: Literal["FULL", "NORMAL"] = "FULL"
    ) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._reserve = Reserve(path.with_name(f"{path.name}-reserve"))
        self._reserve.balance()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._connection.execute("PRAGMA foreign_keys = ON")
            # Some of what is deleted was secret: it is overwritten as far as that costs no more writes.
            self._connection.execute("PRAGMA secure_delete = FAST")
            self._migrate(migrations)
        except BaseException as error:
            # Also undoes what a migration that failed half-way has done.
            self._connection.close()
            self._refuse_damage(error)
            raise

    def _refuse_damage(self, error: BaseException) -> None:
        if isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", None) in _DAMAGED:
            raise damaged(self._path, str(error)) from error

    def _migrate(self, migrations: Sequence[str]) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise StateError(
                f"{self._path} is of a later version of Paradrop (schema {version}, here {len(migrations)}); "
                "install that version, or put a backup back with 'paradrop restore'."
            )
        for number, script in enumerate(migrations[version:], start=version + 1):
            self._connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")

    def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs work in one transaction in this thread; ResourceExhausted (DISK_FULL) if there is no room.

        On a full disk the work is done once more with the room that was kept back: what removes something has
        to be noted as well.
        """
        with self._lock:
            return self._call(work)

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            result = self._transaction(work)
        except ResourceExhausted as error:
            if error.reason != "DISK_FULL" or not self._reserve.release():
                raise
            return self._transaction(work)
        if not self._reserve.held:
            self._reserve.balance()
        return result

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = work(self._connection)
            self._connection.execute("COMMIT")
        except BaseException as error:
            # Some errors end the transaction, others leave it open, also those of the commit itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode in _NO_ROOM:
                raise _disk_full() from error
            self._refuse_damage(error)
            raise
        return result

    def erase(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs work like `call`; what it replaces or removes is then in no file any more."""
        with self._lock:
            self._connection.execute("PRAGMA secure_delete = ON")
            try:
                result = self._call(work)
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._connection.execute("PRAGMA secure_delete = FAST")
            return result

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs work in one transaction in a thread."""
        return await asyncio.to_thread(self.call, work)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()


def _disk_full() -> ResourceExhausted:
    return ResourceExhausted(
        "The disk of the node is full: what was asked for cannot be noted. Remove files, then try again.",
        reason="DISK_FULL",
    )

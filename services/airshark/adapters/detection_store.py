"""Keeps devices of the past, a bounded number of them, and the settings of the analysis."""

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from services.airshark.analysis.found import Device
from services.airshark.analysis.lifecycle import Track
from services.airshark.domain.analysis_settings import AnalysisSettings
from services.airshark.domain.detections import Detection
from services.common.database import Database
from services.common.errors import DomainError
from services.common.files import write_atomically

log = structlog.get_logger()

MAX_KEPT = 10_000
MIGRATIONS = [
    """
    CREATE TABLE detections (
        id INTEGER PRIMARY KEY,
        radio TEXT NOT NULL,
        device TEXT NOT NULL,
        first_seen_s REAL NOT NULL,
        last_seen_s REAL NOT NULL,
        active INTEGER NOT NULL,
        model_version TEXT NOT NULL,
        details TEXT NOT NULL
    ) STRICT;
    CREATE INDEX detections_by_last_seen ON detections (last_seen_s)
    """
]


class DetectionStore:
    """The history in SQLite."""

    def __init__(self, database: Database, max_kept: int = MAX_KEPT) -> None:
        self._database = database
        self._max_kept = max_kept

    async def next_id(self) -> int:
        """Returns the first number that was never given; ends what a stopped node left active."""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("UPDATE detections SET active = 0 WHERE active")
            (highest,) = connection.execute("SELECT coalesce(max(id), 0) FROM detections").fetchone()
            return int(highest) + 1

        return await self._database.run(work)

    async def save(self, detections: list[Detection]) -> None:
        """Adds devices, or replaces what is kept of them; the oldest go when there are too many."""
        rows = [_row(detection) for detection in detections]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO detections VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            connection.execute(
                "DELETE FROM detections WHERE id <= (SELECT max(id) FROM detections) - ?", (self._max_kept,)
            )

        await self._database.run(work)

    async def page(
        self, start_s: float, end_s: float, device: Device | None, before_id: int, size: int
    ) -> list[Detection]:
        """Returns devices heard in a time range, newest first, with numbers below `before_id`."""

        def work(connection: sqlite3.Connection) -> list[Detection]:
            found = connection.execute(
                "SELECT * FROM detections WHERE id < ? AND last_seen_s >= ? AND first_seen_s < ?"
                " AND (? = '' OR device = ?) ORDER BY id DESC LIMIT ?",
                (before_id, start_s, end_s, device or "", device or "", size),
            )
            return [_detection(row) for row in found]

        return await self._database.run(work)


def _row(detection: Detection) -> tuple[object, ...]:
    track = detection.track
    details = asdict(track) | {"channels": detection.channels}
    return (
        detection.id,
        detection.radio,
        track.device.value,
        detection.first_seen_s,
        detection.last_seen_s,
        int(track.active),
        detection.model_version,
        json.dumps(details),
    )


def _detection(row: sqlite3.Row) -> Detection:
    details: dict[str, Any] = json.loads(row["details"])
    channels = tuple(details.pop("channels"))
    details |= {"device": Device(row["device"]), "active": bool(row["active"])}
    return Detection(
        id=row["id"],
        radio=row["radio"],
        track=Track(**details),
        first_seen_s=row["first_seen_s"],
        last_seen_s=row["last_seen_s"],
        channels=channels,
        model_version=row["model_version"],
    )


class AnalysisSettingsFile:
    """The settings in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> AnalysisSettings:
        """Returns what was saved; the defaults if there is nothing that can be read."""
        try:
            document = json.loads(self._path.read_text())
            settings = AnalysisSettings(bool(document["continuous"]), int(document["alarm_severity"]))
            settings.check()
        except FileNotFoundError:
            return AnalysisSettings()
        except (OSError, ValueError, TypeError, KeyError, DomainError) as error:
            log.error("the settings of the analysis cannot be read and are ignored", reason=str(error))
            return AnalysisSettings()
        return settings

    def save(self, settings: AnalysisSettings) -> None:
        """Keeps settings."""
        write_atomically(self._path, json.dumps(asdict(settings)).encode())

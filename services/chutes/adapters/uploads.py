"""Takes uploads with bounded memory, checks them, and leaves nothing behind if they are bad."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from services.chutes.adapters.disk import disk_full_told, require_free
from services.chutes.adapters.durable import sync_tree
from services.chutes.adapters.folders import DiskFolders
from services.chutes.adapters.pieces import Piece, Slots, Upload
from services.chutes.adapters.sources import CHUTE_FILE, require_chute_file, require_dockerfiles
from services.chutes.adapters.tarball import extract
from services.chutes.domain.chutefile import parse_chute_file
from services.chutes.domain.errors import chute_name_mismatch
from services.chutes.domain.spec import Definition
from services.common.errors import DomainError

CONTENT_TYPE = "application/x-tar"
MAX_PARALLEL = 4
WRITE_BYTES = 1024 * 1024

Result = TypeVar("Result")

Install = Callable[[Definition, str | None, Piece], Awaitable[Result]]
"""Does what the first piece asks for with what was unpacked to a workspace, which is then no more ours."""


class Uploads:
    """Turns streams of tar pieces into changes."""

    def __init__(self, folders: DiskFolders, max_bytes: int) -> None:
        self._folders = folders
        self._max_bytes = max_bytes
        self._slots = Slots(MAX_PARALLEL)
        self._installing: set[asyncio.Task[Any]] = set()

    async def take(
        self, pieces: AsyncIterator[Piece], install: Install[Result], named: bool = False
    ) -> Result:
        """Receives an upload and returns what `install` makes of it.

        `named` uploads are for the chute that the first piece names, and for no other. On an error the
        rest is read as well before the error is raised: a plain HTTP client reads the answer only when it
        has sent all.
        """
        upload = Upload(pieces, [CONTENT_TYPE], self._max_bytes)
        try:
            async with self._slots.taken(), self._received(upload) as tar:
                task = asyncio.create_task(self._install(tar, install, upload.first, named))
                self._installing.add(task)
                task.add_done_callback(self._installing.discard)
                # Whether the caller is still there does not matter any more: the upload is whole.
                return await asyncio.shield(task)
        except DomainError:
            await upload.drain(2 * self._max_bytes)
            raise

    @asynccontextmanager
    async def _received(self, upload: Upload) -> AsyncIterator[Path]:
        path = self._folders.uploads / f"{secrets.token_hex(8)}.tar"
        try:
            await self._receive(upload, path)
            yield path
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _receive(self, upload: Upload, path: Path) -> None:
        buffer = bytearray()
        async for data in upload.data():
            buffer += data
            if len(buffer) >= WRITE_BYTES:
                await asyncio.to_thread(self._append, path, bytes(buffer))
                buffer.clear()
        await asyncio.to_thread(self._append, path, bytes(buffer))

    def _append(self, path: Path, data: bytes) -> None:
        require_free(self._folders.uploads, len(data))
        with disk_full_told(), path.open("ab") as file:
            file.write(data)

    async def _install(self, tar: Path, install: Install[Result], first: Piece, named: bool) -> Result:
        workspace = secrets.token_hex(8)
        try:
            definition = await asyncio.to_thread(self._unpack, tar, workspace)
            if named and first.chute != definition.spec.name:
                raise chute_name_mismatch(definition.spec.name, first.chute)
            if definition.download is not None:
                # Its files are elsewhere; those that came with the description are not needed.
                await self._folders.remove_workspace(workspace)
                return await install(definition, None, first)
            return await install(definition, workspace, first)
        except Exception:
            await self._folders.remove_workspace(workspace)
            raise

    def _unpack(self, tar: Path, workspace: str) -> Definition:
        require_free(self._folders.uploads, tar.stat().st_size)
        target = self._folders.workspace(workspace)
        with disk_full_told():
            extract(tar, target, self._max_bytes)
            require_chute_file(target)
            definition = parse_chute_file((target / CHUTE_FILE).read_bytes())
            if definition.download is None:
                require_dockerfiles(target, definition.spec)
            sync_tree(target)
        return definition

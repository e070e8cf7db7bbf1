"""Takes uploads with bounded memory, checks them, and leaves nothing behind if they are bad."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from services.chutes.adapters.disk import disk_full_told, require_free
from services.chutes.adapters.durable import sync_tree
from services.chutes.adapters.folders import DiskFolders
from services.chutes.adapters.sources import CHUTE_FILE, require_chute_file, require_dockerfiles
from services.chutes.adapters.tarball import extract
from services.chutes.domain.chutefile import parse_chute_file
from services.chutes.domain.errors import chute_name_mismatch
from services.chutes.domain.spec import Definition
from services.common.errors import DeadlineExceeded, DomainError, InvalidArgument, ResourceExhausted

CONTENT_TYPE = "application/x-tar"
MAX_PARALLEL = 4
MAX_SILENCE_S = 60.0
WRITE_BYTES = 1024 * 1024

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an upload as it came. All but the data counts in the first one."""

    data: bytes
    content_type: str = ""
    chute: str = ""
    """Name in the path of an update."""
    force: bool = False
    """Whether an update lock does not count."""
    dry_run: bool = False
    """Whether only the plan is wanted."""


Install = Callable[[Definition, str | None, Piece], Awaitable[Result]]
"""Does what the first piece asks for with what was unpacked to a workspace, which is then no more ours."""


class Uploads:
    """Turns streams of tar pieces into changes."""

    def __init__(self, folders: DiskFolders, max_bytes: int) -> None:
        self._folders = folders
        self._max_bytes = max_bytes
        self._active = 0
        self._installing: set[asyncio.Task[Any]] = set()

    async def take(
        self, pieces: AsyncIterator[Piece], install: Install[Result], named: bool = False
    ) -> Result:
        """Receives an upload and returns what `install` makes of it.

        `named` uploads are for the chute that the first piece names, and for no other. On an error the
        rest is read as well before the error is raised: a plain HTTP client reads the answer only when it
        has sent all.
        """
        upload = _Upload(pieces, self._max_bytes)
        try:
            async with self._slot(), self._received(upload) as tar:
                task = asyncio.create_task(self._install(tar, install, upload.first, named))
                self._installing.add(task)
                task.add_done_callback(self._installing.discard)
                # Whether the caller is still there does not matter any more: the upload is whole.
                return await asyncio.shield(task)
        except DomainError:
            await upload.drain()
            raise

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._active >= MAX_PARALLEL:
            raise ResourceExhausted(
                f"{MAX_PARALLEL} uploads are being received already; try again in a few seconds.",
                reason="TOO_MANY_UPLOADS",
                retry_after_s=5,
                limit=str(MAX_PARALLEL),
            )
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    @asynccontextmanager
    async def _received(self, upload: "_Upload") -> AsyncIterator[Path]:
        path = self._folders.uploads / f"{secrets.token_hex(8)}.tar"
        try:
            await self._receive(upload, path)
            yield path
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _receive(self, upload: "_Upload", path: Path) -> None:
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


class _Upload:
    """One stream of pieces, read within its limits."""

    def __init__(self, pieces: AsyncIterator[Piece], max_bytes: int) -> None:
        self._pieces = pieces
        self._max_bytes = max_bytes
        self._read_bytes = 0
        self._ended = False
        self.first = Piece(b"")

    async def data(self) -> AsyncIterator[bytes]:
        """Yields the bytes, or raises what is wrong with the upload."""
        first = await self._next()
        if first is None:
            raise _empty()
        if first.content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
            raise InvalidArgument(
                f"The content type of an upload must be {CONTENT_TYPE}, not {first.content_type!r}.",
                reason="CONTENT_TYPE_WRONG",
                field="content.content_type",
                content_type=first.content_type,
            )
        self.first = replace(first, data=b"")
        piece: Piece | None = first
        while piece is not None:
            if self._read_bytes > self._max_bytes:
                raise ResourceExhausted(
                    f"The upload is larger than {self._max_bytes} bytes; leave out what the chute does not "
                    "need, or raise PARADROP_MAX_UPLOAD_MIB.",
                    reason="UPLOAD_TOO_LARGE",
                    limit_bytes=str(self._max_bytes),
                )
            yield piece.data
            piece = await self._next()
        if not self._read_bytes:
            raise _empty()

    async def drain(self) -> None:
        """Reads and forgets the rest, up to once more the limit."""
        while not self._ended and self._read_bytes <= 2 * self._max_bytes:
            await self._next()

    async def _next(self) -> Piece | None:
        try:
            async with asyncio.timeout(MAX_SILENCE_S):
                piece = await anext(self._pieces, None)
        except TimeoutError:
            self._ended = True
            raise DeadlineExceeded(
                f"Nothing of the upload came for {MAX_SILENCE_S:.0f} seconds; send it again.",
                reason="UPLOAD_STALLED",
            ) from None
        if piece is None:
            self._ended = True
        else:
            self._read_bytes += len(piece.data)
        return piece


def _empty() -> InvalidArgument:
    return InvalidArgument(
        f"The upload is empty; send a tar file with {CHUTE_FILE} at its root.", reason="UPLOAD_EMPTY"
    )

"""Fetches the files of chutes that are elsewhere, and unpacks them as carefully as uploads."""

import asyncio
import gzip
import secrets
import threading
import time
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from services.chutes.adapters.disk import disk_full_told, require_free
from services.chutes.adapters.docker_context import DOCKERFILE
from services.chutes.adapters.durable import sync_tree
from services.chutes.adapters.folders import DiskFolders
from services.chutes.adapters.git_files import GitFiles
from services.chutes.adapters.https_files import HttpsFiles, Place, too_large
from services.chutes.adapters.sources import CHUTE_FILE, require_chute_file
from services.chutes.adapters.tarball import extract
from services.chutes.adapters.threads import to_its_end
from services.chutes.domain.chuteyaml import load_mapping
from services.chutes.domain.fetching import DEADLINE_S
from services.chutes.domain.ports import OnLine
from services.chutes.domain.spec import Download
from services.common.errors import DomainError, FailedPrecondition, InvalidArgument

TOLD_BYTES = 10 * 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 256 * 1024


class Downloads:
    """`services.chutes.domain.ports.Fetcher`: tar files over HTTPS, and git repositories over HTTPS."""

    def __init__(
        self, folders: DiskFolders, max_bytes: int, trusted: Collection[str] = (), ca_file: Path | None = None
    ) -> None:
        self._folders = folders
        self._max_bytes = max_bytes
        self._files = HttpsFiles(trusted, ca_file)
        self._git = GitFiles(trusted, ca_file)

    async def fetch(self, download: Download, workspace: str, on_line: OnLine) -> Mapping[str, Any] | None:
        """Brings files into a new workspace and returns what their paradrop.yaml says, or None."""
        scratch = secrets.token_hex(8)
        # Below the folder of uploads, so that what a crash leaves goes with theirs.
        folder = self._folders.uploads / scratch
        tar = folder / "files.tar"
        place = Place(download.url, download.credentials)
        try:
            await to_its_end(folder.mkdir)
            on_line(f"Fetching the files of the chute from {place.host}.")
            if download.type == "git":
                await self._git.archive(place, download.checkout, folder / "git", tar, self._max_bytes)
            else:
                await self._read(place, tar, on_line)
            return await to_its_end(self._unpack, tar, workspace)
        except BaseException:
            await self._folders.remove_workspace(workspace)
            raise
        finally:
            await self._folders.remove_upload(scratch)

    async def _read(self, place: Place, tar: Path, on_line: OnLine) -> None:
        loop = asyncio.get_running_loop()
        given_up = threading.Event()

        def say(line: str) -> None:
            if not given_up.is_set():
                loop.call_soon_threadsafe(on_line, line)

        await to_its_end(self._receive, place, tar, say, given_up, on_cancel=given_up.set)

    def _receive(self, place: Place, tar: Path, say: OnLine, given_up: threading.Event) -> None:
        received = told = 0
        deadline_s = time.monotonic() + DEADLINE_S
        with disk_full_told(), tar.open("wb") as output:
            for chunk in self._files.read(place, self._max_bytes, deadline_s):
                if given_up.is_set():
                    return
                require_free(tar.parent, len(chunk))
                output.write(chunk)
                received += len(chunk)
                if received - told >= TOLD_BYTES:
                    told = received
                    say(f"Fetched {received / 1e6:.0f} MB")
        say(f"Fetched {received} bytes")

    def _unpack(self, tar: Path, workspace: str) -> Mapping[str, Any] | None:
        target = self._folders.workspace(workspace)
        with disk_full_told():
            tar = self._uncompressed(tar)
            try:
                extract(tar, target, self._max_bytes)
            except InvalidArgument as error:
                # What was sent to the node is right; what it fetched is not.
                raise FailedPrecondition(str(error), reason=error.reason) from error
            _lift(target)
            document: dict[str, Any] | None = None
            if (target / CHUTE_FILE).exists():
                require_chute_file(target)
                document = load_mapping((target / CHUTE_FILE).read_bytes())
            elif not (target / DOCKERFILE).is_file():
                raise FailedPrecondition(
                    f"The download has neither a {CHUTE_FILE} nor a {DOCKERFILE} at its root; add one.",
                    reason="CHUTE_FILE_MISSING",
                )
            sync_tree(target)
        return document

    def _uncompressed(self, tar: Path) -> Path:
        with tar.open("rb") as file:
            if file.read(2) != GZIP_MAGIC:
                return tar
        plain = tar.with_name("plain.tar")
        # Names and paddings of the tar come on top of what is in it.
        most_bytes = self._max_bytes + self._max_bytes // 4 + 64 * 1024 * 1024
        with plain.open("wb") as output:
            written = 0
            for chunk in _gunzipped(tar):
                written += len(chunk)
                if written > most_bytes:
                    raise too_large(self._max_bytes)
                require_free(tar.parent, len(chunk))
                output.write(chunk)
        tar.unlink()
        return plain


def _gunzipped(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _corrupt() from error


def _corrupt() -> DomainError:
    return FailedPrecondition(
        "What was fetched is no tar file, or it is damaged; see that the address is right.",
        reason="DOWNLOAD_FAILED",
    )


def _lift(target: Path) -> None:
    """Brings a chute that is in the only folder of a tar, as code hosts make them, up to the root."""
    inside = list(target.iterdir())
    if len(inside) != 1 or inside[0].is_symlink() or not inside[0].is_dir():
        return
    lifted = target.with_name(f"{target.name}.lifted")
    inside[0].rename(lifted)
    target.rmdir()
    lifted.rename(target)

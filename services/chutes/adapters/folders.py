"""The folders of the chutes on disk."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import structlog

from services.chutes.adapters import updatelock
from services.chutes.adapters.sources import require_dockerfiles
from services.chutes.domain.chute import Actor
from services.chutes.domain.spec import ChuteSpec
from services.common.errors import InvalidArgument
from services.common.files import sync_dir

CHUTE_UID = 999
"""User that the containers of light chutes run as."""

log = structlog.get_logger()


class DiskFolders:
    """Keeps all folders below one root, so that what is removed is first moved aside at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("data", "system", "work", "trash", "uploads", "kept"):
            (root / name).mkdir(mode=0o700, exist_ok=True)

    @property
    def uploads(self) -> Path:
        """Folder of the uploads that are being received."""
        return self._root / "uploads"

    def data(self, chute: str) -> Path:
        """Returns the folder that a chute keeps its data in."""
        return self._root / "data" / chute

    def system(self, chute: str) -> Path:
        """Returns the folder through which the node tells a chute something."""
        return self._root / "system" / chute

    def workspace(self, name: str) -> Path:
        """Returns the folder that an upload was unpacked to."""
        return self._root / "work" / name

    async def create(self, chute: str, empty: bool) -> None:
        """Makes the folders of a chute; empty ones in place of what may be left over if so asked."""
        if empty:
            await self.remove(chute)
        await asyncio.to_thread(self._create, chute)

    def _create(self, chute: str) -> None:
        data, system = self.data(chute), self.system(chute)
        data.mkdir(exist_ok=True)
        system.mkdir(exist_ok=True)
        system.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(data, CHUTE_UID, CHUTE_UID)
            data.chmod(0o755)
        else:
            # The container's user is another one; nobody else gets here, as the folders above are private.
            data.chmod(0o777)
        for path in (data, system):
            sync_dir(path.parent)

    async def remove(self, chute: str) -> None:
        """Removes the folders of a chute at once, even if their content takes long."""
        await asyncio.to_thread(self._remove, [self.data(chute), self.system(chute)])

    async def keep(self, chute: str, owner: Actor) -> None:
        """Puts the data of a chute aside for its owner, in place of what was put aside before."""
        await asyncio.to_thread(self._keep, self.data(chute), self._kept(chute, owner))

    async def has_kept(self, chute: str, owner: Actor) -> bool:
        """Tells whether data of a chute of this name was put aside for somebody."""
        return await asyncio.to_thread(self._kept(chute, owner).is_dir)

    async def take_kept(self, chute: str, owner: Actor) -> None:
        """Makes what was put aside the data of a chute; it stays if it has been made so already."""
        await asyncio.to_thread(self._keep, self._kept(chute, owner), self.data(chute))

    def _kept(self, chute: str, owner: Actor) -> Path:
        # A controller may name its users as it likes.
        key = sha256(f"{owner.domain}\0{owner.name}".encode()).hexdigest()[:16]
        return self._root / "kept" / f"{chute}.{key}"

    def _keep(self, source: Path, target: Path) -> None:
        if not source.is_dir():
            return
        self._remove([target])
        source.rename(target)
        sync_dir(source.parent)
        sync_dir(target.parent)

    async def put_data(self, chute: str, imported: str) -> None:
        """Makes the data that an import has brought the data of a chute; what it had is put aside."""
        await asyncio.to_thread(self._put_data, chute, self.workspace(imported), self._aside(chute, imported))

    def _put_data(self, chute: str, imported: Path, aside: Path) -> None:
        if not imported.is_dir():
            return
        data = self.data(chute)
        # Each folder is at its old or its new place: so it can be seen how far a crash let it come.
        if not aside.exists():
            data.rename(aside)
        imported.rename(data)
        sync_dir(imported.parent)
        sync_dir(data.parent)
        self._create(chute)

    async def take_back_data(self, chute: str, imported: str) -> None:
        """Takes `put_data` back, as far as it was done."""
        await asyncio.to_thread(
            self._take_back_data, self.data(chute), self.workspace(imported), self._aside(chute, imported)
        )

    def _take_back_data(self, data: Path, imported: Path, aside: Path) -> None:
        if not aside.exists():
            return
        if data.exists():
            data.rename(imported)
            sync_dir(imported.parent)
        aside.rename(data)
        sync_dir(data.parent)

    async def remove_earlier_data(self, chute: str, imported: str) -> None:
        """Removes what `put_data` has put aside."""
        await asyncio.to_thread(self._remove, [self._aside(chute, imported)])

    def _aside(self, chute: str, imported: str) -> Path:
        # No chute can be called so. Not among what is swept: it is data if it cannot be taken back.
        return self._root / "data" / f"{chute}.{imported}"

    async def lock(self, chute: str) -> str | None:
        """Returns why a chute does not want to be taken down, "" without a reason; None if it may be."""
        return await asyncio.to_thread(updatelock.read, self.data(chute))

    async def set_lock(self, chute: str, reason: str) -> bool:
        """Locks a chute; tells whether it was not locked before."""
        return await asyncio.to_thread(updatelock.write, self.data(chute), reason)

    async def remove_lock(self, chute: str) -> None:
        """Ends the lock of a chute."""
        await asyncio.to_thread(self._remove, [self.data(chute) / updatelock.FILE_NAME])

    async def free_bytes(self) -> int:
        """Returns how much room there is for the files of chutes."""
        return (await asyncio.to_thread(shutil.disk_usage, self._root)).free

    async def workspace_bytes(self, name: str) -> int:
        """Returns how large an unpacked upload is."""
        return await asyncio.to_thread(_tree_bytes, self.workspace(name))

    async def require_dockerfiles(self, workspace: str, spec: ChuteSpec) -> None:
        """Raises InvalidArgument (DOCKERFILE_MISSING) if a service cannot be built from what is there."""
        try:
            await asyncio.to_thread(require_dockerfiles, self.workspace(workspace), spec)
        except InvalidArgument as error:
            # Nobody sends files here: it is the description that does not fit them.
            error.field = f"services.{error.facts['service']}.type"
            raise

    async def remove_workspace(self, name: str) -> None:
        """Removes what an upload was unpacked to."""
        await asyncio.to_thread(self._remove, [self.workspace(name)])

    async def remove_upload(self, name: str) -> None:
        """Removes what was being received under a name."""
        await asyncio.to_thread(self._remove, [self.uploads / name])

    async def clean(self, workspaces: Sequence[str]) -> None:
        """Removes what crashes have left, except these workspaces."""
        await asyncio.to_thread(self._clean, set(workspaces))

    def _clean(self, workspaces: set[str]) -> None:
        self._remove(path for path in (self._root / "work").iterdir() if path.name not in workspaces)
        self._remove(self.uploads.iterdir())
        for path in (self._root / "trash").iterdir():
            _delete(path)

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            trash = self._root / "trash" / f"{path.name}.{secrets.token_hex(4)}"
            try:
                path.rename(trash)
            except FileNotFoundError:
                continue
            sync_dir(path.parent)
            _delete(trash)


def _delete(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning(
            "cannot delete a folder; it is tried again at the next start", path=str(path), error=str(error)
        )


def _tree_bytes(root: Path) -> int:
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(root) for name in names
    )

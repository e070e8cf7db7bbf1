"""The folders of the chutes, as the domain needs them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from services.chutes.domain.chute import Actor
from services.chutes.domain.spec import ChuteSpec


class Folders(Protocol):
    """The folders of the chutes. Making what is there and removing what is absent is no error."""

    def data(self, chute: str) -> Path:
        """Returns the folder that a chute keeps its data in."""

    def system(self, chute: str) -> Path:
        """Returns the folder through which the node tells a chute something."""

    def workspace(self, name: str) -> Path:
        """Returns the folder that an upload was unpacked to."""

    async def create(self, chute: str, empty: bool) -> None:
        """Makes the folders of a chute; empty ones in place of what may be left over if so asked."""

    async def remove(self, chute: str) -> None:
        """Removes the folders of a chute at once, even if their content takes long."""

    async def keep(self, chute: str, owner: Actor) -> None:
        """Puts the data of a chute aside for its owner, in place of what was put aside before."""

    async def has_kept(self, chute: str, owner: Actor) -> bool:
        """Tells whether data of a chute of this name was put aside for somebody."""

    async def take_kept(self, chute: str, owner: Actor) -> None:
        """Makes what was put aside the data of a chute; it stays if it has been made so already."""

    async def put_data(self, chute: str, imported: str) -> None:
        """Makes the data that an import has brought the data of a chute; what it had is put aside.

        As every step of a change it may be called again after it was done, in whole or in part.
        """

    async def take_back_data(self, chute: str, imported: str) -> None:
        """Takes `put_data` back, as far as it was done."""

    async def remove_earlier_data(self, chute: str, imported: str) -> None:
        """Removes what `put_data` has put aside."""

    async def lock(self, chute: str) -> str | None:
        """Returns why a chute does not want to be taken down, "" without a reason; None if it may be."""

    async def set_lock(self, chute: str, reason: str) -> bool:
        """Locks a chute; tells whether it was not locked before."""

    async def remove_lock(self, chute: str) -> None:
        """Ends the lock of a chute."""

    async def free_bytes(self) -> int:
        """Returns how much room there is for the files of chutes."""

    async def workspace_bytes(self, name: str) -> int:
        """Returns how large an unpacked upload is."""

    async def require_dockerfiles(self, workspace: str, spec: ChuteSpec) -> None:
        """Raises InvalidArgument (DOCKERFILE_MISSING) if a service cannot be built from what is there."""

    async def remove_workspace(self, name: str) -> None:
        """Removes what an upload was unpacked to."""

    async def clean(self, workspaces: Sequence[str]) -> None:
        """Removes what crashes have left, except these workspaces."""

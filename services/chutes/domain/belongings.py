"""The steps that give a chute what belongs to it besides images and containers: folders, token, network."""
# ruff: noqa: D102 (`Step` says what every do and undo is.)

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.chutes.domain.chute import Actor
from services.chutes.domain.steps import Run, Step


@dataclass(frozen=True)
class CreateFolders(Step):
    """Makes the folders of the chute: empty for a new one, or with what its owner has kept."""

    label = "create_folders"
    chute: str
    new: bool
    kept_for: Actor | None = None
    """Whose kept data it is that a new chute gets; None for empty folders."""

    async def do(self, run: Run) -> None:
        if self.kept_for is not None:
            await run.folders.take_kept(self.chute, self.kept_for)
        await run.folders.create(self.chute, empty=self.new and self.kept_for is None)

    async def undo(self, run: Run) -> None:
        if not self.new:
            return
        if self.kept_for is not None:
            await run.folders.keep(self.chute, self.kept_for)
        await run.folders.remove(self.chute)


@dataclass(frozen=True)
class PutData(Step):
    """Puts data that was imported in the place of what the chute has; undone, that comes back."""

    label = "put_data"
    chute: str
    data: str
    """Name of the folder that the data was unpacked to."""

    async def do(self, run: Run) -> None:
        await run.folders.put_data(self.chute, self.data)

    async def undo(self, run: Run) -> None:
        await run.folders.take_back_data(self.chute, self.data)


@dataclass(frozen=True)
class RemoveEarlierData(Step):
    """Removes the data that the imported one has taken the place of."""

    label = "remove_earlier_data"
    chute: str
    data: str

    async def do(self, run: Run) -> None:
        await run.folders.remove_earlier_data(self.chute, self.data)


@dataclass(frozen=True)
class RemoveSources(Step):
    """Removes the files that images were built from which are not needed any more."""

    label = "remove_sources"
    sources: Sequence[str]

    async def do(self, run: Run) -> None:
        for workspace in self.sources:
            await run.folders.remove_workspace(workspace)


@dataclass(frozen=True)
class IssueToken(Step):
    """Gives the chute a new token for its new containers; what the ones before had ends."""

    label = "issue_token"
    chute: str
    former: str = field(repr=False)
    """The token of the containers before; empty if there were none."""

    async def do(self, run: Run) -> None:
        run.token = await run.tokens.issue(self.chute, self.former)

    async def undo(self, run: Run) -> None:
        if self.former:
            await run.tokens.restore(self.chute, self.former)
        else:
            await run.tokens.revoke(self.chute)


@dataclass(frozen=True)
class CreateNetwork(Step):
    """Makes sure of the chute's network; that of a new chute goes again."""

    label = "create_network"
    chute: str
    new: bool

    async def do(self, run: Run) -> None:
        await run.engine.ensure_network(self.chute, self.chute)

    async def undo(self, run: Run) -> None:
        if self.new:
            await run.engine.remove_network(self.chute)


@dataclass(frozen=True)
class RemoveNetwork(Step):
    """Removes the chute's network."""

    label = "remove_network"
    chute: str

    async def do(self, run: Run) -> None:
        await run.engine.remove_network(self.chute)

    async def undo(self, run: Run) -> None:
        await run.engine.ensure_network(self.chute, self.chute)


@dataclass(frozen=True)
class RevokeToken(Step):
    """Ends the token of a chute that is removed or stopped."""

    label = "revoke_token"
    chute: str

    async def do(self, run: Run) -> None:
        await run.tokens.revoke(self.chute)


@dataclass(frozen=True)
class RemoveFolders(Step):
    """Removes the folders of a chute that is gone; its data stays if that was asked for."""

    label = "remove_folders"
    chute: str
    keep_for: Actor | None = None
    """Who gets the data back when they install a chute of the name; None removes it."""

    async def do(self, run: Run) -> None:
        if self.keep_for is not None:
            await run.folders.keep(self.chute, self.keep_for)
        await run.folders.remove(self.chute)

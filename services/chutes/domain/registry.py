"""The installed chutes, in memory."""

from collections.abc import Iterable, Mapping, Sequence

from services.chutes.domain.allocation import cpu_shares
from services.chutes.domain.change import Situation
from services.chutes.domain.chute import Chute
from services.chutes.domain.errors import chute_not_found
from services.common.feed import Feed


class Registry:
    """A copy of the chutes in the journal, so that reading them costs nothing."""

    def __init__(self) -> None:
        self._chutes: dict[str, Chute] = {}
        self._generation = 0
        self._shares: Mapping[str, int] | None = None
        self.changes: Feed[None] = Feed()
        """Tells that a chute has changed."""
        self.paused: set[str] = set()
        """Chutes whose containers are held still while their data is read."""

    @property
    def installed(self) -> Mapping[str, Chute]:
        """The chutes by name."""
        return self._chutes

    @property
    def generation(self) -> int:
        """Grows whenever a chute changes."""
        return self._generation

    def find(self, name: str) -> Chute:
        """Returns a chute or raises NotFound (CHUTE_NOT_FOUND)."""
        chute = self._chutes.get(name)
        if chute is None:
            raise chute_not_found(name)
        return chute

    def needs_sources(self, workspace: str) -> bool:
        """Tells whether a chute keeps a workspace to build its images from again."""
        return any(chute.sources == workspace for chute in self._chutes.values())

    def cpu_shares(self) -> Mapping[str, int]:
        """Returns the shares of the processor of each container that should run."""
        if self._shares is None:
            running = (chute.spec for chute in self._chutes.values() if chute.desired == "running")
            self._shares = cpu_shares(running)
        return self._shares

    def fill(self, chutes: Iterable[Chute]) -> None:
        """Takes over what the journal holds."""
        self._chutes = {chute.name: chute for chute in chutes}
        self._changed()

    def update(self, outcome: Mapping[str, Chute | None]) -> None:
        """Takes over what was committed: chutes by name, None for one that is gone."""
        for name, chute in outcome.items():
            if chute is None:
                self._chutes.pop(name, None)
            else:
                self._chutes[name] = chute
        self._changed()

    def _changed(self) -> None:
        self._generation += 1
        self._shares = None
        self.changes.publish(None)

    def wanted_objects(self, situations: Iterable[Situation] = ()) -> dict[str, Sequence[str]]:
        """Returns the containers, networks and images that the chutes need, and changes that run may need."""
        running = [chute for chute in self._chutes.values() if chute.desired == "running"]
        touched = [chute for situation in situations for chute in (situation.old, situation.new) if chute]
        chutes = [*self._chutes.values(), *touched]
        return {
            "containers": sorted(
                {name for chute in [*running, *touched] for name in chute.containers.values()}
            ),
            "networks": sorted({chute.name for chute in chutes}),
            "images": sorted({tag for chute in chutes for tag in chute.images.values()}),
        }

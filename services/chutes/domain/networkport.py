"""What changes of chutes need from the network service."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from services.chutes.domain.chute import Actor
from services.common.errors import FailedPrecondition


@dataclass(frozen=True, slots=True)
class WantedNetwork:
    """A network that a chute's author asks for."""

    name: str
    """Interface in the container."""
    service: str
    definition: Mapping[str, Any] = field(repr=False)
    section: str = ""
    """What the old form calls it; empty if it has no other name."""


class Networks(Protocol):
    """The network service. Each call raises what it refuses, with the network service's own reason."""

    async def apply(
        self,
        chute: str,
        owner: Actor,
        wanted: Sequence[WantedNetwork],
        system_dir: Path,
        validate_only: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        """Gives a chute exactly these networks and returns what its cache says of them."""

    async def attach(self, chute: str, pids: Mapping[str, int]) -> None:
        """Puts the interfaces of a chute into its containers; a process of each service is named."""

    async def release(self, chute: str) -> None:
        """Takes a chute's networks away and forgets it."""

    async def sync(self, owners: Mapping[str, Actor], forget_others: bool, busy: Collection[str]) -> None:
        """Tells which chutes there are; the networks of others go if so asked, but not those of busy ones."""


class NoNetworks:
    """Stands for the network service where there is none."""

    async def apply(
        self,
        chute: str,
        owner: Actor,
        wanted: Sequence[WantedNetwork],
        system_dir: Path,
        validate_only: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        """Refuses networks."""
        if wanted:
            raise FailedPrecondition(
                f"Chute {chute} asks for networks, and this node has no network service.",
                reason="NETWORKS_NOT_AVAILABLE",
                chute=chute,
            )
        return ()

    async def attach(self, chute: str, pids: Mapping[str, int]) -> None:
        """There is nothing to attach."""

    async def release(self, chute: str) -> None:
        """There is nothing to release."""

    async def sync(self, owners: Mapping[str, Actor], forget_others: bool, busy: Collection[str]) -> None:
        """There is nobody to tell."""

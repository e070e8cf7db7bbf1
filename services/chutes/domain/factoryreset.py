"""Setting the node back to the state it was delivered in, as a change of the node."""
# ruff: noqa: D102 (`Step` and `NodeChange` say what every method is.)

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.chutes.domain.belongings import RemoveSources
from services.chutes.domain.chute import Chute
from services.chutes.domain.hostconfig import ApplyHostConfig, HostConfiguration, ProveHostConfig
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.planner import Plan
from services.chutes.domain.steps import Run, Step
from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable
from services.common.identity import SYSTEM

REMOVED = (
    "all chutes with their containers, networks, images, tokens and data",
    "the host configuration; the default one for the hardware that is present takes its place",
    "the tie to a controller, and what waits to be told to it",
)
KEPT = (
    "users and their passwords",
    "keys, certificates and settings",
    "earlier versions of the host configuration",
    "SSH keys",
    "the record of changes",
    "whatever in the container engine is not of this node",
)


@dataclass(frozen=True)
class RemoveChute(Step):
    """Ends the token of a chute and removes its folders."""

    label = "remove_chute"
    chute: str

    @property
    def name(self) -> str:
        return f"{self.label} {self.chute}"

    async def do(self, run: Run) -> None:
        await run.tokens.revoke(self.chute)
        await run.folders.remove(self.chute)


@dataclass(frozen=True)
class LeaveHostConfig(Step):
    """Leaves the host configuration as it is, because the network service does not answer."""

    label = "leave_host_config"

    async def do(self, run: Run) -> None:
        run.say("The network service does not answer: the host configuration stays as it is.")


@dataclass(frozen=True)
class SweepEngine(Step):
    """Removes everything of this node from the engine; what is not labelled as ours stays."""

    label = "sweep_engine"

    async def do(self, run: Run) -> None:
        await run.engine.sweep({"containers": (), "networks": (), "images": ()})


class FactoryReset(NodeChange):
    """Brings the default host configuration back, and removes all chutes and everything of theirs.

    The configuration must prove itself first: one that cuts the node off is taken back, and nothing is
    removed. Then the change is committed. From there it only goes forward, also over a power cut, and the
    node never starts half of what it had.
    """

    type = "factoryreset"
    keys = ("chutes",)
    needs_engine = True
    exclusive = True

    def __init__(self, host: HostConfiguration | None = None) -> None:
        """Without `host` there is no network service whose configuration could be set back."""
        self._host = host

    def check(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        names = payload.get("chutes")
        if names is not None and not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
            raise InvalidArgument(
                "chutes must be a list of names.", reason="CHANGE_INVALID", field="change.chutes"
            )
        return payload

    async def look(self, payload: Mapping[str, Any], installed: Mapping[str, Chute]) -> Mapping[str, Any]:
        confirmed = payload.get("chutes")
        if confirmed is not None and sorted(confirmed) != sorted(installed):
            names = ", ".join(sorted(installed)) or "no chutes"
            raise FailedPrecondition(
                f"Installed are now: {names}. Confirm these, and try again.",
                reason="RESET_NOT_AS_CONFIRMED",
            )
        try:
            default = await self._host.default() if self._host else None
        except Unavailable:
            default = None
        sources = [chute.sources for chute in installed.values() if chute.sources]
        return {"chutes": sorted(installed), "sources": sources, "hostconfig": default}

    def plan(self, change_id: int, payload: Mapping[str, Any], facts: Mapping[str, Any]) -> Plan:
        chutes, default = facts["chutes"], facts.get("hostconfig")
        steps: tuple[Step, ...] = ()
        if self._host is not None and default is not None:
            steps = (
                ApplyHostConfig(self._host, change_id, default, SYSTEM.name, 0),
                ProveHostConfig(self._host, change_id),
            )
        elif self._host is not None:
            steps = (LeaveHostConfig(),)
        sources = RemoveSources(tuple(facts.get("sources", ())))
        return Plan(steps, (SweepEngine(), *map(RemoveChute, chutes), sources), tuple(chutes))

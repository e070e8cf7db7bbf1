"""Networks of chutes as part of their changes: checked first, made before the containers, put into them."""
# ruff: noqa: D102 (`Step` says what every do and undo is.)

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.chutes.domain.chute import Actor, Chute
from services.chutes.domain.containersteps import tell_last_lines
from services.chutes.domain.networkport import Networks, WantedNetwork
from services.chutes.domain.ports import ContainerState
from services.chutes.domain.spec import ChuteSpec
from services.chutes.domain.steps import Run, Step
from services.common.errors import FailedPrecondition


def wanted_networks(spec: ChuteSpec) -> tuple[WantedNetwork, ...]:
    """Returns the networks of a chute in the order of its services."""
    sections = {
        entry.get("intfName"): name
        for name, entry in (spec.config.get("net") or {}).items()
        if isinstance(entry, Mapping)
    }
    return tuple(
        WantedNetwork(name, service.name, definition, sections.get(name, ""))
        for service in spec.services.values()
        for name, definition in service.interfaces.items()
    )


@dataclass(frozen=True)
class CheckNetworks(Step):
    """Fails early if a network cannot be had."""

    label = "check_networks"
    chute: Chute

    async def do(self, run: Run) -> None:
        await _apply(run, self.chute, validate_only=True)


@dataclass(frozen=True)
class LeaveNetworks(Step):
    """Marks where containers lose their interfaces: undone, those that run again get them again."""

    label = "leave_networks"
    chute: Chute

    async def do(self, run: Run) -> None:
        """The interfaces go with the containers."""

    async def undo(self, run: Run) -> None:
        await _attach(run, self.chute)


@dataclass(frozen=True)
class SetUpNetworks(Step):
    """Gives the chute the networks it will have; undone, those it had."""

    label = "set_up_networks"
    chute: Chute
    old: Chute | None

    async def do(self, run: Run) -> None:
        run.network_interfaces = tuple(await _apply(run, self.chute))

    async def undo(self, run: Run) -> None:
        if self.old is None:
            await run.networks.release(self.chute.name)
        else:
            await _apply(run, self.old)


@dataclass(frozen=True)
class TakeDownNetworks(Step):
    """Takes the chute's networks away while it is stopped or removed; undone, it has them again."""

    label = "take_down_networks"
    chute: Chute

    async def do(self, run: Run) -> None:
        run.network_interfaces = ()
        folder = run.folders.system(self.chute.name)
        await run.networks.apply(self.chute.name, self.chute.owner, (), folder)

    async def undo(self, run: Run) -> None:
        await _apply(run, self.chute)


@dataclass(frozen=True)
class AttachNetworks(Step):
    """Puts the interfaces into the containers."""

    label = "attach_networks"
    chute: Chute

    async def do(self, run: Run) -> None:
        await _attach(run, self.chute)


async def _apply(run: Run, chute: Chute, validate_only: bool = False) -> Sequence[Mapping[str, Any]]:
    wanted = wanted_networks(chute.spec) if chute.desired == "running" else ()
    return await run.networks.apply(
        chute.name, chute.owner, wanted, run.folders.system(chute.name), validate_only
    )


async def _attach(run: Run, chute: Chute) -> None:
    services = {network.service for network in wanted_networks(chute.spec)}
    if not services or chute.desired != "running":
        return
    await run.engine.refresh()
    processes = await run.engine.processes()
    found = {service: pid for (owner, service), pid in processes.items() if owner == chute.name}
    missing = sorted(services - found.keys())
    for service in missing:
        await tell_last_lines(run, chute.containers[service], service)
    if missing:
        raise FailedPrecondition(
            f"Service {missing[0]} ended right after its start and cannot have its networks; "
            "the messages of the change show its last lines.",
            reason="SERVICE_EXITED",
            service=missing[0],
        )
    await run.networks.attach(chute.name, found)


class NetworkNews:
    """Keeps the network service told of the chutes and their owners."""

    def __init__(self, networks: Networks, busy: Callable[[], Collection[str]]) -> None:
        self._networks = networks
        self._busy = busy
        """Returns the chutes that changes are about to alter."""
        self._told: Mapping[str, Actor] | None = None

    async def follow(
        self, installed: Mapping[str, Chute], _containers: Mapping[str, ContainerState] | None
    ) -> None:
        """Tells it all of them, and which are gone."""
        owners = {name: chute.owner for name, chute in installed.items()}
        if owners == self._told:
            return
        busy = frozenset(self._busy())
        await self._networks.sync(owners, forget_others=self._told is None, busy=busy)
        gone = (self._told or {}).keys() - owners.keys()
        for chute in gone - busy:
            await self._networks.release(chute)
        self._told = {**owners, **{chute: (self._told or {})[chute] for chute in gone & busy}}

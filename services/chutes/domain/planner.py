"""Works out what a change does: pure functions from the present and the wanted state to a list of steps."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from services.chutes.domain.access import require_access
from services.chutes.domain.allocation import refuse_too_much
from services.chutes.domain.belongings import (
    CreateFolders,
    CreateNetwork,
    IssueToken,
    PutData,
    RemoveEarlierData,
    RemoveFolders,
    RemoveNetwork,
    RemoveSources,
    RevokeToken,
)
from services.chutes.domain.change import Change, Request, Situation
from services.chutes.domain.chute import NODE, Chute
from services.chutes.domain.containersteps import (
    AwaitUnlock,
    CreateContainer,
    RemoveContainer,
    StartContainer,
    VerifyRunning,
)
from services.chutes.domain.deviation import may_rest
from services.chutes.domain.errors import (
    container_name_taken,
    sources_missing,
)
from services.chutes.domain.imagesteps import BuildImage, CheckDisk, PullImage, RemoveImages
from services.chutes.domain.networks import (
    AttachNetworks,
    CheckNetworks,
    LeaveNetworks,
    SetUpNetworks,
    TakeDownNetworks,
    wanted_networks,
)
from services.chutes.domain.ports import ContainerState
from services.chutes.domain.spec import ChuteSpec
from services.chutes.domain.steps import Step
from services.chutes.domain.wanted import wanted


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change does, in order.

    Until the last of `steps` everything can be undone. Then the change is committed, in one transaction, and
    `finish` only removes what is not needed any more.
    """

    steps: tuple[Step, ...]
    finish: tuple[Step, ...] = ()
    gone: tuple[str, ...] = ()
    """Chutes that a change of the node has removed; the commit takes them out of the record."""
    sweeps: bool = True
    """Whether something may be left on the engine that nobody wants any more, to be looked for at the end."""


def situation_of(
    change: Change,
    installed: Mapping[str, Chute],
    containers: Mapping[str, ContainerState],
    kept: bool = False,
    missing: tuple[str, ...] = (),
) -> Situation:
    """Returns from where a change starts and what it leads to, or raises why it cannot be.

    `kept` tells whether there is data that the one who asks has kept of an earlier chute of the name;
    `missing` names the services whose images are gone from the engine.
    """
    request = change.request
    old = installed.get(request.chute)
    if old is not None:
        require_access(old.name, old.owner, request.user)
    new = wanted(change, old)
    if new is not None and request.spec is not None:
        refuse_shared_names(new.spec, [chute.spec for chute in installed.values()])
    if new is not None and new.desired == "running":
        others = [chute.spec for chute in installed.values() if chute.desired == "running"]
        refuse_too_much([*(spec for spec in others if spec.name != new.name), new.spec], new.name)
    for service in missing:
        described = new.spec.services.get(service) if new is not None else None
        if new is not None and described is not None and described.type != "image" and not new.sources:
            raise sources_missing(new.name, service)
    names = old.containers.values() if old else ()
    present = {name: containers[name] for name in names if name in containers}
    return Situation(
        change_id=change.id,
        type=request.type,
        old=old,
        new=new,
        untouched=_untouched(old, present) if old is not None and request.only_fallen else (),
        workspace=request.workspace or (new.sources if new else None) or None,
        missing=missing,
        heeds_lock=old is not None and heeds_lock(request, old),
        keeps_data=request.terms.keep_data,
        takes_kept=kept and old is None and request.data is None,
        data=request.data,
        statuses={name: state.status for name, state in present.items()},
        host_ports={name: dict(state.ports) for name, state in present.items() if state.ports},
        credentials=request.credentials,
    )


def make_plan(situation: Situation) -> Plan:
    """Returns what a change does."""
    old, new = situation.old, situation.new
    if new is None:
        return Plan(tuple(_remove(situation)), tuple(_forget(situation, old)) if old else ())
    if new.desired == "stopped":
        # Containers go by their names and nothing is made; to look for more would take a tenth of a stop.
        return Plan(tuple(_take_down(situation)), (RevokeToken(new.name),), sweeps=False)
    return Plan(tuple(_bring_up(situation, new)), tuple(_drop_old(situation, new)))


def refuse_shared_names(spec: ChuteSpec, others: Iterable[ChuteSpec]) -> None:
    """Raises AlreadyExists if a container of another chute has a name that this chute needs.

    "a-b" with the service "c" and "a" with the service "b-c" both make "a-b-c".
    """
    needed = {spec.container_name(service) for service in spec.services}
    for other in others:
        if other.name != spec.name:
            for container in needed.intersection(map(other.container_name, other.services)):
                raise container_name_taken(spec.name, container, other.name)


def _untouched(old: Chute, present: Mapping[str, ContainerState]) -> tuple[str, ...]:
    """Returns the services that are as they should be."""
    return tuple(
        service
        for service, container in old.containers.items()
        if (state := present.get(container)) is not None
        and (state.status == "running" or may_rest(old.spec.services[service], state))
    )


def heeds_lock(request: Request, installed: Chute) -> bool:
    """Tells whether a change waits while the chute has its update lock."""
    takes_down = request.type in ("update", "stop", "restart", "delete")
    return takes_down and installed.desired == "running" and request.user != NODE and not request.terms.force


def _bring_up(situation: Situation, new: Chute) -> Iterator[Step]:
    old = situation.old
    if wanted_networks(new.spec):
        yield CheckNetworks(new)
    present = (
        {tag for service, tag in old.images.items() if service not in situation.missing} if old else set()
    )
    if not present.issuperset(new.images.values()):
        yield CheckDisk(situation.workspace)
    for service in new.spec.services:
        if new.images[service] in present:
            continue
        lost = old is not None and new.images[service] in old.images.values()
        if new.spec.services[service].type == "image":
            yield PullImage(new, service, situation.credentials.get(service), lost)
        else:
            yield BuildImage(new, service, situation.workspace or "", lost)
    yield CreateFolders(new.name, new=old is None, kept_for=new.owner if situation.takes_kept else None)
    yield CreateNetwork(new.name, new=old is None)
    yield from _await_unlock(situation)
    if old is not None and wanted_networks(old.spec):
        yield LeaveNetworks(old)
    yield from _remove_containers(situation)
    if situation.data is not None:
        yield PutData(new.name, situation.data)
    if wanted_networks(new.spec) or (old is not None and wanted_networks(old.spec)):
        yield SetUpNetworks(new, old)
    # After the removal: until then the containers before need theirs, and undone, they get it back first.
    if not situation.untouched:
        yield IssueToken(new.name, former=old.token if old and old.desired == "running" else "")
    for service, container in new.containers.items():
        if service not in situation.untouched:
            yield CreateContainer(new, service, situation.host_ports.get(container, {}))
    for service in new.spec.start_order:
        if service not in situation.untouched:
            yield StartContainer(new, service)
    if wanted_networks(new.spec):
        yield AttachNetworks(new)
    yield VerifyRunning(
        new,
        replaces=old is not None and new.images != old.images,
        untouched=situation.untouched,
        proven=situation.type == "start" and old is not None and new == replace(old, desired="running"),
    )


def _remove(situation: Situation) -> Iterator[Step]:
    yield from _take_down(situation)
    if situation.old is not None:
        yield RemoveNetwork(situation.old.name)


def _take_down(situation: Situation) -> Iterator[Step]:
    old = situation.old
    networked = old is not None and bool(wanted_networks(old.spec))
    yield from _await_unlock(situation)
    if old is not None and networked:
        yield LeaveNetworks(old)
    yield from _remove_containers(situation)
    if old is not None and networked:
        yield TakeDownNetworks(old)


def _await_unlock(situation: Situation) -> Iterator[Step]:
    """Before anything of the chute that runs is touched, its networks included."""
    if situation.old is not None and situation.heeds_lock and situation.statuses:
        yield AwaitUnlock(situation.old.name)


def _remove_containers(situation: Situation) -> Iterator[Step]:
    if situation.old is None:
        return
    for service in reversed(situation.old.spec.start_order):
        container = situation.old.containers[service]
        status = situation.statuses.get(container)
        if status is not None and service not in situation.untouched:
            yield RemoveContainer(situation.old, service, status, situation.host_ports.get(container, {}))


def _forget(situation: Situation, old: Chute) -> Iterator[Step]:
    yield RevokeToken(old.name)
    yield RemoveImages(tuple(old.images.values()))
    yield RemoveFolders(old.name, old.owner if situation.keeps_data else None)
    if old.sources:
        yield RemoveSources((old.sources,))


def _drop_old(situation: Situation, new: Chute) -> Iterator[Step]:
    old = situation.old
    unused = set(old.images.values()) - set(new.images.values()) if old else set()
    if unused:
        yield RemoveImages(tuple(sorted(unused)))
    if old and old.sources and old.sources != new.sources:
        yield RemoveSources((old.sources,))
    if situation.data is not None:
        yield RemoveEarlierData(new.name, situation.data)

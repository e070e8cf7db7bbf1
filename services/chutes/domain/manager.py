"""What callers may ask of chutes; everything that alters one becomes a change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from services.chutes.domain import configuration
from services.chutes.domain.access import may_see, require_access, require_sight, sees
from services.chutes.domain.allocation import fraction_of, refuse_too_much
from services.chutes.domain.change import NO_TERMS, Request, Terms
from services.chutes.domain.chute import Actor, Chute, Desired
from services.chutes.domain.demands import check_environment, require_images
from services.chutes.domain.errors import (
    chute_exists,
    chute_locked,
    chute_not_found,
    chute_running,
    chute_stopped,
    import_exists,
)
from services.chutes.domain.folderport import Folders
from services.chutes.domain.planner import Plan, refuse_shared_names
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.ports import TokenIssuer
from services.chutes.domain.queue import ChangeQueue
from services.chutes.domain.registry import Registry
from services.chutes.domain.spec import ChuteSpec, Definition
from services.chutes.domain.wanted import configured
from services.common.errors import InvalidArgument
from services.common.identity import Principal

Command = Literal["start", "stop", "restart", "delete"]

MAX_LOCK_REASON_BYTES = 200


@dataclass(frozen=True, slots=True)
class _Prospect:
    """What will be of a chute when the changes that wait have succeeded."""

    owner: Actor
    desired: Desired
    spec: ChuteSpec


class ChuteManager:
    """Reads chutes and accepts changes to them."""

    def __init__(
        self,
        registry: Registry,
        queue: ChangeQueue,
        tokens: TokenIssuer,
        folders: Folders,
        policy: NodePolicy,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._registry = registry
        self._queue = queue
        self._tokens = tokens
        self._folders = folders
        self._clock = clock

    def visible(self, principal: Principal) -> Sequence[Chute]:
        """Returns the chutes that a caller may see, by name."""
        installed = self._registry.installed
        return [installed[name] for name in sorted(installed) if may_see(name, principal)]

    def find(self, name: str, principal: Principal) -> Chute:
        """Returns a chute that the caller may look into."""
        chute = self._registry.find(name)
        require_sight(name, chute.owner, principal)
        return chute

    def may_look_into(self, name: str, principal: Principal) -> bool:
        """Tells whether `find` would return the chute."""
        chute = self._registry.installed.get(name)
        return chute is not None and sees(name, chute.owner, principal)

    async def revoke_token(self, name: str, principal: Principal) -> None:
        """Ends the token of a chute until its containers are made anew."""
        require_access(name, self._registry.find(name).owner, Actor.of(principal))
        await self._tokens.revoke(name)

    async def command(
        self,
        command: Command,
        name: str,
        principal: Principal,
        environment: Mapping[str, str] | None = None,
        terms: Terms = NO_TERMS,
    ) -> int:
        """Accepts a change to a chute and returns its id."""
        request, check = self._asked(command, name, principal, environment, terms)
        return (await self._queue.accept(request, check)).id

    async def preview(
        self,
        command: Command,
        name: str,
        principal: Principal,
        environment: Mapping[str, str] | None = None,
        terms: Terms = NO_TERMS,
    ) -> Plan:
        """Returns what a change to a chute would do now."""
        request, check = self._asked(command, name, principal, environment, terms)
        return await self._queue.preview(request, check)

    async def lock(self, name: str, principal: Principal, reason: str) -> None:
        """Locks a chute against being taken down."""
        self.find(name, principal)
        if len(reason.encode()) > MAX_LOCK_REASON_BYTES or not reason.isprintable():
            raise InvalidArgument(
                f"The reason of a lock is one line of at most {MAX_LOCK_REASON_BYTES} bytes.",
                reason="LOCK_REASON_INVALID",
                field="reason",
            )
        if not await self._folders.set_lock(name, reason):
            raise chute_locked(name)

    async def unlock(self, name: str, principal: Principal) -> None:
        """Ends the lock of a chute, whoever set it."""
        self.find(name, principal)
        await self._folders.remove_lock(name)

    def _asked(
        self,
        command: Command,
        name: str,
        principal: Principal,
        environment: Mapping[str, str] | None,
        terms: Terms,
    ) -> tuple[Request, Callable[[], None]]:
        """Returns a change and what must hold when it is accepted."""
        check_environment(environment or {})
        user = Actor.of(principal)

        def check() -> None:
            prospect = self._prospect(name)
            if prospect is None:
                raise chute_not_found(name)
            require_access(name, prospect.owner, user)
            if command == "start" and prospect.desired == "running":
                raise chute_running(name)
            if command == "stop" and prospect.desired == "stopped":
                raise chute_stopped(name)
            if command in ("start", "restart"):
                self._refuse_too_much(prospect.spec)

        replaced = None if environment is None else dict(environment)
        return Request(command, name, user, environment=replaced, terms=terms), check

    async def install(
        self,
        definition: Definition,
        workspace: str | None,
        principal: Principal,
        replace: bool,
        terms: Terms = NO_TERMS,
        data: str | None = None,
    ) -> int:
        """Accepts a chute to install and returns the id of the change; `replace` allows an update.

        `data` names a folder like a workspace, with the data of a chute that is imported. When it returns,
        both belong to the change, or are removed if the same request had become a change before. Files that
        have to be fetched are fetched by the change, and what they say of the chute counts where the
        description says nothing.
        """
        request, check = self._asked_install(definition, workspace, principal, replace, terms, data)
        change = await self._queue.accept(request, check)
        if change.request is not request:
            for folder in request.unpacked:
                await self._folders.remove_workspace(folder)
        return change.id

    async def preview_install(
        self,
        definition: Definition,
        workspace: str | None,
        principal: Principal,
        replace: bool,
        terms: Terms = NO_TERMS,
        data: str | None = None,
    ) -> Plan:
        """Returns what installing a chute would do now; its folders are removed, unless this raises."""
        return await self._queue.preview(
            *self._asked_install(definition, workspace, principal, replace, terms, data)
        )

    def _asked_install(
        self,
        definition: Definition,
        workspace: str | None,
        principal: Principal,
        replace: bool,
        terms: Terms,
        data: str | None,
    ) -> tuple[Request, Callable[[], None]]:
        spec, download = definition.spec, definition.download
        request = Request(
            "update" if replace else "create",
            spec.name,
            Actor.of(principal),
            version=f"x{int(self._clock())}",
            spec=None if download else spec,
            workspace=workspace,
            data=data,
            download=download,
            document=definition.document if download else None,
            credentials=definition.credentials,
            terms=terms,
        )
        if workspace is None and download is None:
            require_images(spec)
        return request, lambda: self.check_install(spec, principal, replace)

    async def configure(
        self, name: str, document: Mapping[str, Any], principal: Principal, terms: Terms = NO_TERMS
    ) -> int:
        """Accepts another configuration of a chute and returns the id of the change."""
        request, check = await self._asked_configuration(name, document, principal, terms)
        return (await self._queue.accept(request, check)).id

    async def preview_configuration(
        self, name: str, document: Mapping[str, Any], principal: Principal, terms: Terms = NO_TERMS
    ) -> Plan:
        """Returns what another configuration of a chute would do now."""
        request, check = await self._asked_configuration(name, document, principal, terms)
        return await self._queue.preview(request, check)

    async def _asked_configuration(
        self, name: str, document: Mapping[str, Any], principal: Principal, terms: Terms
    ) -> tuple[Request, Callable[[], None]]:
        chute = self.find(name, principal)
        definition = configuration.read(chute, document)
        user = Actor.of(principal)
        if chute.sources:
            await self._folders.require_dockerfiles(chute.sources, definition.spec)

        def check() -> None:
            prospect = self._prospect(name)
            if prospect is None:
                raise chute_not_found(name)
            require_access(name, prospect.owner, user)
            self._require_possible(definition.spec)
            configured(self._registry.find(name), definition.spec, 0)

        request = Request(
            "restart",
            name,
            user,
            spec=definition.spec,
            document=configuration.partial(document),
            credentials=definition.credentials,
            terms=terms,
        )
        return request, check

    def check_import(self, spec: ChuteSpec, principal: Principal, replace: bool, terms: Terms) -> None:
        """Raises why a chute cannot be imported, as far as is known before its data has come."""
        if self._queue.knows(Actor.of(principal), terms.request_id):
            return
        if not replace and self._prospect(spec.name) is not None:
            raise import_exists(spec.name)
        self.check_install(spec, principal, replace)

    def check_install(self, spec: ChuteSpec, principal: Principal, replace: bool) -> None:
        """Raises why a chute cannot be installed, as far as is known now."""
        self._require_possible(spec)
        prospect = self._prospect(spec.name)
        if prospect is not None:
            if not replace:
                raise chute_exists(spec.name)
            require_access(spec.name, prospect.owner, Actor.of(principal))

    def _require_possible(self, spec: ChuteSpec) -> None:
        self._policy.require_allowed(spec)
        self._refuse_shared_names(spec)

    def _refuse_shared_names(self, spec: ChuteSpec) -> None:
        coming = [change.request.spec for change in self._queue.unfinished() if change.request.spec]
        refuse_shared_names(spec, [*(chute.spec for chute in self._registry.installed.values()), *coming])
        self._refuse_too_much(spec)

    def _refuse_too_much(self, spec: ChuteSpec) -> None:
        if not any(fraction_of(service) for service in spec.services.values()):
            return
        names = {*self._registry.installed, *(change.request.chute for change in self._queue.unfinished())}
        others = [self._prospect(name) for name in names - {spec.name}]
        running = [other.spec for other in others if other is not None and other.desired == "running"]
        refuse_too_much([*running, spec], spec.name)

    def _prospect(self, name: str) -> _Prospect | None:
        chute = self._registry.installed.get(name)
        prospect = _Prospect(chute.owner, chute.desired, chute.spec) if chute else None
        for change in self._queue.unfinished(name):
            kind, owner = change.request.type, prospect.owner if prospect else change.request.user
            if kind == "delete":
                prospect = None
            elif spec := change.request.spec or (prospect and prospect.spec):
                prospect = _Prospect(owner, "stopped" if kind == "stop" else "running", spec)
        return prospect

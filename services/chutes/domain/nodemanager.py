"""Accepts changes of the node itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.chutes.domain.change import NO_TERMS, NODE_NAME, Request, Terms
from services.chutes.domain.chute import Actor
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.planner import Plan
from services.chutes.domain.queue import ChangeQueue
from services.common.errors import InvalidArgument, PermissionDenied
from services.common.identity import Principal


class NodeManager:
    """Knows the kinds of changes of the node, and who may ask for which."""

    def __init__(self, kinds: Mapping[str, NodeChange], queue: ChangeQueue) -> None:
        self._kinds = kinds
        self._queue = queue

    @property
    def types(self) -> Sequence[str]:
        """The types that this node knows."""
        return sorted(self._kinds)

    async def accept(
        self, kind: str, payload: Mapping[str, Any], principal: Principal, terms: Terms = NO_TERMS
    ) -> int:
        """Accepts a change of the node and returns its id; `payload` holds the kind's own keys."""
        request = await self._request(kind, payload, principal, terms)
        return (await self._queue.accept(request, lambda: None)).id

    async def preview(
        self, kind: str, payload: Mapping[str, Any], principal: Principal, terms: Terms = NO_TERMS
    ) -> Plan:
        """Returns what a change of the node would do now."""
        request = await self._request(kind, payload, principal, terms)
        return await self._queue.preview(request, lambda: None)

    async def _request(
        self, kind: str, payload: Mapping[str, Any], principal: Principal, terms: Terms
    ) -> Request:
        change = self._kinds[kind]
        if principal.kind != "service" and principal.role < change.role:
            raise PermissionDenied(
                f"A {kind} change needs the role {change.role.name.lower()}; {principal.name} has "
                f"{principal.role.name.lower()}.",
                reason="ROLE_TOO_LOW",
                needed_role=change.role.name.lower(),
                role=principal.role.name.lower(),
            )
        for key in payload:
            if key not in change.keys:
                takes = ", ".join(change.keys) or "no keys of its own"
                raise InvalidArgument(
                    f"{key} is not known; a {kind} change takes {takes}.",
                    reason="CHANGE_INVALID",
                    field=f"change.{key}",
                )
        kept = change.check(payload)
        await change.admit(kept)
        return Request(kind, NODE_NAME, Actor.of(principal), payload=kept, terms=terms)

"""Accepts changes of the node itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.chutes.domain.change import NODE_NAME, Request
from services.chutes.domain.chute import Actor
from services.chutes.domain.nodechange import NodeChange
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
        self, kind: str, payload: Mapping[str, Any], principal: Principal, request_id: str = ""
    ) -> int:
        """Accepts a change of the node and returns its id; `payload` holds the kind's own keys."""
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
        request = Request(kind, NODE_NAME, Actor.of(principal), payload=kept, request_id=request_id)
        return (await self._queue.accept(request, lambda: None)).id

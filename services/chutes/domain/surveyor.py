"""Looks at what a change finds, and works out what it therefore does."""

from collections.abc import Mapping

from services.chutes.domain.change import Change, Situation
from services.chutes.domain.chute import Chute
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.planner import Plan, make_plan, situation_of
from services.chutes.domain.ports import ContainerState
from services.chutes.domain.registry import Registry
from services.chutes.domain.world import World
from services.common.errors import FailedPrecondition, Unavailable


class Surveyor:
    """Knows the kinds of changes, those of chutes and those of the node."""

    def __init__(self, world: World, registry: Registry, node_changes: Mapping[str, NodeChange]) -> None:
        self._world = world
        self._registry = registry
        self._node_changes = node_changes

    def is_exclusive(self, change: Change) -> bool:
        """Tells whether no other change may run at the same time."""
        kind = self._node_changes.get(change.request.type)
        return change.request.update_class == "ROUTER" and kind is not None and kind.exclusive

    def needs_engine(self, change: Change) -> bool:
        """Tells whether a change uses the container engine."""
        kind = self._node_changes.get(change.request.type)
        return change.request.update_class == "CHUTE" or (kind is not None and kind.needs_engine)

    def plan(self, situation: Situation) -> Plan:
        """Returns what a change does that has found this."""
        if situation.payload is None:
            return make_plan(situation)
        kind = self._node_changes.get(situation.type)
        # Another version of this software may have begun what this one does not know any more.
        return kind.plan(situation.change_id, situation.payload, situation.facts) if kind else Plan(())

    async def look(self, change: Change) -> Situation:
        """Returns what a change finds now, or raises why it cannot be."""
        if change.request.update_class == "ROUTER":
            return await self._look_at_node(change)
        engine = self._world.engine
        await engine.refresh()
        containers = engine.containers()
        if containers is None:
            raise Unavailable("The container engine does not answer.", reason="ENGINE_DOWN")
        request, installed = change.request, self._registry.installed
        new = request.chute not in installed
        kept = new and await self._world.folders.has_kept(request.chute, request.user)
        missing = await self._missing_images(change, installed.get(request.chute), containers)
        return situation_of(change, installed, containers, kept, missing)

    async def _missing_images(
        self, change: Change, old: Chute | None, containers: Mapping[str, ContainerState]
    ) -> tuple[str, ...]:
        """Returns the services that get a new container and whose image is gone.

        Somebody may take the name off an image even while a container of it runs.
        """
        if old is None or change.request.type not in ("start", "restart"):
            return ()
        stay = change.request.only_fallen
        return tuple(
            [
                service
                for service, container in old.containers.items()
                if not (stay and container in containers and containers[container].status == "running")
                and not await self._world.engine.has_image(old.images[service])
            ]
        )

    async def _look_at_node(self, change: Change) -> Situation:
        request = change.request
        kind = self._node_changes.get(request.type)
        if kind is None:
            raise FailedPrecondition(
                f"This version of the node does not know changes of the type {request.type}.",
                reason="CHANGE_TYPE_UNKNOWN",
                type=request.type,
            )
        payload = request.payload or {}
        facts = await kind.look(payload, self._registry.installed)
        return Situation(change.id, request.type, None, None, payload=payload, facts=facts)

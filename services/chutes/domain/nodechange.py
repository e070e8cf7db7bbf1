"""Changes of the node itself, as opposed to one of its chutes: the class ROUTER of the API.

To add a kind, write a subclass of `NodeChange` that gets what it works with (a port to another service, say)
in its constructor, and list an instance of it in `World.node_changes` (`services.chutes.app`). It is then
accepted by POST /api/v1/changes/, listed under the name `__PARADROP__`, journalled, resumed after crashes and
undone like every other change. An RPC of its own accepts it with `NodeManager.accept`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from services.chutes.domain.chute import Chute
from services.chutes.domain.planner import Plan
from services.common.identity import Role


class NodeChange:
    """One kind of change of the node. Changes of the node run one after the other, in the order they came."""

    type: ClassVar[str]
    """What "updateType" says, such as "reboot"."""
    keys: ClassVar[Sequence[str]] = ()
    """What the document has besides "updateClass", "updateType" and "name"; other keys are refused."""
    role: ClassVar[Role] = Role.ADMIN
    """The lowest role of a user who may ask for it."""
    needs_engine: ClassVar[bool] = False
    """Whether it waits for the container engine and sweeps it afterwards."""
    exclusive: ClassVar[bool] = False
    """Whether no change of a chute may run at the same time: those that run end first, the others wait."""

    def check(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns what is kept of the document's own keys (JSON), or raises InvalidArgument.

        It is called before the change gets an id, and only with `keys`.
        """
        return payload

    async def admit(self, payload: Mapping[str, Any]) -> None:
        """Raises why the change cannot be accepted, asking other services if need be.

        It gets what `check` returned, and is called before the change gets an id.
        """

    async def look(self, payload: Mapping[str, Any], installed: Mapping[str, Chute]) -> Mapping[str, Any]:
        """Returns what the plan follows from besides the payload (JSON), or raises why the change cannot be.

        What an undo needs to bring back belongs here: it is on disk before the first step, so that the plan
        can be made again after a crash.
        """
        return {}

    def plan(self, change_id: int, payload: Mapping[str, Any], facts: Mapping[str, Any]) -> Plan:
        """Returns the steps; a pure function. Steps are those of `services.chutes.domain.steps` or own ones.

        Each step has a name that is unique in the plan, a deadline and an undo, and doing or undoing it twice
        is as good as once. Steps in `finish` run after the commit, after a crash once more.
        """
        raise NotImplementedError

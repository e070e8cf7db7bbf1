"""The change that replaces the host configuration: on probation first, and back if it cuts the node off."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from services.chutes.domain.chute import Chute
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.planner import Plan
from services.chutes.domain.steps import Run, Step
from services.common.errors import FailedPrecondition, InvalidArgument, Unauthenticated, Unavailable
from services.common.identity import SYSTEM, current_principal

MIN_CONFIRM_S, MAX_CONFIRM_S = 5, 3600
POLL_INTERVAL_S = 0.5
UNREACHABLE_S = 60.0
"""How long the network service may be away while its verdict is waited for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a configuration fares."""

    state: Literal["confirmed", "probation", "reverted"]
    change_id: int
    waits_for_confirmation: bool = False
    reason: str = ""
    message: str = ""


class HostConfiguration(Protocol):
    """The network service, as far as its configuration goes. Each call raises what it refuses."""

    async def check(self, document: Mapping[str, Any]) -> None:
        """Raises InvalidArgument (HOST_CONFIG_INVALID) with each wrong field; alters nothing."""

    async def default(self) -> Mapping[str, Any]:
        """Returns the document with which a node with this hardware begins."""

    async def apply(
        self, document: Mapping[str, Any], change_id: int, author: str, confirm_timeout_s: int
    ) -> None:
        """Puts a document into force on probation; the same change again is no error."""

    async def verdict(self) -> Verdict:
        """Returns how the configuration in force fares."""

    async def revert(self, change_id: int) -> None:
        """Brings the version before a change back, if the one in force is of this change."""


@dataclass(frozen=True)
class ApplyHostConfig(Step):
    """Puts the document into force on probation; undone, the one before comes back."""

    label = "set_host_config"
    host: HostConfiguration
    change_id: int
    document: Mapping[str, Any] = field(repr=False)
    author: str
    confirm_timeout_s: int

    async def do(self, run: Run) -> None:
        """Applies the document."""
        await self.host.apply(self.document, self.change_id, self.author, self.confirm_timeout_s)

    async def undo(self, run: Run) -> None:
        """Brings the document before back."""
        await self.host.revert(self.change_id)


@dataclass(frozen=True)
class ProveHostConfig(Step):
    """Waits until the document has proved itself."""

    label = "prove_host_config"
    deadline_s = None  # Whoever confirms may take as long as they said; the network service keeps the time.
    host: HostConfiguration
    change_id: int

    async def do(self, run: Run) -> None:
        """Fails with the network service's reason when it has taken the document back."""
        told, silent_s = False, 0.0
        while True:
            try:
                verdict = await self.host.verdict()
            except Unavailable:
                # It may start anew; then it takes the document back and says so.
                silent_s += POLL_INTERVAL_S
                if silent_s > UNREACHABLE_S:
                    raise
                await asyncio.sleep(POLL_INTERVAL_S)
                continue
            silent_s = 0.0
            if verdict.change_id != self.change_id:
                raise FailedPrecondition(
                    "Another host configuration took the place of this one.", reason="HOST_CONFIG_REPLACED"
                )
            if verdict.state == "confirmed":
                return
            if verdict.state == "reverted":
                raise FailedPrecondition(verdict.message, reason=verdict.reason)
            if not told:
                run.say(_PROMPT if verdict.waits_for_confirmation else _LOOKING)
                told = True
            await asyncio.sleep(POLL_INTERVAL_S)


_PROMPT = "Waiting for POST /api/v1/config/hostconfig/confirm; else the configuration before comes back."
_LOOKING = "Looking whether the node can still be reached."


class SetHostConfig(NodeChange):
    """ROUTER sethostconfig."""

    type = "sethostconfig"
    keys = ("hostconfig", "confirm_timeout_s")

    def __init__(self, host: HostConfiguration) -> None:
        self._host = host

    def check(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns document, time and author."""
        document, confirm_s = payload.get("hostconfig"), payload.get("confirm_timeout_s") or 0
        if not isinstance(document, dict):
            raise InvalidArgument(
                "hostconfig must be the whole document.", reason="CHANGE_INVALID", field="change.hostconfig"
            )
        number = isinstance(confirm_s, int | float) and not isinstance(confirm_s, bool)
        if not number or (confirm_s and not MIN_CONFIRM_S <= confirm_s <= MAX_CONFIRM_S):
            raise InvalidArgument(
                f"confirm_timeout_s must be a number of seconds from {MIN_CONFIRM_S} to {MAX_CONFIRM_S}.",
                reason="CHANGE_INVALID",
                field="change.confirm_timeout_s",
            )
        return {"hostconfig": document, "confirm_timeout_s": int(confirm_s), "author": _author()}

    async def admit(self, payload: Mapping[str, Any]) -> None:
        """Refuses a wrong document before it becomes a change."""
        await self._host.check(payload["hostconfig"])

    async def look(self, payload: Mapping[str, Any], installed: Mapping[str, Chute]) -> Mapping[str, Any]:
        """Looks at the document again: what it refers to may have changed while it waited."""
        await self._host.check(payload["hostconfig"])
        return {}

    def plan(self, change_id: int, payload: Mapping[str, Any], facts: Mapping[str, Any]) -> Plan:
        """Returns the steps."""
        return Plan(
            (
                ApplyHostConfig(
                    self._host,
                    change_id,
                    payload["hostconfig"],
                    payload["author"],
                    payload["confirm_timeout_s"],
                ),
                ProveHostConfig(self._host, change_id),
            )
        )


def _author() -> str:
    try:
        return current_principal().name
    except Unauthenticated:
        return SYSTEM.name

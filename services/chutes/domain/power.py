"""Restarting and halting the machine, as changes of the node."""
# ruff: noqa: D102 (`Step` and `NodeChange` say what every method is.)

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.planner import Plan
from services.chutes.domain.steps import Run, Step


class Power(Protocol):
    """The power of the machine."""

    async def schedule(self, again: bool) -> None:
        """Has the machine restarted, or halted, in a minute; raises FailedPrecondition if it will not."""

    async def cancel(self) -> None:
        """Takes back what was scheduled."""


@dataclass(frozen=True)
class SchedulePower(Step):
    """Schedules it. After a crash, or after the restart itself, it is not done again."""

    label = "schedule_power"
    power: Power
    again: bool

    async def do(self, run: Run) -> None:
        await self.power.schedule(self.again)
        run.say(f"{'Rebooting' if self.again else 'Halting'} in 60 seconds.")

    async def undo(self, run: Run) -> None:
        await self.power.cancel()


class Reboot(NodeChange):
    """Restarts the machine."""

    type = "reboot"
    again = True

    def __init__(self, power: Power) -> None:
        self._power = power

    def plan(self, change_id: int, payload: Mapping[str, Any], facts: Mapping[str, Any]) -> Plan:
        return Plan((SchedulePower(self._power, self.again),))


class Shutdown(Reboot):
    """Halts the machine."""

    type = "shutdown"
    again = False

"""What a change waits for: the end of an update lock, the engine, its turn."""

import asyncio
from collections.abc import Callable

from services.chutes.domain.change import Change, Wait
from services.chutes.domain.folderport import Folders
from services.chutes.domain.gate import EngineGate
from services.chutes.domain.planner import heeds_lock
from services.chutes.domain.ports import OnLine
from services.chutes.domain.registry import Registry
from services.chutes.domain.turns import Turns
from services.chutes.domain.waits import ENGINE_DOWN, waiting

LOCK_INTERVAL_S = 2.0
EXCLUSIVE = Wait("EXCLUSIVE_CHANGE", "Waiting because a change of the whole node runs alone.")


class Admission:
    """Lets changes run, and notes on each of them what it waits for."""

    def __init__(self, folders: Folders, registry: Registry, gate: EngineGate) -> None:
        self._folders = folders
        self._registry = registry
        self._gate = gate
        self._turns = Turns()

    async def begin(self, change: Change, say: OnLine, *, alone: bool, needs_engine: bool) -> None:
        """Waits until a change may go on, and takes its turn."""
        with waiting(change, say) as wait:
            if change.phase == "waiting":
                installed = self._registry.installed.get(change.request.chute)
                if installed is not None and heeds_lock(change.request, installed):
                    await self._unlocked(installed.name, wait)
                if needs_engine and not self._gate.is_open:
                    wait(ENGINE_DOWN)
                    await self._gate.passed()
            await self._turns.take(alone, lambda: wait(EXCLUSIVE))

    def end(self) -> None:
        """Gives a turn back."""
        self._turns.release()

    async def unlocked(self, change: Change, say: OnLine, chute: str) -> None:
        """Waits in the middle of a change until a chute has no update lock; others run meanwhile.

        Raises Overtaken if a change of the whole node has run alone meanwhile.
        """
        with waiting(change, say) as wait:
            while await update_locked(self._folders, chute):
                async with self._turns.set_aside(lambda: wait(EXCLUSIVE)):
                    await self._unlocked(chute, wait)

    async def _unlocked(self, chute: str, wait: Callable[[Wait], None]) -> None:
        while locked := await update_locked(self._folders, chute):
            wait(locked)
            await asyncio.sleep(LOCK_INTERVAL_S)


async def update_locked(folders: Folders, chute: str) -> Wait | None:
    """Returns the update lock of a chute as something to wait for."""
    reason = await folders.lock(chute)
    if reason is None:
        return None
    why = f" ({reason})." if reason else "."
    return Wait(
        "UPDATE_LOCKED",
        f"Chute {chute} has locked itself against being taken down{why} To go on, end the lock with DELETE "
        f"/api/v1/chutes/{chute}/lock, or cancel this change and ask again with force.",
    )

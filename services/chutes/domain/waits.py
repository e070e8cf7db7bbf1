"""Notes on a change what it waits for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.chutes.domain.change import Change, Wait
from services.chutes.domain.gate import EngineGate
from services.chutes.domain.ports import OnLine

ENGINE_DOWN = Wait("ENGINE_DOWN", "Waiting for the container engine to answer.")


@contextmanager
def waiting(change: Change, say: OnLine) -> Iterator[Callable[[Wait], None]]:
    """Yields what notes and says what a change waits for; at the end it waits for nothing."""

    def wait(reason: Wait) -> None:
        if change.waiting != reason:
            change.waiting = reason
            say(reason.message)

    try:
        yield wait
    finally:
        change.waiting = None


async def engine_back(change: Change, say: OnLine, gate: EngineGate) -> None:
    """Waits for the engine after a call that it did not answer."""
    with waiting(change, say) as wait:
        wait(ENGINE_DOWN)
        await gate.passed_again()

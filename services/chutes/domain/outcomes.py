"""How far a change is, and why it failed."""

import secrets
from collections.abc import Sequence

import structlog

from services.chutes.domain.change import Change, Failure
from services.chutes.domain.planner import Plan
from services.chutes.domain.steps import Step
from services.common.errors import DomainError

log = structlog.get_logger()


def begun(steps: Sequence[Step], last: str) -> Sequence[Step]:
    """Returns the steps up to the last that was entered."""
    names = [step.name for step in steps]
    # A plan made by another version of this software may not know the step: then all are undone.
    return steps[: names.index(last) + 1] if last in names else steps


def percent(plan: Plan, number: float) -> int:
    """Returns how far a change is when so many of its steps are done."""
    return int(100 * number / (len(plan.steps) + len(plan.finish) + 1))


def failure_of(change: Change, error: Exception) -> Failure | None:
    """Returns why a change fails; None if only the engine went away, so that it is tried again."""
    if isinstance(error, DomainError):
        if error.reason == "ENGINE_DOWN":
            return None
        return Failure(error.reason, str(error), undone=False)
    log_id = secrets.token_hex(6)
    log.error("a change met an unexpected error", change_id=change.id, log_id=log_id, exc_info=error)
    message = f"Unexpected error; the node's log has the details under {log_id}."
    return Failure("INTERNAL", message, undone=False)


def told(error: Exception) -> str:
    """Returns what the messages of a change say of an error in its undo."""
    return str(error) if isinstance(error, DomainError) else "unexpected error; see the node's log"

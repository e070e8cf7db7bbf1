"""The terms on which a change is asked for, by fields and by metadata of every call, and what is answered."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from services.chutes.domain.change import Terms
from services.chutes.domain.planner import Plan
from services.chutes.rpc.messages import to_plan
from services.common.errors import InvalidArgument

IDEMPOTENCY_KEY = "idempotency-key"
MAX_KEY_CHARACTERS = 128
_KEY = re.compile(r"[!-~]+")

Reply = TypeVar("Reply")


def terms_of(context: Any, force: bool = False, keep_data: bool = False) -> Terms:
    """Returns the terms of a call."""
    keys = [value for name, value in context.invocation_metadata() or () if name == IDEMPOTENCY_KEY]
    if not keys:
        return Terms("", force, keep_data)
    key = keys[0]
    if len(keys) > 1 or len(key) > MAX_KEY_CHARACTERS or not _KEY.fullmatch(key):
        raise InvalidArgument(
            f"{IDEMPOTENCY_KEY} must be given once and be up to {MAX_KEY_CHARACTERS} printable ASCII "
            "characters without spaces.",
            reason="IDEMPOTENCY_KEY_INVALID",
            field=IDEMPOTENCY_KEY,
        )
    return Terms(key, force, keep_data)


async def answer(
    reply: Callable[..., Reply],
    accept: Callable[..., Awaitable[int]],
    preview: Callable[..., Awaitable[Plan]],
    *asked: Any,
    dry_run: bool,
) -> Reply:
    """Accepts what is asked for and answers the id of the change, or answers the plan of a dry run."""
    if dry_run:
        return reply(plan=to_plan(await preview(*asked)))
    return reply(change_id=await accept(*asked))

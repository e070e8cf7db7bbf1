"""Where a call comes from."""

from collections.abc import Iterable
from typing import Any


def client_address(metadata: Iterable[tuple[str, Any]] | None) -> str:
    """Returns the client's address as the gateway saw it, or nothing for a local caller.

    The gateway adds the address of its own peer at the end; what stands before it is the client's claim.
    """
    for name, value in metadata or ():
        if name == "x-forwarded-for" and isinstance(value, str):
            return value.rpartition(",")[2].strip()
    return ""

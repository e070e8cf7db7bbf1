"""Versions of the host configuration, and which one is in force."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Version:
    """A version, without its document."""

    version: int
    create_time_s: float
    author: str
    change_id: int = 0


@dataclass(frozen=True, slots=True)
class HostState:
    """Which version is in force, and how sure that is."""

    version: int
    state: Literal["confirmed", "probation", "reverted"] = "confirmed"
    previous: int = 0
    """The version that comes back if this one does not prove itself; 0 if there is none."""
    change_id: int = 0
    """The change on probation, or the one that was reverted."""
    deadline_s: float = 0.0
    """Seconds since 1970; on probation."""
    waits_for_confirmation: bool = False
    reason: str = ""
    message: str = ""

    def to_document(self) -> dict[str, Any]:
        """Returns what is stored."""
        return asdict(self)

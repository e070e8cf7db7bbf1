"""What is known of a node when it is diagnosed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Severity = Literal["warning", "error"]


@dataclass(frozen=True, slots=True)
class Disk:
    """One file system that the node needs."""

    path: str
    total_bytes: int
    free_bytes: int
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it; None where it could not be found out."""

    disks: Sequence[Disk] = ()
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    hottest_celsius: float | None = None
    time_s: float = 0.0
    built_s: float = 0.0
    """When this software was made: no clock that is right says less."""
    clock_synchronised: bool | None = None
    can_synchronise: bool = False
    engine_available: bool | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    """Service to its health, such as "SERVING"."""
    radios: Sequence[str] = ()
    """Ids of the radios that are there."""
    wanted_radios: Sequence[str] = ()
    """Ids of the radios that the host configuration uses."""
    certificate_ends_s: float | None = None
    readable_secrets: Sequence[str] = ()
    """Private files that others can read."""
    settings_problems: Sequence[str] = ()
    controller: str = ""
    """Address of the controller; empty if the node belongs to none."""
    controller_connected: bool = False
    controller_trouble: str = ""
    """Why it is not connected and what to do about it; empty if not known."""
    controller_certificate_ends_s: float | None = None
    """End of the node's own certificate for the controller."""


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that is wrong."""

    id: str
    severity: Severity
    message: str
    suggestion: str
    fixable: bool = False


class Check(Protocol):
    """Finds one thing that can be wrong."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue if the facts show it."""

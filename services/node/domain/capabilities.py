"""What this node can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Abilities:
    """Version, services and engine."""

    version: str
    services: Sequence[tuple[str, str, Sequence[str]]]
    """Name, health such as "SERVING", and full names of gRPC services of each service."""
    engine_available: bool | None
    """None if the chute service cannot be asked."""


class Capabilities(Protocol):
    """Whoever can ask the services of the node."""

    async def find(self) -> Abilities:
        """Returns what they can do now."""

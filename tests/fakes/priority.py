"""The kernel's rules of what goes first, in memory: tests without an engine must not change the machine's."""

from collections.abc import Sequence

from services.common.errors import DomainError


class FakePriority:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.fault: DomainError | None = None

    async def set(self, addresses: Sequence[str]) -> None:
        self.told.append(list(addresses))
        if self.fault:
            raise self.fault

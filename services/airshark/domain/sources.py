"""Where samples come from, as the rest of the service sees it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class SourceKind(StrEnum):
    """What stands behind a source. Only `HARDWARE` is ever shown as a radio that is there."""

    NONE = "none"
    HARDWARE = "hardware"
    RECORDING = "recording"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one read of the kernel's spectral file gave, or what stands for that."""

    data: bytes
    """Bytes in the kernel's format; records may be cut at both ends."""
    wall_time_s: float
    """When it was read, in seconds since 1970."""
    was_full: bool = False
    """Whether the kernel's buffer was full, so that samples were lost before this chunk."""


class SourceLost(Exception):  # It is no mistake of anyone's.
    """The source gives nothing any more; the message says why. It may come back."""


class Source(Protocol):
    """One radio, or what stands for one."""

    @property
    def kind(self) -> SourceKind:
        """What it is."""

    @property
    def radio(self) -> str:
        """Name of the radio, such as "phy0"."""

    @property
    def description(self) -> str:
        """What it is in words: a driver and its settings, a file, a scenario."""

    async def present(self) -> bool:
        """Tells whether it is there and could be read."""

    def chunks(self) -> AsyncIterator[Chunk]:
        """Opens the source and yields what it gives until it ends; raises `SourceLost`.

        When the iterator is closed the radio is left as it was found, with its spectral scan disabled.
        """

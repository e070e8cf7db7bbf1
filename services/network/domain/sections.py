"""What was really applied, section by section, as the original's configuration engine lists it."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.common.errors import DomainError

NODE = "__PARADROP__"
"""Whose sections those of the host are."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the network configuration and how it fares."""

    type: str
    """"interface", "wifi-iface", "dnsmasq" or "zone", as UCI names it."""
    name: str
    owner: str
    """Name of a chute, or `NODE`."""
    ok: bool
    reason: str = ""
    message: str = ""
    age: int = 0
    """How many loads ago it was applied."""


@dataclass(slots=True)
class _Entry:
    ok: bool
    epoch: int
    reason: str = ""
    message: str = ""


Key = tuple[str, str, str]
"""Type, name and owner."""


class Sections:
    """Remembers the outcome of each section since the start."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._epoch = 0

    def begin_load(self) -> None:
        """Counts a load of the whole configuration."""
        self._epoch += 1

    def succeeded(self, key: Key) -> None:
        """Notes that a section is in force; one that was stays as old as it is."""
        entry = self._entries.get(key)
        if entry is None or not entry.ok:
            self._entries[key] = _Entry(True, self._epoch)

    def failed(self, key: Key, error: DomainError) -> None:
        """Notes why a section is not in force."""
        self._entries[key] = _Entry(False, self._epoch, error.reason, str(error))

    def keep(self, keys: set[Key]) -> None:
        """Forgets all other sections."""
        self._entries = {key: entry for key, entry in self._entries.items() if key in keys}

    def forget(self, owner: str) -> None:
        """Forgets the sections of a chute."""
        self._entries = {key: entry for key, entry in self._entries.items() if key[2] != owner}

    def listed(self) -> Iterator[Section]:
        """Yields the sections in the order in which they were first applied."""
        for (kind, name, owner), entry in self._entries.items():
            yield Section(kind, name, owner, entry.ok, entry.reason, entry.message, self._epoch - entry.epoch)

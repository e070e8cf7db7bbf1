"""What the service keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.network.domain.hostversions import HostState, Version
from services.network.domain.model import Attachment, Network, Owner


@dataclass(frozen=True, slots=True)
class ChuteRecord:
    """A chute and the networks it has."""

    owner: Owner
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What an interface had before it became a port of the bridge."""

    address: str | None
    gateway: str | None
    """Of the default route, if it led there."""


class NetworkStore(Protocol):
    """Keeps the networks of chutes. What a call wrote survives power loss when it returns."""

    async def chutes(self) -> Sequence[ChuteRecord]:
        """Returns the chutes with their networks, by name."""

    async def set_chute(self, owner: Owner, networks: Sequence[Network]) -> None:
        """Keeps a chute with its networks."""

    async def remove_chute(self, chute: str) -> None:
        """Forgets a chute."""

    async def attachments(self) -> Sequence[Attachment]:
        """Returns where the interfaces of chutes are."""

    async def set_attachments(self, chute: str, attachments: Sequence[Attachment]) -> None:
        """Keeps where the interfaces of a chute are."""

    async def borrowed(self) -> Mapping[str, Borrowed]:
        """Returns what interfaces had before they became ports of the bridge."""

    async def set_borrowed(self, interface: str, borrowed: Borrowed | None) -> None:
        """Keeps or forgets what an interface had."""


class VersionStore(Protocol):
    """Keeps versions of the host configuration."""

    async def versions(self) -> Sequence[Version]:
        """Returns the versions that are kept, newest first."""

    async def document(self, version: int) -> Mapping[str, Any] | None:
        """Returns the document of a version; None if it is not kept."""

    async def host_state(self) -> HostState | None:
        """Returns which version is in force; None before the first."""

    async def add_version(self, version: Version, document: Mapping[str, Any], state: HostState) -> None:
        """Keeps a version and which one is in force, and forgets the oldest."""

    async def set_host_state(self, state: HostState) -> None:
        """Keeps which version is in force."""

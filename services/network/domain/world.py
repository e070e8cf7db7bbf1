"""What lies outside the domain, and what is known of it now."""

from dataclasses import dataclass
from pathlib import Path

from services.common.errors import DomainError
from services.network.domain.facts import Facts
from services.network.domain.hostcheck import Document
from services.network.domain.ports import AccessPoints, DhcpServers, Firewall, LeaseFiles, Links, Radios


@dataclass(frozen=True, slots=True)
class World:
    """The kernel, the daemons, and how far the node may go."""

    access_points: AccessPoints
    dhcp: DhcpServers
    lease_files: LeaseFiles
    firewall: Firewall
    links: Links
    radios: Radios
    lease_dir: Path
    """Folder of the lease files of the host's own networks."""
    managed: bool = False
    """Whether the node manages the host's own interfaces."""
    monitor_allowed: bool = False

    async def facts(self, document: Document) -> Facts:
        """Returns the machine as it is now."""
        radios, missing = [], None
        try:
            radios = list(await self.radios.list())
        except DomainError as error:
            missing = error
        route = await self.links.default_route()
        return Facts(
            document=document,
            links=await self.links.list(),
            radios=radios,
            radios_missing=missing,
            uplink=route[0] if route else None,
            managed=self.managed,
            monitor_allowed=self.monitor_allowed,
        )

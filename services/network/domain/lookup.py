"""Finds networks of chutes for a caller, by either of their names."""

from collections.abc import Sequence
from pathlib import Path

from services.common.identity import Principal, Role
from services.network.domain.dhcp import Lease
from services.network.domain.errors import chute_not_found, chute_not_yours, network_not_found
from services.network.domain.manager import NetworkManager
from services.network.domain.model import Network, Owner
from services.network.domain.ports import LeaseFiles
from services.network.domain.wireless import Target


class NetworkLookup:
    """Answers what callers may know of networks and leases."""

    def __init__(self, manager: NetworkManager, lease_files: LeaseFiles, lease_dir: Path) -> None:
        self._manager = manager
        self._files = lease_files
        self._lease_dir = lease_dir

    def list(self, principal: Principal, chute: str) -> Sequence[Network]:
        """Returns the networks of a chute, by name; CHUTE_NOT_FOUND, CHUTE_NOT_YOURS."""
        record = self._manager.chutes.get(chute)
        if record is None:
            raise chute_not_found(chute)
        if not _sees(principal, record.owner):
            raise chute_not_yours(chute)
        return sorted(record.networks, key=lambda network: network.name)

    def find(self, principal: Principal, chute: str, name: str) -> Network:
        """Returns a network by its interface in the chute or by its section; NETWORK_NOT_FOUND."""
        networks = self.list(principal, chute)
        for network in networks:
            if network.name == name:
                return network
        for network in networks:
            if network.wanted.section == name:
                return network
        raise network_not_found(chute, name)

    def target(self, principal: Principal, chute: str, network: str) -> Target:
        """Returns where stations and leases of a network are to be looked for."""
        found = self.find(principal, chute, network)
        return Target(found.interface, Path(found.lease_file) if found.lease_file else None)

    async def leases(self, principal: Principal, chute: str, name: str) -> Sequence[Lease]:
        """Returns the leases of a network in the order of its file."""
        network = self.find(principal, chute, name)
        if not network.lease_file:
            return []
        read = await self._files.read(Path(network.lease_file))
        return read[0] if read else []

    async def devices(self, principal: Principal) -> Sequence[tuple[Lease, float]]:
        """Returns the newest lease of each device with the time of its file, by hardware address.

        A chute's token shows the devices of that chute alone.
        """
        newest: dict[str, tuple[Lease, float]] = {}
        for file in self._files_for(principal):
            read = await self._files.read(file)
            for lease in read[0] if read else ():
                as_of = read[1] if read else 0.0
                if lease.mac not in newest or newest[lease.mac][1] <= as_of:
                    newest[lease.mac] = (lease, as_of)
        return [newest[mac] for mac in sorted(newest)]

    def _files_for(self, principal: Principal) -> Sequence[Path]:
        files = {
            Path(network.lease_file)
            for record in self._manager.chutes.values()
            if principal.kind != "chute" or principal.name == record.owner.chute
            for network in record.networks
            if network.lease_file
        }
        if principal.kind != "chute":
            files |= {self._lease_dir / f"dnsmasq-{name}.leases" for name in self._manager.served_interfaces}
        return sorted(files)


def _sees(principal: Principal, owner: Owner) -> bool:
    if principal.kind == "chute":
        return principal.name == owner.chute
    if principal.kind == "service" or principal.role >= Role.ADMIN:
        return True
    return (principal.name, principal.domain) == (owner.name, owner.domain)

"""Answers what NetworkService says of networks, leases and the configuration."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paradrop.network.v1 import network_pb2 as pb

from services.common.documents import to_struct
from services.common.identity import current_principal
from services.network.domain.dhcp import Lease
from services.network.domain.hostcheck import Document
from services.network.domain.hostconfig import HostConfigs
from services.network.domain.lookup import NetworkLookup
from services.network.domain.manager import NetworkManager
from services.network.domain.model import Network
from services.network.domain.sections import Section
from services.network.domain.unbroken import unbroken
from services.network.rpc.hostconfig import shown
from services.network.rpc.paging import page
from services.network.rpc.station_messages import to_lease


@dataclass(frozen=True, slots=True)
class NetworkParts:
    """The networks of the node and its configuration."""

    manager: NetworkManager
    configs: HostConfigs
    lookup: NetworkLookup
    generate: Callable[[], Awaitable[Document]]
    """Returns a host configuration for the hardware that is present."""


class NetworkRpcs:
    """Networks of chutes, their leases, the host configuration and its sections."""

    def __init__(self, parts: NetworkParts) -> None:
        self._lookup = parts.lookup
        self._manager = parts.manager
        self._configs = parts.configs
        self._generate = parts.generate

    async def ListChuteNetworks(
        self, request: pb.ListChuteNetworksRequest, context: Any
    ) -> pb.ListChuteNetworksResponse:
        """Lists the networks of a chute."""
        networks = self._lookup.list(current_principal(), request.chute)
        part, token = page(networks, lambda network: network.name, request.page_size, request.page_token)
        return pb.ListChuteNetworksResponse(networks=map(_network, part), next_page_token=token)

    async def GetChuteNetwork(
        self, request: pb.GetChuteNetworkRequest, context: Any
    ) -> pb.GetChuteNetworkResponse:
        """Returns one network of a chute."""
        network = self._lookup.find(current_principal(), request.chute, request.network)
        return pb.GetChuteNetworkResponse(network=_network(network))

    async def ListLeases(self, request: pb.ListLeasesRequest, context: Any) -> pb.ListLeasesResponse:
        """Lists the leases of a network."""
        leases = await self._lookup.leases(current_principal(), request.chute, request.network)
        part, token = page(leases, lambda lease: lease.mac, request.page_size, request.page_token)
        return pb.ListLeasesResponse(leases=map(to_lease, part), next_page_token=token)

    async def ListDevices(self, request: pb.ListDevicesRequest, context: Any) -> pb.ListDevicesResponse:
        """Lists the devices that hold or held a lease."""
        devices = await self._lookup.devices(current_principal())
        part, token = page(devices, lambda device: device[0].mac, request.page_size, request.page_token)
        return pb.ListDevicesResponse(
            devices=[_device(lease, as_of) for lease, as_of in part], next_page_token=token
        )

    async def GetHostConfig(self, request: pb.GetHostConfigRequest, context: Any) -> pb.GetHostConfigResponse:
        """Returns the host configuration in force."""
        return pb.GetHostConfigResponse(config=to_struct(shown(self._configs.document)))

    async def GenerateHostConfig(
        self, request: pb.GenerateHostConfigRequest, context: Any
    ) -> pb.GenerateHostConfigResponse:
        """Generates a host configuration for the hardware that is present."""
        return pb.GenerateHostConfigResponse(config=to_struct(await self._generate()))

    async def ListPdconf(self, request: pb.ListPdconfRequest, context: Any) -> pb.ListPdconfResponse:
        """Lists what was applied."""
        part, token = page(self._manager.sections(), _key, request.page_size, request.page_token)
        return pb.ListPdconfResponse(sections=_sections(part, request.explain), next_page_token=token)

    async def ReloadPdconf(self, request: pb.ReloadPdconfRequest, context: Any) -> pb.ReloadPdconfResponse:
        """Applies everything anew."""
        await unbroken(self._manager.reload())
        return pb.ReloadPdconfResponse(sections=_sections(self._manager.sections(), request.explain))


def _key(section: Section) -> str:
    return f"{section.type}/{section.name}/{section.owner}"


def _network(network: Network) -> pb.Network:
    return pb.Network(name=network.name, type=network.wanted.type, interface=network.name)


def _device(lease: Lease, as_of: float) -> pb.Device:
    return pb.Device(
        expires=lease.expires_s,
        mac_addr=lease.mac,
        ip_addr=lease.address,
        hostname=lease.hostname,
        client_id=lease.client_id,
        as_of=as_of,
    )


def _sections(sections: Sequence[Section], explain: bool) -> list[pb.PdconfSection]:
    return [
        pb.PdconfSection(
            type=section.type,
            name=section.name,
            comment=section.owner,
            success=section.ok,
            age=section.age,
            reason=section.reason if explain and not section.ok else None,
            message=section.message if explain and not section.ok else None,
        )
        for section in sections
    ]

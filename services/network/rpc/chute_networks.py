"""Answers ChuteNetworkService: what the chute service asks for while it carries out a change."""

from pathlib import Path
from typing import Any

from paradrop.network.v1 import chute_networks_pb2 as pb
from paradrop.network.v1 import chute_networks_pb2_grpc

from services.common.documents import from_struct, to_struct
from services.network.domain.documents import to_cache
from services.network.domain.manager import NetworkManager
from services.network.domain.model import Owner
from services.network.domain.requests import read_wanted
from services.network.domain.unbroken import unbroken

SERVICE = pb.DESCRIPTOR.services_by_name["ChuteNetworkService"]


class ChuteNetworkServicer(chute_networks_pb2_grpc.ChuteNetworkServiceServicer):
    """Translates between the wire and the domain."""

    def __init__(self, manager: NetworkManager) -> None:
        self._manager = manager

    async def ApplyChuteNetworks(
        self, request: pb.ApplyChuteNetworksRequest, context: Any
    ) -> pb.ApplyChuteNetworksResponse:
        """Gives a chute exactly these networks."""
        wanted = [
            read_wanted(network.name, network.section, network.service, from_struct(network.definition))
            for network in request.networks
        ]
        folder = Path(request.system_dir) if request.system_dir else None
        work = self._manager.apply_chute(_owner(request.chute), wanted, folder, request.validate_only)
        networks = await unbroken(work)
        return pb.ApplyChuteNetworksResponse(
            network_interfaces=[to_struct(to_cache(network)) for network in networks]
        )

    async def AttachChuteNetworks(
        self, request: pb.AttachChuteNetworksRequest, context: Any
    ) -> pb.AttachChuteNetworksResponse:
        """Puts the interfaces of a chute into its containers."""
        pids = {container.service: container.pid for container in request.containers}
        await unbroken(self._manager.attach(request.chute, pids))
        return pb.AttachChuteNetworksResponse()

    async def ReleaseChuteNetworks(
        self, request: pb.ReleaseChuteNetworksRequest, context: Any
    ) -> pb.ReleaseChuteNetworksResponse:
        """Takes a chute's networks away."""
        await unbroken(self._manager.release_chute(request.chute))
        return pb.ReleaseChuteNetworksResponse()

    async def SyncChutes(self, request: pb.SyncChutesRequest, context: Any) -> pb.SyncChutesResponse:
        """Takes note of the chutes there are."""
        owners = [_owner(chute) for chute in request.chutes]
        await unbroken(self._manager.sync(owners, request.forget_others, list(request.busy)))
        return pb.SyncChutesResponse()

    async def ListChuteInterfaces(
        self, request: pb.ListChuteInterfacesRequest, context: Any
    ) -> pb.ListChuteInterfacesResponse:
        """Lists the interfaces of the node that belong to networks of chutes."""
        interfaces = [
            pb.ChuteInterface(chute=network.chute, interface=name, type=network.wanted.type)
            for record in self._manager.chutes.values()
            for network in record.networks
            for name in (network.interface, network.side_door)
            if name
        ]
        interfaces.sort(key=lambda found: (found.chute, found.interface))
        return pb.ListChuteInterfacesResponse(interfaces=interfaces)


def _owner(owner: pb.ChuteOwner) -> Owner:
    return Owner(owner.chute, owner.owner, owner.owner_domain)

"""The RPCs of NetworkService, put together from their parts."""

from paradrop.network.v1 import network_pb2, network_pb2_grpc

from services.network.domain.station_book import StationBook
from services.network.domain.wireless import Targets, Wireless
from services.network.domain.wireless_ports import AccessPointControl
from services.network.rpc.access_points import AccessPointRpcs
from services.network.rpc.networks import NetworkParts, NetworkRpcs

SERVICE = network_pb2.DESCRIPTOR.services_by_name["NetworkService"]


class NetworkServicer(NetworkRpcs, AccessPointRpcs, network_pb2_grpc.NetworkServiceServicer):
    """Access points, stations, leases and host configuration."""

    def __init__(
        self,
        networks: NetworkParts,
        targets: Targets,
        control: AccessPointControl,
        book: StationBook,
        wireless: Wireless,
    ) -> None:
        NetworkRpcs.__init__(self, networks)
        AccessPointRpcs.__init__(self, targets, control, book, wireless)

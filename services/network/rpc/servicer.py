"""The RPCs of the network service."""

from paradrop.network.v1 import network_pb2, network_pb2_grpc

from services.common.pending import leave_pending
from services.network.rpc.access_points import AccessPointRpcs

SERVICE = network_pb2.DESCRIPTOR.services_by_name["NetworkService"]


class NetworkServicer(AccessPointRpcs, network_pb2_grpc.NetworkServiceServicer):
    """Access points, stations, leases and host configuration."""


leave_pending(NetworkServicer, SERVICE)

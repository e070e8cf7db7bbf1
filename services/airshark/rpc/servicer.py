"""The RPCs of the airshark service."""

from paradrop.airshark.v1 import airshark_pb2, airshark_pb2_grpc

from services.common.pending import leave_pending

SERVICE = airshark_pb2.DESCRIPTOR.services_by_name["AirsharkService"]


class AirsharkServicer(airshark_pb2_grpc.AirsharkServiceServicer):
    """Spectrum samples and what the analyzer sees in them."""


leave_pending(AirsharkServicer, SERVICE)

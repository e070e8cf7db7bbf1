"""The RPCs of the node service: the node itself and its sound."""

from paradrop.node.v1 import audio_pb2, audio_pb2_grpc, node_pb2, node_pb2_grpc

from services.common.pending import leave_pending

SERVICE = node_pb2.DESCRIPTOR.services_by_name["NodeService"]
AUDIO_SERVICE = audio_pb2.DESCRIPTOR.services_by_name["AudioService"]


class NodeServicer(node_pb2_grpc.NodeServiceServicer):
    """Identity, information, telemetry and settings of the node."""


class AudioServicer(audio_pb2_grpc.AudioServiceServicer):
    """Sound modules, sinks and sources."""


leave_pending(NodeServicer, SERVICE)
leave_pending(AudioServicer, AUDIO_SERVICE)

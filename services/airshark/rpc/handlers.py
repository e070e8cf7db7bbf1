"""Adds the servicer to a server so that streams may yield messages that are written out already."""

from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message


def add_to_server(servicer: Any, service: ServiceDescriptor, server: grpc.aio.Server) -> None:
    """Does what the generated function does, but for the serializer."""
    handlers = {}
    for method in service.methods:
        build = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else (grpc.unary_unary_rpc_method_handler)
        )
        handlers[method.name] = build(
            getattr(servicer, method.name),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=_written,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _written(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()

"""Calls every RPC of a service over a real socket and tells what it answers."""

from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from tests.support.identity import Issuer
from tests.support.settings import settings_in

Answer = tuple[str, str]
"""Name of the status code and the reason."""


async def answers(address: str, service: ServiceDescriptor, token: str | None) -> dict[str, Answer]:
    """Calls each RPC of a service once."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    async with grpc.aio.insecure_channel(address) as channel:
        return {method.name: await _answer(channel, method, metadata) for method in service.methods}


async def _answer(channel: grpc.aio.Channel, method: MethodDescriptor, metadata: Any) -> Answer:
    request_type = message_factory.GetMessageClass(method.input_type)
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    call = kinds[method.client_streaming, method.server_streaming](
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request_type.SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    request = iter([request_type()]) if method.client_streaming else request_type()
    try:
        running = call(request, metadata=metadata, timeout=10)
        if method.server_streaming:
            async for _ in running:
                return "OK", ""
            return "OK", ""
        await running
    except grpc.aio.AioRpcError as error:
        return error.code().name, _reason(error)
    return "OK", ""


def _reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return info.reason


async def check_pending_service(
    folder: Path, name: str, running: Any, services: list[ServiceDescriptor]
) -> None:
    """Checks health, reflection and that each RPC refuses strangers and is honest to friends."""
    with settings_in(folder) as settings:
        token = Issuer(settings.public_dir).token()
        address = settings.addresses[name]
        async with running(settings):
            for service in services:
                names = {method.name for method in service.methods}
                assert await answers(address, service, token) == dict.fromkeys(
                    names, ("UNIMPLEMENTED", "NOT_IMPLEMENTED_YET")
                )
                assert await answers(address, service, None) == dict.fromkeys(
                    names, ("UNAUTHENTICATED", "CREDENTIALS_MISSING")
                )
                assert await health(address, service.full_name) == "SERVING"
            listed = await reflected(address, token)
            assert {service.full_name for service in services} <= listed


async def health(address: str, service: str) -> str:
    """Returns the health of a service."""
    async with grpc.aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def reflected(address: str, token: str) -> set[str]:
    """Returns the services that a server names by reflection."""
    async with grpc.aio.insecure_channel(address) as channel:
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        metadata = (("authorization", f"Bearer {token}"),)
        async for answer in stub.ServerReflectionInfo(iter([request]), metadata=metadata, timeout=10):
            return {service.name for service in answer.list_services_response.service}
    raise AssertionError("reflection did not answer")

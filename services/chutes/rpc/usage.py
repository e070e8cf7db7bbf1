"""Translates what chutes use."""

from collections.abc import AsyncIterator, Mapping

from paradrop.chutes.v1 import chutes_pb2 as pb

from services.chutes.domain.usage import ServiceUsage, total
from services.common.streams import heartbeat
from services.common.timestamps import to_timestamp

DEFAULT_INTERVAL_S = 1
NANOSECONDS = 1e9


def to_usage(services: Mapping[str, ServiceUsage]) -> pb.ChuteUsage:
    """Returns what the services of a chute use."""
    sum_of_all = total(list(services.values()))
    return pb.ChuteUsage(
        time=to_timestamp(sum_of_all.measured.time_s) if services else None,
        total=_container(sum_of_all),
        services={name: _container(usage) for name, usage in services.items()},
    )


async def usage_responses(
    usages: AsyncIterator[Mapping[str, ServiceUsage] | None],
) -> AsyncIterator[pb.StreamUsageResponse]:
    """Yields the messages of a stream; None is only a sign of life."""
    async for services in usages:
        if services is None:
            yield pb.StreamUsageResponse(heartbeat=heartbeat())
        else:
            yield pb.StreamUsageResponse(usage=to_usage(services))


def _container(usage: ServiceUsage) -> pb.ContainerUsage:
    measured = usage.measured
    return pb.ContainerUsage(
        cpu_seconds=measured.cpu_ns / NANOSECONDS,
        cpu_percent=usage.cpu_percent,
        memory_bytes=measured.memory_bytes,
        memory_limit_bytes=measured.memory_limit_bytes,
        network_received_bytes=measured.received_bytes,
        network_sent_bytes=measured.sent_bytes,
        block_read_bytes=measured.read_bytes,
        block_written_bytes=measured.written_bytes,
        pid_count=measured.pid_count,
    )

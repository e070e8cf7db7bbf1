"""What every server tells about the process it is in: identity, metrics, log."""

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from paradrop.process.v1 import process_pb2 as pb
from paradrop.process.v1 import process_pb2_grpc

from services.common.metrics import CallMetrics, Collect, Family, Sample
from services.common.ring import RING, LogLine
from services.common.timestamps import to_timestamp

IDLE_S = 60.0
NAME = pb.DESCRIPTOR.services_by_name["ProcessService"].full_name


def _own_version() -> str:
    try:
        return version("paradrop")
    except PackageNotFoundError:
        return ""


VERSION = _own_version()
"""Version of the node software; empty if it is not installed."""


class ProcessServicer(process_pb2_grpc.ProcessServiceServicer):
    """Answers ProcessService for one server."""

    def __init__(self, metrics: CallMetrics, collect: Collect) -> None:
        self._metrics = metrics
        self._collect = collect

    async def GetProcess(self, request: pb.GetProcessRequest, context: Any) -> pb.GetProcessResponse:
        """Returns which process this is."""
        return pb.GetProcessResponse(instance=RING.instance, version=VERSION)

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Any) -> pb.GetMetricsResponse:
        """Returns what is counted."""
        return pb.GetMetricsResponse(
            families=map(_to_family, [*self._metrics.families(), *self._collect()]),
            instance=RING.instance,
            process_families=map(_to_family, await asyncio.to_thread(_process_families)),
        )

    async def StreamLines(
        self, request: pb.StreamLinesRequest, context: Any
    ) -> AsyncIterator[pb.StreamLinesResponse]:
        """Streams the log."""
        with RING.reading() as (kept, reader):
            tail = max(0, request.tail)
            yield pb.StreamLinesResponse(lines=map(_to_line, kept[len(kept) - min(tail, len(kept)) :]))
            async for lines in reader.batches(IDLE_S):
                yield pb.StreamLinesResponse(lines=map(_to_line, lines), dropped_count=reader.take_dropped())


def _process_families() -> list[Family]:
    # A megabyte in each process, which none of them needs until somebody asks for metrics.
    import psutil

    process = psutil.Process()
    with process.oneshot():
        times, labels = process.cpu_times(), {"instance": RING.instance}
        return [
            Family(
                "paradrop_process_cpu_seconds",
                "Processor time of a process of the node.",
                "counter",
                [Sample(times.user + times.system, labels, "_total")],
            ),
            Family(
                "paradrop_process_resident_memory_bytes",
                "Resident memory of a process of the node.",
                "gauge",
                [Sample(process.memory_info().rss, labels)],
            ),
            Family(
                "paradrop_process_open_fds",
                "Open files and sockets of a process of the node.",
                "gauge",
                [Sample(process.num_fds(), labels)],
            ),
        ]


def _to_family(family: Family) -> pb.MetricFamily:
    return pb.MetricFamily(
        name=family.name,
        help=family.help,
        kind=pb.MetricFamily.Kind.Value(f"KIND_{family.kind.upper()}"),
        samples=[
            pb.MetricSample(suffix=sample.suffix, labels=dict(sample.labels), value=sample.value)
            for sample in family.samples
        ],
    )


def _to_line(line: LogLine) -> pb.Line:
    return pb.Line(
        time=to_timestamp(line.time_s),
        service=line.service,
        level=line.level,
        message=line.message,
        fields=dict(line.fields),
    )

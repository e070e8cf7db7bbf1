"""What all services count, put together for Prometheus."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import grpc
from paradrop.process.v1 import process_pb2, process_pb2_grpc
from starlette.requests import Request
from starlette.responses import Response

from gateway.bridge import replies
from services.common.tracing import carried

TIMEOUT_S = 5.0
PATH = "/metrics"
_KINDS = {
    process_pb2.MetricFamily.KIND_COUNTER: "counter",
    process_pb2.MetricFamily.KIND_GAUGE: "gauge",
    process_pb2.MetricFamily.KIND_HISTOGRAM: "histogram",
}


class MetricsPage:
    """Answers GET /metrics with the caller's own token at every service."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._stubs: dict[str, Any] = {
            name: process_pb2_grpc.ProcessServiceStub(channel) for name, channel in channels.items()
        }

    async def __call__(self, request: Request) -> Response:
        """Returns the text that Prometheus reads; a service that is down is "paradrop_up" 0."""
        metadata = (("authorization", request.headers.get("authorization", "")), *carried())
        told = await asyncio.gather(
            *(
                stub.GetMetrics(process_pb2.GetMetricsRequest(), metadata=metadata, timeout=TIMEOUT_S)
                for stub in self._stubs.values()
            ),
            return_exceptions=True,
        )
        answers: dict[str, process_pb2.GetMetricsResponse] = {}
        for name, answer in zip(self._stubs, told, strict=True):
            if isinstance(answer, process_pb2.GetMetricsResponse):
                answers[name] = answer
            elif isinstance(answer, grpc.aio.AioRpcError) and answer.code() in (
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.UNAUTHENTICATED,
            ):
                return replies.from_rpc_error(answer)
        # Only whoever scrapes pays for the library.
        content, content_type = await asyncio.to_thread(_text, answers, list(self._stubs), _accepts(request))
        return Response(content, headers={"content-type": content_type, "cache-control": "no-store"})


def _accepts(request: Request) -> str:
    return request.headers.get("accept", "")


def _text(
    answers: Mapping[str, process_pb2.GetMetricsResponse], services: Iterable[str], accept: str
) -> tuple[bytes, str]:
    from prometheus_client.core import CollectorRegistry, Metric
    from prometheus_client.exposition import choose_encoder

    metrics: dict[str, Metric] = {}

    def add(family: process_pb2.MetricFamily, labels: Mapping[str, str]) -> None:
        metric = metrics.get(family.name)
        if metric is None:
            metric = metrics[family.name] = Metric(
                family.name, family.help, _KINDS.get(family.kind, "unknown")
            )
        for sample in family.samples:
            metric.add_sample(family.name + sample.suffix, {**sample.labels, **labels}, sample.value)

    up = metrics["paradrop_up"] = Metric("paradrop_up", "Whether a service of the node answers.", "gauge")
    for name in services:
        up.add_sample("paradrop_up", {"part": name}, float(name in answers))
    for family, labels in _families(answers):
        add(family, labels)

    class Collected:
        def collect(self) -> Iterable[Metric]:
            return metrics.values()

    registry = CollectorRegistry()
    registry.register(Collected())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _families(
    answers: Mapping[str, process_pb2.GetMetricsResponse],
) -> Iterator[tuple[process_pb2.MetricFamily, Mapping[str, str]]]:
    """Yields each family with the labels that tell from which part it comes."""
    seen = set()
    for name, answer in answers.items():
        for family in answer.families:
            yield family, {"part": name}
        # Services that share a process tell the same of it.
        if answer.instance not in seen:
            seen.add(answer.instance)
            for family in answer.process_families:
                yield family, {}

"""An OpenTelemetry collector that takes traces over gRPC, on a real socket."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class Span:
    """A span, and who sent it."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    failed: bool
    text: str


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it gets."""

    port: int = 0
    spans: list[Span] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def Export(self, request: Any, context: Any) -> Any:
        for group in request.resource_spans:
            names = {a.key: a.value.string_value for a in group.resource.attributes}
            for scope in group.scope_spans:
                for span in scope.spans:
                    with self.lock:
                        self.spans.append(
                            Span(
                                names.get("service.name", ""), span.name, span.trace_id.hex(),
                                span.span_id.hex(), span.parent_span_id.hex(), span.status.code == 2,
                                str(span),
                            )
                        )  # fmt: skip
        return trace_service_pb2.ExportTraceServiceResponse()

    def until(self, check: Callable[[list[Span]], Any], timeout_s: float = 20) -> Any:
        """Waits until a check of the spans finds something, and returns it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self.lock:
                found = check(list(self.spans))
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError([(s.service, s.name, s.trace_id, s.span_id, s.parent_id) for s in self.spans])


@contextmanager
def running_collector() -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector
    server.stop(0).wait()

"""OpenTelemetry traces, if the operator wants them: without an endpoint nothing of this is loaded.

A span begins where a call arrives. What it calls in turn carries its `traceparent`, so that Envoy, the bridge
and the services appear in one trace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from inspect import iscoroutinefunction
from typing import Any

from services.common.boundary import Handler, behaviour_of, with_behaviour
from services.common.settings import SettingError

SERVICE_NAME = "paradrop"
MAX_WAITING_SPANS, MAX_BATCH_SPANS = 512, 128
"""What is above the first is dropped: traces must not fill a router's memory while the collector is away."""
EXPORT_TIMEOUT_S = 5.0
Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Any, Any], Awaitable[None]]


class Tracing:
    """Spans of this process and their way to the collector."""

    def __init__(self, endpoint: str) -> None:
        try:
            from opentelemetry import context, trace
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            raise SettingError(
                "PARADROP_OTLP_ENDPOINT needs OpenTelemetry: install paradrop[tracing], or unset it."
            ) from None
        self._context, self._trace = context, trace
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": SERVICE_NAME}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(endpoint, insecure=True, timeout=EXPORT_TIMEOUT_S),
                max_queue_size=MAX_WAITING_SPANS,
                max_export_batch_size=MAX_BATCH_SPANS,
            )
        )
        self._tracer = self._provider.get_tracer("paradrop")

    def end(self) -> None:
        """Sends what waits, if the collector takes it, and ends. Blocking."""
        self._provider.shutdown()

    def carried(self) -> tuple[tuple[str, str], ...]:
        """Returns the metadata by which a call becomes part of the trace in hand."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return tuple(carrier.items())

    @contextlib.contextmanager
    def arrived(self, name: str, headers: Mapping[str, str], attributes: Mapping[str, str]) -> Iterator[Any]:
        """Holds a span for a call that arrived with `headers`, for whatever its task does.

        The context is not put back: the task ends with the call, and may end it from another context.
        """
        parent = self._propagator.extract(headers)
        span = self._tracer.start_span(
            name, parent, kind=self._trace.SpanKind.SERVER, attributes=dict(attributes)
        )
        self._context.attach(self._trace.set_span_in_context(span, parent))
        try:
            yield span
        except Exception:
            # No text of the error: it may hold what a collector must not see. A caller that goes is no error.
            span.set_status(self._trace.StatusCode.ERROR)
            raise
        finally:
            span.end()


_tracing: Tracing | None = None


@contextlib.asynccontextmanager
async def exporting(endpoint: str | None) -> AsyncIterator[None]:
    """Traces this process for the time of the context, if there is an endpoint."""
    global _tracing
    if not endpoint:
        yield
        return
    _tracing = await asyncio.to_thread(Tracing, endpoint)
    try:
        yield
    finally:
        ended, _tracing = _tracing, None
        await asyncio.to_thread(ended.end)


def carried() -> tuple[tuple[str, str], ...]:
    """Returns the metadata by which a call becomes part of the trace in hand; none without one."""
    return _tracing.carried() if _tracing is not None else ()


def traced(handler: Handler, method: str) -> Handler:
    """Returns a handler whose calls are spans; the same one while nothing is traced."""
    if _tracing is None:
        return handler
    tracing, inner = _tracing, behaviour_of(handler)
    service, _, name = method.removeprefix("/").partition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}

    def arrived(context: Any) -> Any:
        headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        return tracing.arrived(method.removeprefix("/"), headers, attributes)

    if handler.response_streaming and not iscoroutinefunction(inner):

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            with arrived(context):
                async for response in inner(request, context):
                    yield response

        return with_behaviour(handler, stream)

    async def call(request: Any, context: Any) -> Any:
        with arrived(context):
            return await inner(request, context)

    return with_behaviour(handler, call)


def traced_app(app: AsgiApp) -> AsgiApp:
    """Returns an ASGI application whose requests are spans; the same one while nothing is traced."""
    if _tracing is None:
        return app
    tracing = _tracing

    async def call(scope: Scope, receive: Any, send: Any) -> None:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope.get("headers", ())}
        attributes = {"url.path": str(scope.get("path", ""))}
        with tracing.arrived(f"bridge {scope['type']}", headers, attributes):
            await app(scope, receive, send)

    return call

"""What every call of a server passes: who calls is checked, and errors become statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import grpc

from services.common.authorizer import refusal
from services.common.boundary import Handler, within_boundary
from services.common.metrics import CallMetrics
from services.common.pages import with_page_header
from services.common.tracing import traced


class Admission(Protocol):
    """Decides about each call, as `Authorizer` does."""

    def admit(self, method: str, metadata: Any) -> None:
        """Raises the `DomainError` with which the call is refused."""

    def within_limits(self, method: str, handler: Handler) -> Handler:
        """Returns the handler for calls that were admitted."""


class Guard(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    """Holds the handlers of a server, and stands in for it where generated code adds them.

    Interceptors could do the same, but gRPC runs each as a coroutine of its own at every call.
    """

    def __init__(self, admission: Admission, metrics: CallMetrics | None = None) -> None:
        self._admission = admission
        self._metrics = metrics or CallMetrics()
        self._added: list[grpc.GenericRpcHandler] = []
        self._known: dict[str, tuple[Handler, Handler]] = {}
        """Method to its handler and to the same with everything around it."""

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Takes the handlers of a service."""
        self._added.extend(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Leaves it at the same handlers that were added as generic ones.

        gRPC would wait for each registered method by itself, and touch all of these waits at every call.
        """

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Returns the handler of one call: its own, or one that refuses it."""
        method = handler_call_details.method
        known = self._known.get(method)
        if known is None:
            handler = self._find(handler_call_details)
            if handler is None:
                return None
            limited = self._admission.within_limits(method, handler)
            known = self._known[method] = (handler, self._around(with_page_header(limited, method), method))
        try:
            self._admission.admit(method, handler_call_details.invocation_metadata)
        except Exception as error:  # What is no refusal is made one by the boundary.
            return self._around(refusal(known[0], error), method)
        return known[1]

    def _around(self, handler: Handler, method: str) -> Handler:
        return traced(within_boundary(handler, method, self._metrics), method)

    def _find(self, details: grpc.HandlerCallDetails) -> Handler | None:
        found = (handlers.service(details) for handlers in self._added)
        return next((handler for handler in found if handler is not None), None)

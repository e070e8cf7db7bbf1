"""The parts of a node and how each is run."""

from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, NoReturn

from services.common.settings import SERVICES, Settings

GATEWAY = "gateway"
_MODULES = {service: f"services.{service}.app" for service in SERVICES} | {
    "bridge": "gateway.bridge.app",
    GATEWAY: "gateway.envoy",
}

PARTS = tuple(_MODULES)
"""In the order in which they start: none needs one that comes after it."""

DISPENSABLE = frozenset({"network", "airshark", "node"})
"""Parts without which a node still serves its owner; should one fail to start, the node runs without it."""


def load(*parts: str) -> None:
    """Imports the code of parts. Blocking."""
    for part in parts:
        import_module(_MODULES[part])


def running(part: str, settings: Settings) -> AbstractAsyncContextManager[Any]:
    """Returns the context in which a part runs.

    It yields the certificate that the part shows others, None without one; Envoy yields itself.
    """
    context: AbstractAsyncContextManager[Any] = import_module(_MODULES[part]).running(settings)
    return context


def become_gateway(settings: Settings) -> NoReturn:
    """Makes this process the gateway. Blocking."""
    import_module(_MODULES[GATEWAY]).become(settings)
    raise AssertionError("a process that became another one goes on")

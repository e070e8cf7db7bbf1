"""Asks the node how it is, the way its users reach it."""

import json
from dataclasses import dataclass

from services.common.settings import Settings
from services.launcher.http import get


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """What /healthz says."""

    answered: bool
    """Whether the way through Envoy to the bridge is open."""
    problem: str = ""


def gateway_url(settings: Settings) -> str:
    """Returns the URL at which this machine reaches the gateway."""
    scheme = "https" if settings.tls_cert else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.listen_host, settings.listen_host)  # noqa: S104
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.listen_port}"


def gateway_health(settings: Settings) -> GatewayHealth:
    """Asks /healthz through Envoy. Blocking."""
    url = gateway_url(settings)
    try:
        status, body = get(url, "/healthz")
    except OSError as error:
        return GatewayHealth(False, f"does not answer: {error}")
    try:
        services = json.loads(body)["services"]
    except (ValueError, KeyError, TypeError):
        return GatewayHealth(False, f"/healthz answers {status} without a word about the services")
    down = [f"{name} {state}" for name, state in services.items() if state != "SERVING"]
    return GatewayHealth(True, f"/healthz says {', '.join(down)}" if down else "")

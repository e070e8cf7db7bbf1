"""Channels to other services: retries by service config, and the caller's or the node's own token."""

import json
from pathlib import Path

import grpc

from services.common.errors import Unavailable
from services.common.settings import Settings
from services.common.tls import Certificate, is_network_address, named
from services.common.tracing import carried

FIRST_RETRY_S = 0.05
"""The pause before a call to a service that is not there is tried again, three times as long each time."""
MAX_RECONNECT_BACKOFF_MS = 5000


def open_channel(settings: Settings, name: str, certificate: Certificate | None = None) -> grpc.aio.Channel:
    """Opens the one channel of this process to a service."""
    address = settings.addresses[name]
    options = [
        ("grpc.service_config", _service_config()),
        ("grpc.http2.bdp_probe", 0),
        # A service of the same node that comes back must not be waited for much longer than it was away.
        ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_BACKOFF_MS),
    ]
    if certificate is None or not is_network_address(address):
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, certificate.for_client(), options=[*options, *named(name)])


def _service_config() -> str:
    retries = {
        "maxAttempts": 4,
        "initialBackoff": f"{FIRST_RETRY_S}s",
        "maxBackoff": "1s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": retries}]})


def service_metadata(token_file: Path) -> tuple[tuple[str, str], ...]:
    """Returns the metadata with which the node's own services call each other."""
    try:
        token = token_file.read_text().strip()
    except OSError:
        raise Unavailable(
            "The auth service has not published the services' token yet; try again in a moment.",
            reason="AUTH_KEYS_MISSING",
        ) from None
    return (("authorization", f"Bearer {token}"), *carried())

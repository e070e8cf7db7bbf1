"""Looks whether a port is free before a node relies on it."""

import socket

from services.common.settings import Settings
from services.launcher.errors import StartError


def check_port(settings: Settings) -> None:
    """Raises `StartError` if Envoy could not listen. Blocking.

    Envoy would notice as well, but only after everything else has started.
    """
    host, port = settings.listen_host, settings.listen_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise StartError(
            f"The node cannot listen at {host}:{port} ({error.strerror or error}); "
            "stop what uses it, or set PARADROP_LISTEN to another address."
        ) from None

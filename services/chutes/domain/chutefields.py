"""Reads values that fit the schema of chutes: what JSON Schema cannot say is checked here."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from services.chutes.domain.chuteyaml import invalid
from services.chutes.domain.spec import PortBinding

MIN_MEMORY_BYTES = 8 * 1024 * 1024
"""Engines refuse less than 6 MB."""

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def scalar_text(value: str | float | bool | None) -> str:
    """Returns a value as environments and command lines have it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def texts(value: Any) -> tuple[str, ...]:
    """Returns a list, or a single value, as texts."""
    if value is None:
        return ()
    return tuple(scalar_text(item) for item in (value if isinstance(value, list) else [value]))


def environment(value: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns environment variables."""
    return {name: scalar_text(item) for name, item in (value or {}).items()}


def command(value: Any, field: str) -> str | tuple[str, ...] | None:
    """Returns a command: a text that is split as a shell does, or a list of arguments."""
    if value is None or isinstance(value, list):
        return texts(value) or None
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise invalid(f"{field} cannot be split into words: {str(error).lower()}.", field) from None
    if not words:
        raise invalid(f"{field} must not be empty.", field)
    return str(value)


def port_bindings(value: Any, field: str) -> tuple[PortBinding, ...]:
    """Returns ports to publish, from a map of container port to host port or a list of both."""
    bindings = tuple(_bindings(value or {}))
    keys = [binding.key for binding in bindings]
    taken = [(binding.host_port, binding.protocol) for binding in bindings if binding.host_port]
    if len(set(keys)) < len(keys) or len(set(taken)) < len(taken):
        raise invalid(f"{field} publishes a port twice.", field)
    return bindings


def _bindings(value: Mapping[str, Any] | list[Mapping[str, Any]]) -> Iterator[PortBinding]:
    pairs = (
        [(item["internal"], item.get("external")) for item in value]
        if isinstance(value, list)
        else list(value.items())
    )
    for container, host in pairs:
        port, _, protocol = scalar_text(_whole(container)).partition("/")
        yield PortBinding(int(port), protocol or "tcp", None if host is None else int(host))


def _whole(value: Any) -> Any:
    """Returns 80.0 as 80: JSON that came over gRPC has no other numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def port_map(bindings: tuple[PortBinding, ...]) -> dict[str, int | None]:
    """Returns what `port_bindings` reads."""
    return {binding.key: binding.host_port for binding in bindings}


def memory_bytes(value: Any, field: str) -> int | None:
    """Returns an amount of memory such as "256M" in bytes."""
    if value is None:
        return None
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+)([kmg]?)(?:i?b)?", value.lower())
        amount = int(match[1]) * _UNITS[match[2]] if match else 0
    else:
        amount = int(value)
    if amount < MIN_MEMORY_BYTES:
        raise invalid(f"{field} must be at least {MIN_MEMORY_BYTES // 1024**2}M.", field)
    return amount

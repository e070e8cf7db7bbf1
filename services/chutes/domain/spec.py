"""What a chute is, as its author describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A port of a container that is published on the node."""

    container_port: int
    protocol: str = "tcp"
    host_port: int | None = None
    """None lets the engine choose."""

    @property
    def key(self) -> str:
        """The port as the engine writes it, such as "80/tcp"."""
        return f"{self.container_port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class WebSpec:
    """Where the chute's web service answers."""

    service: str
    port: int
    access: str = "public"
    """"public" for everybody who reaches the node, or "users" for those who can log in to it."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One container of a chute."""

    name: str
    type: str = "normal"
    source: str = "."
    image: str | None = None
    command: str | tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    port_bindings: tuple[PortBinding, ...] = ()
    build: Mapping[str, Any] = field(default_factory=dict)
    requests: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChuteSpec:
    """A whole chute."""

    name: str
    services: Mapping[str, ServiceSpec]
    version: str | int | float | None = None
    description: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    web: WebSpec | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    """The "config" section of the old form, verbatim."""

    def container_name(self, service: str) -> str:
        """Returns the name of a service's container."""
        return f"{self.name}-{service}"

    def image_tag(self, service: str, version: str) -> str:
        """Returns the tag of a service's image."""
        return f"{self.name}-{service}:{version}"

"""What a chute is, as its author describes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ServiceType = Literal["normal", "light", "image"]
DownloadType = Literal["http", "git"]
NetworkMode = Literal["bridge", "host", "none"]


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
    type: ServiceType = "normal"
    source: str = "."
    """Folder of the service within the chute."""
    image: str | None = None
    """The language of a light service; the image of one that is taken from a registry."""
    command: str | tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    port_bindings: tuple[PortBinding, ...] = ()
    build: Mapping[str, Any] = field(default_factory=dict)
    interfaces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Networks by the name of their interface, as `services.chutes.domain.interfaces` writes them."""
    restart: str = "always"
    """Whether a container that has ended is started again: "always", "no", or "on-failure" if not with 0."""
    requests: Mapping[str, Any] = field(default_factory=dict)
    """What else the author asks for: "as-root", "cpu-fraction" and so on."""
    dns: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    """Services that start before this one and stop after it."""
    memory_limit_bytes: int | None = None

    def made_like(self, other: "ServiceSpec") -> bool:
        """Tells whether the image of this service serves another description of it as well."""
        mine, others = (
            (one.type, one.source, one.image if one.type != "normal" else None, one.build)
            for one in (self, other)
        )
        return mine == others

    @property
    def as_root(self) -> bool:
        """Whether a light service runs as root."""
        return bool(self.requests.get("as-root"))

    @property
    def prioritize_traffic(self) -> bool:
        """Whether what the service sends goes first."""
        return bool(self.requests.get("prioritize-traffic"))

    @property
    def privileged(self) -> bool:
        """Whether the container may do everything that root on the node may."""
        return bool(self.requests.get("privileged"))

    @property
    def network_mode(self) -> NetworkMode:
        """Which network the container is on."""
        mode: NetworkMode = self.requests.get("network-mode") or "bridge"
        return mode


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

    @property
    def start_order(self) -> Sequence[str]:
        """The services, those that others depend on first; else as the author lists them."""
        ordered: dict[str, None] = {}

        def add(service: str) -> None:
            if service not in ordered:
                for other in self.services[service].depends_on:
                    add(other)
                ordered[service] = None

        for service in self.services:
            add(service)
        return list(ordered)

    def container_name(self, service: str) -> str:
        """Returns the name of a service's container."""
        return f"{self.name}-{service}"

    def image_tag(self, service: str, version: str) -> str:
        """Returns the tag of a service's image."""
        return f"{self.name}-{service}:{version}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a server wants to know before it hands something out."""

    user: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Download:
    """Where the files of a chute are."""

    url: str = field(repr=False)
    """Somebody may have written a password into it."""
    type: DownloadType
    checkout: str | None = None
    """Branch, tag or commit."""
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """What somebody sent to have a chute installed."""

    spec: ChuteSpec
    document: Mapping[str, Any]
    """The description as it came, without what only fetches files and images."""
    download: Download | None = None
    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    """Service to who fetches its image."""

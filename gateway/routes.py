"""Turns HTTP bindings into the table of routes that Envoy's configuration is written from."""

import re
from collections import Counter
from dataclasses import dataclass

from gateway.descriptors import VARIABLE, HttpBinding
from services.common.access import ACCESS

DOWNLOAD_RPCS = ("paradrop.chutes.v1.ChuteArchiveService.ExportChute",)
"""What the bridge answers with a file."""

IMPORT_RPC = "paradrop.chutes.v1.ChuteArchiveService.ImportChute"
SHARED_RPCS = ("paradrop.node.v1.NodeService.GetHardware", "paradrop.node.v1.NodeService.GetTelemetry")
"""What many watch and no call changes: requests at the same moment may share an answer, see shared.lua."""

ENVIRONMENT_KEYS = {"environment": "variables"}
RENAMED_KEYS = {
    "paradrop.chutes.v1.ChuteService.StartChute": ENVIRONMENT_KEYS,
    "paradrop.chutes.v1.ChuteService.RestartChute": ENVIRONMENT_KEYS,
}
"""Keys of bodies that are read as another field: one that takes numbers as well, and an empty environment."""

LOGIN_RPC = "paradrop.auth.v1.AuthService.LoginLocal"
UPLOAD_TYPE = "application/x-tar"
ARCHIVE_TYPE = "application/gzip"
ANY_FILE_TYPE = "application/octet-stream"
READ_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    binding: HttpBinding
    regex: str
    methods: tuple[str, ...]
    shared: bool = False
    """Whether another call has the same method and path."""

    @property
    def public(self) -> bool:
        """Whether it needs no token."""
        service, _, rpc = self.binding.rpc.rpartition(".")
        return ACCESS[f"/{service}/{rpc}"].public

    @property
    def shares_answers(self) -> bool:
        """Whether requests at the same moment may share an answer."""
        return self.binding.rpc in SHARED_RPCS

    @property
    def renamed_keys(self) -> dict[str, str]:
        """Keys of the body to the fields that they are read as."""
        return RENAMED_KEYS.get(self.binding.rpc, {})

    @property
    def kind(self) -> str:
        """What the Lua filter treats alike: "login", "upload", "download", "stream" or "call"."""
        if self.binding.rpc == LOGIN_RPC:
            return "login"
        if self.binding.rpc in DOWNLOAD_RPCS:
            return "download"
        if self.binding.client_streaming:
            return "upload"
        return "stream" if self.binding.server_streaming else "call"

    @property
    def told_by_type(self) -> bool:
        """Whether its content type tells an upload from a JSON call of the same method and path."""
        return self.kind == "upload" and self.shared


@dataclass(frozen=True, slots=True)
class Path:
    """One path with what it answers to; anything else is 405."""

    regex: str
    prefix: str
    """What it begins with: all before the first variable."""
    routes: tuple[Route, ...]

    @property
    def allow(self) -> str:
        """Value of the Allow header."""
        return ", ".join(sorted({method for route in self.routes for method in route.methods}))


def paths(bindings: list[HttpBinding]) -> list[Path]:
    """Returns the paths, those with literal segments before those with variables in the same place.

    What many watch stands first: routes are tried one after the other.
    """
    by_shape: dict[str, list[HttpBinding]] = {}
    for binding in bindings:
        by_shape.setdefault(VARIABLE.sub("{}", binding.template), []).append(binding)
    watched = {binding.template for binding in bindings if binding.rpc in SHARED_RPCS}
    shapes = sorted(
        by_shape,
        key=lambda shape: (shape not in watched, [(part == "{}", part) for part in shape.split("/")]),
    )
    return [_path(shape, by_shape[shape]) for shape in shapes]


def _path(shape: str, bindings: list[HttpBinding]) -> Path:
    # One slash at the end is the same path: the original's clients write collections with it.
    regex = "[^/]+".join(re.escape(part) for part in shape.split("{}")) + "/?"
    # An upload shares method and path with a JSON call and is told apart by its content type: it comes first.
    ordered = sorted(bindings, key=lambda binding: not binding.client_streaming)
    verbs = Counter(binding.method for binding in bindings)
    return Path(
        regex,
        shape.partition("{}")[0],
        tuple(Route(binding, regex, _methods(binding), verbs[binding.method] > 1) for binding in ordered),
    )


def upload_types(binding: HttpBinding) -> tuple[str, ...]:
    """Returns the content types that an upload may have."""
    return (ARCHIVE_TYPE, ANY_FILE_TYPE) if binding.rpc == IMPORT_RPC else (UPLOAD_TYPE,)


def _methods(binding: HttpBinding) -> tuple[str, ...]:
    # The head of a stream cannot be known without opening the stream.
    return READ_METHODS if binding.method == "GET" and not binding.server_streaming else (binding.method,)


def public_rpcs(services: dict[str, str]) -> list[tuple[str, str]]:
    """Returns path and service of the RPCs of ours that need no token."""
    return [
        (path, services[service])
        for path, access in ACCESS.items()
        if access.public and (service := path.split("/")[1]) in services
    ]

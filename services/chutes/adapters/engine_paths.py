"""Folders as the engine sees them, should this service itself run in one of its containers.

The engine mounts folders of its own machine into the containers of chutes. In a container our folders lie in
volumes, which have other paths outside.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import docker
from docker.errors import NotFound

_MOUNTS = Path("/proc/self/mountinfo")
# The engine mounts its own file with the name of the host into each container.
_OWN_ID = re.compile(r"/containers/([0-9a-f]{64})/hostname /etc/hostname ")


def as_engine_sees(client: docker.APIClient, folder: Path) -> Path:
    """Returns the path that a folder has outside: the same if we run in no container. Blocking."""
    own = own_container(_MOUNTS.read_text())
    if own is None:
        return folder
    try:
        return outside(folder, client.inspect_container(own)["Mounts"])  # type: ignore[no-untyped-call, unused-ignore]
    except NotFound:
        # A container of another engine, which shares its folders with this one.
        return folder


def own_container(mountinfo: str) -> str | None:
    """Returns the id of the container that a list of mounts belongs to."""
    found = _OWN_ID.search(mountinfo)
    return found[1] if found else None


def outside(folder: Path, mounts: Iterable[Mapping[str, str]]) -> Path:
    """Returns where a folder lies outside of a container with these mounts."""
    fitting = [mount for mount in mounts if folder.is_relative_to(mount["Destination"])]
    if not fitting:
        return folder
    closest = max(fitting, key=lambda mount: len(PurePosixPath(mount["Destination"]).parts))
    return Path(closest["Source"]) / folder.relative_to(closest["Destination"])

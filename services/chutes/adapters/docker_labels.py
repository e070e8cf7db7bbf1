"""The labels by which the node knows its own, and only its own, things on an engine."""

from collections.abc import Mapping
from typing import Any

PREFIX = "io.paradrop."
NODE = f"{PREFIX}node"
CHUTE = f"{PREFIX}chute"
SERVICE = f"{PREFIX}service"


def image_labels(node_id: str, chute: str) -> dict[str, str]:
    """Returns the labels of images, and so of the containers that build them; networks have them as well."""
    return {NODE: node_id, CHUTE: chute}


def container_labels(node_id: str, chute: str, service: str) -> dict[str, str]:
    """Returns the labels of containers; builds have no service, so that the two are told apart."""
    return {NODE: node_id, CHUTE: chute, SERVICE: service}


def belongs(labels: Mapping[str, str] | None, node_id: str, chute: str | None = None) -> bool:
    """Tells whether labels are ours, and of this chute if one is given."""
    labels = labels or {}
    return labels.get(NODE) == node_id and (chute is None or labels.get(CHUTE) == chute)


def is_build_container(config: Mapping[str, Any]) -> bool:
    """Tells whether a container with our node's label is the leftover of a build.

    Containers inherit the labels of their image, so one that somebody runs by hand from an image of ours has
    them too. Builds start from the id of a layer, people from a name; what lists of containers show is the
    id as well once the name is gone, so that only the container's own configuration tells.
    """
    return SERVICE not in (config["Labels"] or {}) and str(config["Image"]).startswith("sha256:")

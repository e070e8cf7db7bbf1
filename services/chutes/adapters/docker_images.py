"""Images of this node on a Docker engine, in blocking calls."""

from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import APIError, NotFound

from services.chutes.adapters.docker_labels import CHUTE, belongs
from services.common.errors import AlreadyExists

CONFLICT = 409


def find(client: docker.APIClient, tag: str) -> Mapping[str, Any] | None:
    """Returns what the engine knows of an image, whoever owns it."""
    try:
        found: Mapping[str, Any] = client.inspect_image(tag)  # type: ignore[no-untyped-call]
    except NotFound:
        return None
    return found


def find_ours(client: docker.APIClient, node_id: str, tag: str) -> Mapping[str, Any] | None:
    """Returns what the engine knows of an image of ours."""
    found = find(client, tag)
    if found is None:
        return None
    labels = _labels(found)
    return found if belongs(labels, node_id) and is_tag_of(labels.get(CHUTE, ""), tag) else None


def with_tag(reference: str) -> str:
    """Returns the name of an image with the tag or digest that is meant."""
    repository, tag = split(reference)
    return f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag}"


def split(reference: str) -> tuple[str, str]:
    """Returns the repository, and the tag or digest, of the name of an image."""
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    repository, colon, tag = reference.rpartition(":")
    # The colon of a port has a slash behind it.
    return (repository, tag) if colon and "/" not in tag else (reference, "latest")


def _labels(image: Mapping[str, Any]) -> Mapping[str, str]:
    return (image.get("Config") or {}).get("Labels") or {}


def is_tag_of(chute: str, tag: str) -> bool:
    """Tells whether a tag is one that a chute's images have.

    Images that people build upon ours inherit the labels, but have names of their own.
    """
    return bool(chute) and tag.startswith(f"{chute}-")


def refuse_foreign(client: docker.APIClient, node_id: str, chute: str, tag: str) -> None:
    """Raises AlreadyExists if somebody else's image has the tag."""
    found = find(client, tag)
    if found is not None and not belongs(_labels(found), node_id, chute):
        raise AlreadyExists(
            f"An image named {tag} exists on the engine and does not belong to this chute; "
            "remove it or rename the chute.",
            reason="IMAGE_NAME_TAKEN",
            image=tag,
        )


def tag(client: docker.APIClient, node_id: str, chute: str, image_id: str, name: str) -> None:
    """Gives a built image its tag."""
    refuse_foreign(client, node_id, chute, name)
    repository, _, version = name.rpartition(":")
    client.tag(image_id, repository, version, force=True)


def remove(client: docker.APIClient, node_id: str, name: str) -> None:
    """Removes an image of ours by its tag."""
    if find_ours(client, node_id, name) is not None:
        remove_tag(client, name)


def remove_tag(client: docker.APIClient, name: str) -> None:
    """Removes a tag, and the image unless it has another."""
    try:
        client.remove_image(name)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != CONFLICT:
            raise
        # Somebody runs a container from it: only the tag goes, and a later sweep finds the rest.
        client.remove_image(name, force=True)

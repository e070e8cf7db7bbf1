"""Networks of this node on a Docker engine, in blocking calls."""

from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from services.chutes.adapters.docker_client import refusal, words
from services.chutes.adapters.docker_labels import belongs, image_labels
from services.chutes.adapters.docker_subnets import free_subnet
from services.common.errors import AlreadyExists, FailedPrecondition, ResourceExhausted
from services.common.errors import NotFound as NothingFound

CONFLICT = 409
FORBIDDEN = 403
NO_ADDRESSES = "non-overlapping IPv4 address pool"
OVERLAP = "Pool overlaps"
TRIES = 5


def ensure(client: docker.APIClient, node_id: str, name: str, chute: str) -> None:
    """Creates a bridge network unless it is there."""
    if _exists(client, node_id, name, chute):
        return
    labels = image_labels(node_id, chute)
    try:
        try:
            _create(client, name, labels)
        except APIError as error:
            if NO_ADDRESSES not in words(error):
                raise
            _create_in_own_subnet(client, name, labels)
    except APIError as error:
        if error.status_code == CONFLICT and _exists(client, node_id, name, chute):
            return
        raise refusal(error, "NETWORK_CREATE_FAILED", name) from error


def _create(
    client: docker.APIClient, name: str, labels: Mapping[str, str], ipam: IPAMConfig | None = None
) -> None:
    client.create_network(name, driver="bridge", check_duplicate=True, labels=dict(labels), ipam=ipam)


def _create_in_own_subnet(client: docker.APIClient, name: str, labels: Mapping[str, str]) -> None:
    for attempt in range(1, TRIES + 1):
        subnet = free_subnet(client)
        if subnet is None:
            raise ResourceExhausted(
                "Neither the engine nor the node has addresses left for another network; "
                "remove networks that nobody uses (docker network prune).",
                reason="NETWORK_ADDRESSES_EXHAUSTED",
            )
        try:
            _create(client, name, labels, IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]))
        except APIError as error:
            # Another change may have taken the same one meanwhile.
            if OVERLAP not in words(error) or attempt == TRIES:
                raise
        else:
            return


def _exists(client: docker.APIClient, node_id: str, name: str, chute: str) -> bool:
    found = _named(client, name)
    if not found:
        return False
    if not all(belongs(network["Labels"], node_id, chute) for network in found):
        raise AlreadyExists(
            f"A network named {name} exists on the engine and does not belong to this chute; "
            "remove it or rename the chute.",
            reason="NETWORK_NAME_TAKEN",
            network=name,
        )
    return True


def _named(client: docker.APIClient, name: str) -> list[Mapping[str, Any]]:
    # The engine's filter also finds names that contain this one.
    return [network for network in client.networks(names=[name]) if network["Name"] == name]


def require_id(client: docker.APIClient, node_id: str, name: str, chute: str) -> str:
    """Returns the id of a chute's network."""
    for network in _named(client, name):
        if belongs(network["Labels"], node_id, chute):
            return str(network["Id"])
    raise NothingFound(
        f"The engine has no network {name} of this node.", reason="NETWORK_NOT_FOUND", network=name
    )


def remove(client: docker.APIClient, node_id: str, name: str) -> None:
    """Removes a network of ours."""
    for network in _named(client, name):
        if belongs(network["Labels"], node_id):
            remove_by_id(client, network["Id"], name)


def remove_by_id(client: docker.APIClient, network_id: str, name: str) -> None:
    """Removes a network unless somebody still uses it."""
    try:
        client.remove_network(network_id)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != FORBIDDEN:
            raise
        users = client.inspect_network(network_id)["Containers"] or {}
        names = ", ".join(sorted(user["Name"] for user in users.values()))
        raise FailedPrecondition(
            f"The network {name} is in use by containers that are not of this chute: {names}; "
            f"disconnect them (docker network disconnect {name} CONTAINER) and try again.",
            reason="NETWORK_IN_USE",
            network=name,
            containers=names,
        ) from error

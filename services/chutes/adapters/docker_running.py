"""What is done to containers of this node while they run, in blocking calls."""

import docker
from docker.errors import APIError

from services.chutes.adapters.docker_client import refusal
from services.chutes.adapters.docker_containers import find_ours, require_ours


def set_cpu_shares(client: docker.APIClient, node_id: str, name: str, shares: int) -> None:
    """Changes the weight of a container of ours."""
    found = require_ours(client, node_id, name)
    client.update_container(found["Id"], cpu_shares=shares)


def pause(client: docker.APIClient, node_id: str, name: str) -> None:
    """Freezes the processes of a container of ours that runs."""
    found = find_ours(client, node_id, name)
    if found is None or found["State"]["Status"] != "running":
        return
    try:
        client.pause(found["Id"])
    except APIError as error:
        raise refusal(error, "CONTAINER_PAUSE_FAILED", name) from error


def resume(client: docker.APIClient, node_id: str, name: str) -> None:
    """Lets a frozen container of ours go on."""
    found = find_ours(client, node_id, name)
    if found is not None and found["State"]["Status"] == "paused":
        client.unpause(found["Id"])

"""Containers of this node on a Docker engine: what the engine is asked, in blocking calls."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import docker
import requests
from docker.errors import APIError, NotFound
from docker.types import LogConfig, Mount

from services.chutes.adapters.docker_client import refusal, words
from services.chutes.adapters.docker_labels import CHUTE, NODE, SERVICE, belongs, container_labels
from services.chutes.adapters.docker_networks import require_id
from services.chutes.adapters.engine_paths import as_engine_sees
from services.chutes.domain.ports import ContainerPlan, ContainerState
from services.common.errors import AlreadyExists, DomainError, FailedPrecondition
from services.common.errors import NotFound as NothingFound

STOP_TIMEOUT_S = 10
LOCAL_DOMAIN = "paradrop.io"
LOG_OPTIONS = {"max-size": "5m", "max-file": "2"}
"""Logs of chutes lie on flash, and all together must fit. But an engine that is more than a file behind in
telling what a container writes leaves lines out; a fast logger fills one in a second or two."""

LOW_PORTS = "net.ipv4.ip_unprivileged_port_start"
CONFLICT = 409
_TAKEN_PORT = re.compile(
    r":(\d+)(?: failed: port is already allocated|: bind: address already in use)"
    r"|host port (?:for )?(?:[\d.]+|\[[^\]]*\]):(\d+)\S*: address already in use"
)
"""As engines up to version 27 word it, and as later ones do."""
_HEALTH = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)$")
_EXIT_CODE = re.compile(r"Exited \((-?\d+)\)")


def list_states(client: docker.APIClient, node_id: str) -> dict[str, ContainerState]:
    """Returns all our containers by id, with one call."""
    listed = client.containers(all=True, filters={"label": [f"{NODE}={node_id}", SERVICE]})
    states = {summary["Id"]: _state(summary) for summary in listed}
    return {container: state for container, state in states.items() if state is not None}


def process_ids(
    client: docker.APIClient, node_id: str, containers: Sequence[ContainerState]
) -> dict[tuple[str, str], int]:
    """Returns the number of the main process of each container that still runs, by chute and service."""
    found = {}
    for container in containers:
        inspected = find_ours(client, node_id, container.name)
        pid = int(inspected["State"].get("Pid") or 0) if inspected else 0
        if pid:
            found[container.chute, container.service] = pid
    return found


def _state(summary: Mapping[str, Any]) -> ContainerState | None:
    names = [name[1:] for name in summary.get("Names") or () if name.count("/") == 1]
    if not names:
        return None
    labels = summary["Labels"]
    exited = _EXIT_CODE.match(summary.get("Status", ""))
    return ContainerState(
        name=names[0],
        chute=labels.get(CHUTE, ""),
        service=labels[SERVICE],
        status=summary["State"],
        ports=_ports(summary.get("Ports") or ()),
        exit_code=int(exited[1]) if exited else None,
        health=_health(summary.get("Status", "")),
        id=summary["Id"],
        address=_address(summary, labels.get(CHUTE, "")),
    )


def _address(summary: Mapping[str, Any], chute: str) -> str:
    networks = (summary.get("NetworkSettings") or {}).get("Networks") or {}
    if "host" in networks:
        return "127.0.0.1"
    # Its own network before the default bridge, which somebody may turn off.
    return next(
        (
            networks[name]["IPAddress"]
            for name in (chute, *networks)
            if name in networks and networks[name].get("IPAddress")
        ),
        "",
    )


def _health(status: str) -> str:
    found = _HEALTH.search(status)
    return found[1] if found else ""


def _ports(published: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    ports: dict[str, int] = {}
    # The engine may choose different ports for IPv4 and IPv6; most people mean the former.
    for port in sorted(published, key=lambda port: ":" in port.get("IP", "")):
        if port.get("PublicPort"):
            ports.setdefault(f"{port['PrivatePort']}/{port['Type']}", port["PublicPort"])
    return ports


def find(client: docker.APIClient, name: str) -> Mapping[str, Any] | None:
    """Returns what the engine knows of a container, whoever owns it."""
    try:
        found: Mapping[str, Any] = client.inspect_container(name)
    except NotFound:
        return None
    return found


def find_ours(client: docker.APIClient, node_id: str, name: str) -> Mapping[str, Any] | None:
    """Returns what the engine knows of a container of ours."""
    found = find(client, name)
    if found is None or found["Name"] != f"/{name}":  # The engine also finds containers by parts of their id.
        return None
    labels = found["Config"]["Labels"] or {}
    return found if belongs(labels, node_id) and SERVICE in labels else None


def require_ours(client: docker.APIClient, node_id: str, name: str) -> Mapping[str, Any]:
    """Returns what the engine knows of a container of ours or raises that there is none."""
    found = find_ours(client, node_id, name)
    if found is None:
        raise NothingFound(
            f"The engine has no container {name} of this node.", reason="CONTAINER_NOT_FOUND", container=name
        )
    return found


def create(client: docker.APIClient, node_id: str, plan: ContainerPlan) -> None:
    """Creates a container on the default bridge and its own network; one of the same chute gives way."""
    bridged = plan.network_mode == "bridge"
    network_id = require_id(client, node_id, plan.network, plan.chute) if bridged else None
    config = _config(client, node_id, plan)
    try:
        created = _create(client, node_id, plan, config)
    except APIError as error:
        raise refusal(error, "CONTAINER_CREATE_FAILED", plan.name) from error
    if network_id is None:
        return
    try:
        client.connect_container_to_network(created, network_id, aliases=list(plan.aliases))
    except BaseException:
        client.remove_container(created, v=True, force=True)
        raise


def _create(client: docker.APIClient, node_id: str, plan: ContainerPlan, config: Mapping[str, Any]) -> str:
    try:
        return _create_once(client, plan.name, config)
    except APIError as error:
        if error.status_code != CONFLICT:
            raise
    found = find_ours(client, node_id, plan.name)
    if found is not None:
        if not belongs(found["Config"]["Labels"], node_id, plan.chute):
            raise name_taken(plan.name)
        _remove(client, found["Id"])
    try:
        return _create_once(client, plan.name, config)
    except APIError as error:
        if error.status_code == CONFLICT:
            raise name_taken(plan.name) from error
        raise


def _create_once(client: docker.APIClient, name: str, config: Mapping[str, Any]) -> str:
    created = client.create_container_from_config(config, name)  # type: ignore[no-untyped-call]
    return str(created["Id"])


def name_taken(name: str) -> AlreadyExists:
    """Somebody else's container has the name."""
    return AlreadyExists(
        f"A container named {name} exists on the engine and does not belong to this chute; "
        "remove or rename it, or rename the chute.",
        reason="CONTAINER_NAME_TAKEN",
        container=name,
    )


def _config(client: docker.APIClient, node_id: str, plan: ContainerPlan) -> dict[str, Any]:
    host_config = client.create_host_config(
        mounts=[
            Mount(path, str(as_engine_sees(client, folder)), type="bind", read_only=mode == "ro")
            for folder, (path, mode) in plan.volumes.items()
        ],
        port_bindings={port.key: port.host_port for port in plan.ports},
        restart_policy={"Name": "no"},
        extra_hosts={LOCAL_DOMAIN: "127.0.0.1" if plan.network_mode == "host" else "host-gateway"},
        network_mode=None if plan.network_mode == "bridge" else plan.network_mode,
        privileged=plan.privileged,
        mem_limit=plan.memory_limit_bytes,
        # No swap on top: flash wears out, and a limit that swaps is none.
        memswap_limit=plan.memory_limit_bytes,
        dns=list(plan.dns) or None,
        sysctls={LOW_PORTS: "0"} if plan.low_ports else None,
        log_config=LogConfig(type="json-file", config=dict(LOG_OPTIONS)),
        # Few images have an init that reaps children and lets SIGTERM end what does not handle it; without
        # one, every stop takes the whole time limit.
        init=True,
    )
    config: dict[str, Any] = client.create_container_config(
        plan.image,
        command=_command(plan.command),
        environment=dict(plan.environment),
        ports=[(port.container_port, port.protocol) for port in plan.ports],
        labels=container_labels(node_id, plan.chute, plan.service),
        host_config=host_config,
        user=plan.user,
    )
    config["StopTimeout"] = STOP_TIMEOUT_S
    return config


def _command(command: str | Sequence[str] | None) -> Any:
    """Returns what the SDK takes: None keeps the command of the image, a text is split as a shell does."""
    return command if command is None or isinstance(command, str) else list(command)


def start(client: docker.APIClient, node_id: str, name: str) -> None:
    """Starts a container of ours."""
    found = require_ours(client, node_id, name)
    try:
        client.start(found["Id"])
    except APIError as error:
        raise _start_failure(name, error) from error


def _start_failure(name: str, error: APIError) -> DomainError:
    port = taken_port(words(error))
    if port is not None:
        return FailedPrecondition(
            f"Port {port} of the node, which container {name} asks for, is in use; "
            "choose another or stop what uses it.",
            reason="PORT_TAKEN",
            container=name,
            port=port,
        )
    return refusal(error, "CONTAINER_START_FAILED", name)


def taken_port(said: str) -> str | None:
    """Returns the port that is in use, if that is what the engine says."""
    match = _TAKEN_PORT.search(said)
    return match and (match[1] or match[2])


def remove(client: docker.APIClient, node_id: str, name: str) -> None:
    """Stops and removes a container of ours, with its anonymous volumes."""
    found = find_ours(client, node_id, name)
    if found is not None:
        _remove(client, found["Id"])


def _remove(client: docker.APIClient, container: str) -> None:
    try:
        client.stop(container, timeout=STOP_TIMEOUT_S)
    except NotFound:
        return
    remove_by_id(client, container)


def remove_by_id(client: docker.APIClient, container: str) -> None:
    """Removes a container by force, and returns when it is gone."""
    try:
        client.remove_container(container, v=True, force=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != CONFLICT:
            raise
        # Somebody removes it already; its image and its networks are free only after that.
        with suppress(NotFound, requests.RequestException):
            client.wait(container, timeout=STOP_TIMEOUT_S, condition="removed")

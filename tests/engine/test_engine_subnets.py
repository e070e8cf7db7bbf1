"""More networks than an engine, as it comes, has addresses for."""

import secrets
from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import docker
import pytest
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from services.chutes.adapters import docker_subnets
from services.chutes.adapters.docker_engine import DockerEngine
from tests.engine.conftest import Node

pytestmark = pytest.mark.engine

MOST_NETWORKS = 300
ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t0000D50A\t00000000\t0001\t0\t0\t0\t00FEFFFF\t0\t0\t0\n"
)
"""The default route, and 10.213.0.0/23 behind eth0."""


@pytest.fixture
def exhausted(client: docker.APIClient) -> Iterator[None]:
    """Takes all networks that the engine gives without being told their addresses."""
    prefix, taken = f"taken-{secrets.token_hex(3)}", []
    try:
        for number in range(MOST_NETWORKS):
            try:
                taken.append(client.create_network(f"{prefix}-{number}")["Id"])
            except APIError as error:
                if "address pool" not in str(error.explanation):
                    raise
                break
        else:
            pytest.skip(f"this engine has addresses for more than {MOST_NETWORKS} networks")
        yield
    finally:
        for network in taken:
            client.remove_network(network)


@pytest.mark.usefixtures("exhausted")
async def test_a_chute_gets_a_network_when_the_engine_has_none_to_give(
    engine: DockerEngine, client: docker.APIClient, node: Node
) -> None:
    await engine.ensure_network(node.chute, node.chute)
    await engine.ensure_network(node.chute, node.chute)
    (config,) = client.inspect_network(node.chute)["IPAM"]["Config"]
    assert ip_network(config["Subnet"]).subnet_of(docker_subnets.POOL)
    await engine.create_container(node.plan())
    await engine.start_container(node.container)
    await engine.remove_container(node.container)
    await engine.remove_network(node.chute)


def test_a_subnet_is_used_by_nobody_else(
    client: docker.APIClient, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = tmp_path / "route"
    routes.write_text(ROUTES)
    monkeypatch.setattr(docker_subnets, "ROUTES", routes)
    first = docker_subnets.free_subnet(client)
    assert first is not None
    assert not first.overlaps(IPv4Network("10.213.0.0/23"))
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet=str(first))])
    network = client.create_network(f"other-{node.chute}", ipam=pool)["Id"]
    try:
        second = docker_subnets.free_subnet(client)
    finally:
        client.remove_network(network)
    assert second is not None
    assert not second.overlaps(first)
    monkeypatch.setattr(docker_subnets, "POOL", IPv4Network("10.213.0.0/23"))
    assert docker_subnets.free_subnet(client) is None

"""Shares, limits and usage of real containers."""

import asyncio
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from services.chutes.adapters.cgroups import Cgroups
from services.chutes.adapters.docker_client import EngineConnection
from services.chutes.adapters.docker_engine import DockerEngine
from services.chutes.adapters.docker_usage import UsageReader
from services.common.errors import NotFound
from tests.engine.conftest import Node, state

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]

MIB = 1024 * 1024
BUSY = (
    "dd if=/dev/urandom of=/tmp/x bs=64k count=64 conv=fsync 2>/dev/null; echo ready; "
    "while true; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done"
)


async def started(engine: DockerEngine, node: Node, command: str, limit_bytes: int | None = None) -> str:
    await engine.ensure_network(node.chute, node.chute)
    plan = replace(node.plan(command=("sh", "-c", command)), memory_limit_bytes=limit_bytes)
    await engine.create_container(plan)
    await engine.start_container(plan.name)
    return (await state(engine, plan.name, "running")).id


async def test_shares_of_a_running_container_change(engine: DockerEngine, node: Node) -> None:
    container = await started(engine, node, "sleep 1000")
    for shares in (1536, 2):
        await engine.set_cpu_shares(node.container, shares)
        info = await asyncio.to_thread(node.client.inspect_container, container)
        assert info["HostConfig"]["CpuShares"] == shares
        weight = Path(f"/sys/fs/cgroup/cpu/docker/{container}/cpu.shares")
        if weight.exists():  # Of version 1; version 2 has another scale.
            assert int(await asyncio.to_thread(weight.read_text)) == shares
    with pytest.raises(NotFound):
        await engine.set_cpu_shares("nobody", 3)


async def test_a_container_cannot_use_more_memory_than_its_limit(engine: DockerEngine, node: Node) -> None:
    # The string doubles until it does not fit any more.
    container = await started(
        engine, node, "x=0123456789abcdef; sleep 1; while true; do x=$x$x; done", 24 * MIB
    )
    measured = (await engine.measure([await state(engine, node.container, "running")]))[container]
    assert measured.memory_limit_bytes == 24 * MIB
    info = await asyncio.to_thread(node.client.inspect_container, container)
    assert (info["HostConfig"]["Memory"], info["HostConfig"]["MemorySwap"]) == (24 * MIB, 24 * MIB)
    ended = await state(engine, node.container, "exited")
    assert ended.exit_code != 0
    assert await engine.measure([ended]) == {}


async def test_usage_is_read_from_the_kernel_and_agrees_with_the_engine(
    engine: DockerEngine, node: Node, engine_address: str, client: docker.APIClient, tmp_path: Path
) -> None:
    container = await started(engine, node, BUSY)
    address = (await state(engine, node.container, "running")).address
    assert address.count(".") == 3
    await asyncio.sleep(2)
    states = [await state(engine, node.container, "running")]
    first = (await engine.measure(states))[container]
    await asyncio.sleep(1)
    second = (await engine.measure(states))[container]
    used = (second.cpu_ns - first.cpu_ns) / (second.time_s - first.time_s) / 1e9
    assert 0.1 < used < 1.2
    assert 0 < second.memory_bytes < 64 * MIB
    assert second.pid_count >= 1
    connection = EngineConnection(engine_address)
    elsewhere = UsageReader(connection, Cgroups(tmp_path))  # Sees no groups, as from within a container.
    try:
        told = (await elsewhere.measure(states))[container]
        again = (await elsewhere.measure(states))[container]
        assert again.time_s >= told.time_s
        now = (await engine.measure(states))[container]
    finally:
        await elsewhere.close()
        connection.close()
    assert abs(now.cpu_ns - again.cpu_ns) < 3e9
    assert abs(now.memory_bytes - again.memory_bytes) < 8 * MIB
    assert again.received_bytes <= now.received_bytes < again.received_bytes + MIB
    assert again.pid_count >= 1
    assert now.written_bytes == again.written_bytes


async def test_a_container_that_ended_or_never_was_has_no_usage(
    engine: DockerEngine, node: Node, engine_address: str, tmp_path: Path
) -> None:
    await started(engine, node, "sleep 0.5")
    ended = await state(engine, node.container, "exited")
    assert await engine.measure([ended]) == {}
    connection = EngineConnection(engine_address)
    elsewhere = UsageReader(connection, Cgroups(tmp_path))
    try:
        assert await elsewhere.measure([ended, replace(ended, id="0" * 64)]) == {}
    finally:
        await elsewhere.close()
        connection.close()

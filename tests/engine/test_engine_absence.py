"""What happens when the engine goes, hangs and comes back; a proxy in front of the real one plays dead."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.chutes.adapters import docker_client
from services.chutes.adapters.docker_engine import DockerEngine
from services.common.errors import DomainError, Unavailable
from tests.engine.conftest import DEADLINE_S, Node, state, until
from tests.support.engine import BUSYBOX
from tests.support.engine_proxy import EngineProxy, engine_proxy

pytestmark = pytest.mark.engine


@pytest.fixture
async def proxy(tmp_path: Path, engine_address: str) -> AsyncIterator[EngineProxy]:
    async with engine_proxy(tmp_path, engine_address) as proxy:
        yield proxy


@pytest.fixture
async def engine(node: Node, proxy: EngineProxy) -> AsyncIterator[DockerEngine]:
    async with DockerEngine.connect(node.id, proxy.address) as engine:
        assert engine.available
        yield engine


async def run(engine: DockerEngine, node: Node) -> None:
    await engine.ensure_network(node.chute, node.chute)
    await engine.create_container(node.plan())
    await engine.start_container(node.container)
    await state(engine, node.container, "running")


async def gone(engine: DockerEngine) -> None:
    await until(engine, lambda: not engine.available)


async def test_an_engine_that_goes_is_noticed_at_once(
    engine: DockerEngine, node: Node, proxy: EngineProxy
) -> None:
    await run(engine, node)
    await proxy.cut()
    start_s = time.monotonic()
    await gone(engine)
    assert time.monotonic() - start_s < 1
    assert engine.containers() is None


async def test_an_engine_that_returns_is_used_again(
    engine: DockerEngine, node: Node, proxy: EngineProxy
) -> None:
    await run(engine, node)
    await proxy.cut()
    await gone(engine)
    node.client.kill(node.container)
    node.client.wait(node.container)
    await proxy.open()
    await until(engine, lambda: engine.available)
    assert (await state(engine, node.container, "exited")).exit_code == 137
    await engine.start_container(node.container)
    await state(engine, node.container, "running")


async def test_every_call_says_that_the_engine_is_gone(
    engine: DockerEngine, node: Node, proxy: EngineProxy
) -> None:
    context = node.context()
    await proxy.cut()
    calls = {
        "refresh": engine.refresh(),
        "build": engine.build_image(node.tag, node.chute, context, lambda _: None),
        "has_image": engine.has_image(node.tag),
        "remove_image": engine.remove_image(node.tag),
        "ensure_network": engine.ensure_network(node.chute, node.chute),
        "remove_network": engine.remove_network(node.chute),
        "create_container": engine.create_container(node.plan()),
        "start_container": engine.start_container(node.container),
        "remove_container": engine.remove_container(node.container),
        "sweep": engine.sweep({}),
        "logs": _read(engine, node),
    }
    errors = await asyncio.gather(*calls.values(), return_exceptions=True)
    for name, error in zip(calls, errors, strict=True):
        assert isinstance(error, Unavailable), name
        assert error.reason == "ENGINE_DOWN", name
        assert proxy.address in str(error), name
        assert error.retry_after_s, name


async def _read(engine: DockerEngine, node: Node) -> None:
    async with engine.logs(node.container, "main", 10, follow=True) as batches:
        async for _ in batches:
            pass


async def test_a_node_starts_without_an_engine(node: Node, tmp_path: Path, engine_address: str) -> None:
    async with engine_proxy(tmp_path, engine_address) as proxy:
        await proxy.cut()
        start_s = time.monotonic()
        async with DockerEngine.connect(node.id, proxy.address) as engine:
            assert time.monotonic() - start_s < 2
            assert not engine.available
            assert engine.containers() is None
            await proxy.open()
            await until(engine, lambda: engine.available)
            assert engine.containers() == {}


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:1", "unix:///nonexistent.sock", "nonsense://x", "tcp://"]
)
async def test_an_address_where_nothing_is(node: Node, address: str) -> None:
    async with DockerEngine.connect(node.id, address) as engine:
        assert not engine.available
        with pytest.raises(DomainError) as caught:
            await engine.ensure_network(node.chute, node.chute)
        assert caught.value.reason == "ENGINE_DOWN"


async def test_a_refresh_after_the_return_does_not_wait_for_the_next_try(
    engine: DockerEngine, node: Node, proxy: EngineProxy
) -> None:
    await run(engine, node)
    await proxy.cut()
    await gone(engine)
    await proxy.open()
    await engine.refresh()
    assert engine.available
    assert node.container in (engine.containers() or {})


async def test_a_log_that_is_followed_ends_with_the_engine(
    engine: DockerEngine, node: Node, proxy: EngineProxy
) -> None:
    await run(engine, node)
    following = asyncio.create_task(_read(engine, node))
    await until(engine, lambda: any("/logs" in request for request in proxy.requests))
    await proxy.cut()
    with pytest.raises(Unavailable):
        async with asyncio.timeout(DEADLINE_S):
            await following


async def test_a_build_fails_when_the_engine_goes(
    engine: DockerEngine, node: Node, proxy: EngineProxy
) -> None:
    reached = asyncio.Event()
    context = node.context(f"FROM {BUSYBOX}\nRUN echo reached; sleep 3600\n")
    building = asyncio.create_task(
        engine.build_image(
            node.tag, node.chute, context, lambda line: reached.set() if line == "reached" else None
        )
    )
    async with asyncio.timeout(DEADLINE_S):
        await reached.wait()
        await proxy.cut()
        with pytest.raises(Unavailable) as caught:
            await building
    assert caught.value.reason == "ENGINE_DOWN"
    await proxy.open()
    await engine.refresh()
    await engine.sweep({})
    assert node.things() == {}


async def test_a_call_to_an_engine_that_hangs_ends(
    node: Node, proxy: EngineProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_client, "CALL_TIMEOUT_S", 1)
    async with DockerEngine.connect(node.id, proxy.address) as engine:
        proxy.fall_silent()
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable):
                await engine.has_image(node.tag)
            await gone(engine)
        await proxy.cut()
        await proxy.open()
        await until(engine, lambda: engine.available)


async def test_states_cost_no_calls(engine: DockerEngine, node: Node, proxy: EngineProxy) -> None:
    await run(engine, node)
    await asyncio.sleep(0.8)  # Longer than the second look after an event.
    before = len(proxy.requests)
    for _ in range(1000):
        assert engine.containers()
        assert engine.available
    await asyncio.sleep(0.2)
    assert len(proxy.requests) == before


async def test_a_burst_of_events_costs_few_lists(
    engine: DockerEngine, node: Node, proxy: EngineProxy
) -> None:
    await engine.ensure_network(node.chute, node.chute)
    for number in range(10):
        await engine.create_container(node.plan(service=f"s{number}"))
    await until(engine, lambda: len(engine.containers() or ()) == 10)
    before = len(proxy.requests)
    await asyncio.to_thread(
        lambda: [
            node.client.rename(f"{node.chute}-s{number}", f"{node.chute}-r{number}") for number in range(10)
        ]
    )
    await until(engine, lambda: all("-r" in name for name in engine.containers() or ()))
    assert len(proxy.requests) - before <= 10


async def test_leaving_while_the_engine_is_gone(node: Node, proxy: EngineProxy) -> None:
    async with DockerEngine.connect(node.id, proxy.address) as engine:
        await proxy.cut()
        await gone(engine)
        start_s = time.monotonic()
    assert time.monotonic() - start_s < 1


async def test_many_interruptions_leave_nothing_open(
    engine: DockerEngine, node: Node, proxy: EngineProxy
) -> None:
    def open_files() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    async def interrupt() -> None:
        await proxy.cut()
        await gone(engine)
        with pytest.raises(Unavailable):
            await engine.has_image(node.tag)
        await proxy.open()
        await engine.refresh()

    await interrupt()
    before = open_files()
    for _ in range(10):
        await interrupt()
    assert open_files() <= before + 2
    assert [thread.name for thread in threading.enumerate()].count("engine-events") == 1

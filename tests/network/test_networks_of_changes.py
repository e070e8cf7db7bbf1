"""Chutes get, keep and lose networks with their changes; the network service and the kernel are real."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from services.chutes.adapters.networks import ChuteNetworks
from services.chutes.domain.networks import wanted_networks
from services.chutes.domain.spec import ChuteSpec, ServiceSpec
from services.chutes.rpc.messages import to_cache
from services.common.documents import from_struct
from services.common.errors import FailedPrecondition
from tests.chutes.bench import ADMIN, Bench, RunningBench, spec, without_pauses
from tests.chutes.test_crashes import crash_at, run_until_crash
from tests.network.conftest import Namespace, Namespaces, needs_root
from tests.network.served import SERVICE, Served, reason_of, serve
from tests.network.test_chute_networks import Site, request_of

pytestmark = needs_root

BROKEN = FailedPrecondition("broken", reason="BROKEN")


def networked(*devices: str, version: int = 1) -> ChuteSpec:
    """A chute with a wired network on each device."""
    interfaces = {f"wired{n}": {"type": "lan", "requests": {"device": d}} for n, d in enumerate(devices)}
    return ChuteSpec("web", {"main": ServiceSpec("main", interfaces=interfaces)}, version=version)


@dataclass
class Stage:
    """A site with a network service, and a chute service on the bench that may be crashed."""

    site: Site
    container: Namespace
    networks: Served
    bench: Bench

    def inside(self) -> str:
        """The interfaces of the container that are of chutes."""
        return ",".join(
            name for name in ("wired0", "wired1") if name in self.container.run("ip", "-4", "addr", "show")
        )

    async def listed(self) -> list[str]:
        answer = await self.networks.client()("ListChuteNetworks", request_of("web"))
        return [network.name for network in answer.networks]


@pytest.fixture
async def stage(namespaces: Namespaces, tmp_path: Path) -> AsyncIterator[Stage]:
    site = Site.build(namespaces)
    container = namespaces.make()
    async with serve(tmp_path, site.host) as served:
        token_file = tmp_path / "token"
        await asyncio.to_thread(token_file.write_text, served.publisher.token(SERVICE, role="owner"))
        bench = Bench(tmp_path / "chutes", networks=ChuteNetworks(served.channel, token_file))
        bench.engine.process_id = container.pid
        with without_pauses():
            yield Stage(site, container, served, bench)


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[RunningBench]:
    async with stage.bench.running() as node:
        yield node


async def test_a_chute_gets_and_loses_its_networks(stage: Stage) -> None:
    async with running(stage) as node:
        change = await node.install(networked("eth1"))
        assert change.failure is None
        steps = [line for line in await node.lines(change.id) if "networks" in line]
        assert steps == ["Calling check_networks", "Calling set_up_networks", "Calling attach_networks"]
        assert (stage.inside(), await stage.listed()) == ("wired0", ["wired0"])
        cache = from_struct(to_cache(node.domain.registry.find("web"), node.folders))
        assert [(i["name"], i["externalIntf"], i["internalIpaddr"]) for i in cache["networkInterfaces"]] == [
            ("wired0", "eth1", "10.128.0.2")
        ]
        assert (await node.install(networked("eth1", "eth2", version=2), replace=True)).failure is None
        assert (stage.inside(), await stage.listed()) == ("wired0,wired1", ["wired0", "wired1"])
        assert (await node.command("stop")).failure is None
        assert (await stage.listed(), stage.site.leftovers()) == ([], ("", ""))
        assert (await node.command("start")).failure is None
        assert (stage.inside(), await stage.listed()) == ("wired0,wired1", ["wired0", "wired1"])
        assert (await node.command("delete")).failure is None
        assert stage.site.leftovers() == ("", "")
        assert stage.site.addresses("eth1") == stage.site.addresses("eth2") == []


async def test_what_cannot_be_had_fails_before_anything_is_built(stage: Stage) -> None:
    async with running(stage) as node:
        await node.install(networked("eth1"))
        other = ChuteSpec("other", {"main": networked("eth1").services["main"]}, version=1)
        change = await node.install(other)
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("INTERFACE_TAKEN", True)
        assert stage.bench.engine.built == ["web-main:1"]
        assert stage.inside() == "wired0"


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["create_container", "start_container", "processes"])
async def test_a_failed_update_leaves_the_networks_of_before(stage: Stage, method: str) -> None:
    async with running(stage) as node:
        await node.install(networked("eth1"))
        before = stage.site.leftovers()
        stage.bench.engine.fail_at(method, 1, BROKEN)
        change = await node.install(networked("eth2", version=2), replace=True)
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("BROKEN", True)
        assert stage.site.leftovers() == before
        assert (stage.inside(), await stage.listed()) == ("wired0", ["wired0"])
        assert stage.site.addresses("eth2") == []


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["set_up_networks", "attach_networks", "take_down_networks"])
async def test_a_crash_at_a_step_leaves_no_half_network(stage: Stage, moment: str, step: str) -> None:
    deleting = step == "take_down_networks"
    if deleting:
        async with running(stage) as node:
            await node.install(networked("eth1"))

    async def ask(node: RunningBench) -> int:
        if deleting:
            return await node.domain.manager.command("delete", "web", ADMIN)
        return (await node.install(networked("eth1"), ends=False)).id

    change_id = await run_until_crash(stage.bench, ask, crash_at((moment, step)))
    async with running(stage) as node:
        assert (await node.ended(change_id)).failure is None
        if deleting:
            assert stage.site.leftovers() == ("", "")
        else:
            assert (stage.inside(), await stage.listed()) == ("wired0", ["wired0"])


async def test_chutes_without_networks_are_known_and_forgotten(stage: Stage) -> None:
    async with running(stage) as node:
        await node.install(spec("web"))
        await eventually(stage, "[]")
        await node.command("delete")
        await eventually(stage, "CHUTE_NOT_FOUND")


async def eventually(stage: Stage, wanted: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                found = str(await stage.listed())
            except grpc.aio.AioRpcError as error:
                found = reason_of(error)
            if found == wanted:
                return
            await asyncio.sleep(0.02)


def test_networks_are_read_from_both_forms() -> None:
    services = {
        "a": ServiceSpec("a", interfaces={"wlan0": {"type": "wifi-ap"}}),
        "b": ServiceSpec("b", interfaces={"mon0": {"type": "wifi-monitor"}}),
    }
    old = {"net": {"wifi": {"intfName": "wlan0", "type": "wifi"}, "odd": None}}
    found = wanted_networks(ChuteSpec("web", services, config=old))
    assert [(n.name, n.service, n.section) for n in found] == [("wlan0", "a", "wifi"), ("mon0", "b", "")]

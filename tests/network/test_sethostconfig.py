"""The change that replaces the host configuration: over gRPC, through the queue, to a network service."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from paradrop.chutes.v1 import changes_pb2 as pb
from paradrop.chutes.v1 import changes_pb2_grpc
from paradrop.network.v1 import hostconfig_pb2, network_pb2

from services.chutes.adapters.networks import NetworkHostConfiguration
from services.chutes.domain.factoryreset import FactoryReset
from services.chutes.domain.hostconfig import SetHostConfig
from services.common.documents import to_struct
from tests.chutes.bench import Bench
from tests.chutes.served import Served as ServedChutes
from tests.chutes.served import serving_bench
from tests.network.conftest import Namespaces, needs_root
from tests.network.documents import example
from tests.network.served import SERVICE, Served, document, serve
from tests.network.test_chute_networks import Site
from tests.network.test_host_networks import MANAGED, plain
from tests.network.test_hostconfig_service import config


@dataclass
class Node:
    """A chute service and a network service that know each other."""

    networks: Served
    chutes: ServedChutes
    stub: changes_pb2_grpc.ChangeServiceStub

    def metadata(self, name: str) -> list[tuple[str, str]]:
        role = self.chutes.publisher.principals["users"].get(name, {}).get("role", "owner")
        return [("authorization", f"Bearer {self.chutes.publisher.token(name, role=role)}")]

    async def put(self, document: dict[str, Any], name: str = "admin", **more: Any) -> int:
        request = pb.SetHostConfigRequest(config=to_struct(document), **more)
        answer = await self.stub.SetHostConfig(request, metadata=self.metadata(name), timeout=30)
        return int(answer.change_id)

    async def ended(self, change_id: int) -> pb.Change:
        request = pb.GetChangeRequest(change_id=change_id)
        async with asyncio.timeout(40):
            while True:
                answer = await self.stub.GetChange(request, metadata=self.metadata("admin"), timeout=30)
                if answer.change.status in ("succeeded", "failed"):
                    return answer.change
                await asyncio.sleep(0.05)


@asynccontextmanager
async def node_at(home: Path, host: Any = None, **environment: str) -> AsyncIterator[Node]:
    async with serve(home, host, **environment) as networks:
        token_file = home / "token"
        await asyncio.to_thread(token_file.write_text, networks.publisher.token(SERVICE, role="owner"))
        port = NetworkHostConfiguration(networks.channel, token_file)
        bench = Bench(home / "chutes", node_changes=[SetHostConfig(port), FactoryReset(port)])
        with tempfile.TemporaryDirectory(prefix="pd-") as short:
            address = f"unix:{short}/chutes.sock"
            async with serving_bench(bench, networks.publisher, address) as chutes:
                yield Node(networks, chutes, changes_pb2_grpc.ChangeServiceStub(chutes.channel))


async def test_a_document_is_previewed_and_asked_for_once(tmp_path: Path) -> None:
    async with node_at(tmp_path) as node:
        request = pb.SetHostConfigRequest(config=to_struct(example()), dry_run=True)
        answer = await node.stub.SetHostConfig(request, metadata=node.metadata("admin"), timeout=30)
        assert answer.change_id == 0
        assert answer.plan.steps[0].name == "set_host_config"
        assert node.chutes.node.domain.queue.ended() == []
        request.dry_run = False
        metadata = [*node.metadata("admin"), ("idempotency-key", "once")]
        first, again = [
            (await node.stub.SetHostConfig(request, metadata=metadata, timeout=30)).change_id for _ in "12"
        ]
        assert first == again
        assert (await node.ended(first)).status == "succeeded"


async def test_a_document_becomes_the_configuration_by_a_change(tmp_path: Path) -> None:
    wanted = example(vendor={"odd": [1, "1", None]})
    async with node_at(tmp_path) as node:
        for number, sent in enumerate((wanted, {"config": example()}), start=1):
            change = await node.ended(await node.put(sent))
            assert (change.status, change.update_class, change.update_type, change.name) == (
                "succeeded",
                "ROUTER",
                "sethostconfig",
                "__PARADROP__",
            )
            client = node.networks.client()
            assert await config(client) == sent.get("config", sent)
            versions = await client("ListHostConfigVersions", hostconfig_pb2.ListHostConfigVersionsRequest())
            newest = versions.versions[0]
            assert (newest.author, newest.change_id) == ("admin", change.id)
            assert len(versions.versions) == number + 1


@pytest.mark.thorough
async def test_a_factory_reset_brings_the_default_configuration_back(tmp_path: Path) -> None:
    async with node_at(tmp_path) as node:
        client = node.networks.client()
        await node.ended(await node.put(example(vendor={"odd": 1})))
        default = document(
            (await client("GenerateHostConfig", network_pb2.GenerateHostConfigRequest())).config
        )
        assert await config(client) != default
        request = pb.FactoryResetRequest(dry_run=True)
        preview = await node.stub.FactoryReset(request, metadata=node.metadata("admin"), timeout=30)
        assert any("host configuration" in line for line in preview.removed)
        assert [step.name for step in preview.plan.steps][:2] == ["set_host_config", "prove_host_config"]
        request.dry_run = False
        answer = await node.stub.FactoryReset(request, metadata=node.metadata("admin"), timeout=30)
        change = await node.ended(answer.change_id)
        assert change.status == "succeeded", change.failure
        assert await config(client) == default
        # The node takes a configuration as before.
        again = await node.ended(await node.put(example()))
        assert again.status == "succeeded"


async def test_a_wrong_document_is_refused_at_once_and_takes_no_id(tmp_path: Path) -> None:
    async with node_at(tmp_path) as node:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await node.put(example(lan__proto="x", telemetry__interval=0))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        status = rpc_status.from_call(raised.value)
        fields = error_details_pb2.BadRequest()
        assert status is not None
        assert any(detail.Unpack(fields) for detail in status.details)
        assert [violation.field for violation in fields.field_violations] == [
            "config.lan.proto",
            "config.telemetry.interval",
        ]
        struct = struct_pb2.Struct()
        struct.update(example())
        struct.fields["telemetry"].struct_value.fields["interval"].number_value = float("inf")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await node.stub.SetHostConfig(
                pb.SetHostConfigRequest(config=struct), metadata=node.metadata("admin"), timeout=30
            )
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await node.put(example(), confirm_timeout_s=2)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await node.put(example(), name="trusted")
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert await node.put(example()) == 1


async def test_the_general_way_of_changes_works_as_well(tmp_path: Path) -> None:
    document = {"updateClass": "ROUTER", "updateType": "sethostconfig", "hostconfig": example()}
    async with node_at(tmp_path) as node:
        request = pb.CreateChangeRequest(change=to_struct(document))
        answer = await node.stub.CreateChange(request, metadata=node.metadata("admin"), timeout=30)
        assert (await node.ended(answer.change_id)).status == "succeeded"
        assert await config(node.networks.client()) == example()


@pytest.mark.thorough
async def test_what_nobody_confirms_fails_and_is_undone(tmp_path: Path) -> None:
    async with node_at(tmp_path) as node:
        client = node.networks.client()
        before = await config(client)
        change = await node.ended(await node.put(example(lan__ipaddr="10.9.0.1"), confirm_timeout_s=5))
        assert (change.status, change.failure.reason, change.failure.undone) == (
            "failed",
            "HOST_CONFIG_NOT_CONFIRMED",
            True,
        )
        assert await config(client) == before
        change_id = await node.put(example(lan__ipaddr="10.9.0.1"), confirm_timeout_s=60)
        async with asyncio.timeout(20):
            while True:
                try:
                    await client("ConfirmHostConfig", hostconfig_pb2.ConfirmHostConfigRequest())
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)
        assert (await node.ended(change_id)).status == "succeeded"
        assert (await config(client))["lan"]["ipaddr"] == "10.9.0.1"


@pytest.mark.thorough
@needs_root
async def test_a_change_that_cuts_the_node_off_fails_and_is_undone(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    site = Site.build(namespaces)
    async with node_at(tmp_path, site.host, **MANAGED) as node:
        change = await node.ended(await node.put(plain(lan__interfaces=["eth0"], wan__interface="eth2")))
        assert (change.status, change.failure.reason, change.failure.undone) == (
            "failed",
            "MANAGEMENT_LOST",
            True,
        )
        assert site.beyond.reaches("203.0.113.2")

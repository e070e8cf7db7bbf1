"""Reports to, and updates from, a controller that speaks the HTTP interface of Paradrop 0.13."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from google.protobuf import json_format
from paradrop.chutes.v1 import changes_pb2, chutes_pb2
from paradrop.network.v1 import network_pb2
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from services.common.errors import InvalidArgument
from services.node import app
from services.node.adapters import (
    controller_api,
    controllers,
    key_files,
    reports,
    self_provision,
    sysfs,
    updates,
    zerotier,
)
from tests.fakes.cloud import Cloud, running_cloud
from tests.gateway.doubles import Doubles, Keys
from tests.node.linked import tell_news
from tests.support.settings import settings_in
from tests.support.shape import faults

CHANGES = "paradrop.chutes.v1.ChangeService"
HOST_CONFIG = "paradrop.network.v1.NetworkService.GetHostConfig"
CARD = {"name": str, "mac": str, "type": str}
RADIO = {**CARD, **dict.fromkeys(("phy", "vendor", "device", "slot", "primary_interface", "id"), str)}
DEVICES = [(CARD, RADIO)]


class World:
    def __init__(self, cloud: Cloud, doubles: Doubles, stub: Any, metadata: Any) -> None:
        self.cloud, self.doubles, self.stub, self.metadata = cloud, doubles, stub, metadata
        self.ended: list[changes_pb2.Change] = []

    async def provision(self, **changes: str) -> Any:
        parameters = {"router_id": "r1", "apitoken": "t0ken", "pdserver": self.cloud.address} | changes
        request = node_pb2.SetProvisionRequest(**parameters)
        return await self.stub.SetProvision(request, metadata=self.metadata, timeout=20)


async def until(check: Callable[[], Any]) -> Any:
    async with asyncio.timeout(15):
        while not (found := check()):
            await asyncio.sleep(0.05)
    return found


@asynccontextmanager
async def world_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Doubles, Cloud, Path], None]
) -> AsyncIterator[World]:
    monkeypatch.setattr(controller_api, "INITIAL_BACKOFF_S", 0.05)
    monkeypatch.setattr(reports, "STATES_PAUSE_S", 0.05)
    monkeypatch.setattr(updates, "MIN_POLL_INTERVAL_S", 0.1)
    monkeypatch.setattr(controllers, "WAIT_S", 1.0)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    with settings_in(home) as settings, running_cloud() as cloud:
        settings.prepare()
        doubles = Doubles(Keys(settings.public_dir))
        settings.service_token_file.write_text(doubles.keys.token("node", kind="service"))
        (home / "settings.ini").write_text(f"[base]\npdserver = {cloud.address}\n")
        prepare(doubles, cloud, home)
        async with (
            doubles.serving_one("chutes", settings),
            doubles.serving_one("network", settings),
            app.running(settings),
            grpc.aio.insecure_channel(settings.addresses["node"]) as channel,
        ):
            metadata = (("authorization", f"Bearer {doubles.keys.token()}"),)
            found = World(cloud, doubles, node_pb2_grpc.NodeServiceStub(channel), metadata)
            tell_news(doubles, lambda: found.ended)
            yield found


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with world_at(tmp_path, monkeypatch, lambda *_: None) as found:
        yield found


async def test_the_node_logs_in_and_reports_its_state_and_load(world: World) -> None:
    world.doubles.replies["paradrop.chutes.v1.ChuteService.ListChutes"] = chutes_pb2.ListChutesResponse(
        chutes=[chutes_pb2.Chute(name="hello", state="running", desired_state="running")]
    )
    config = network_pb2.GetHostConfigResponse()
    cards = [name for name, _ in await asyncio.to_thread(sysfs.wired_cards)]
    config.config.update({"wan": {"interface": cards[0] if cards else ""}})
    world.doubles.replies[HOST_CONFIG] = config
    reply = await world.provision()
    assert (reply.provisioned, reply.http_connected) == (True, True)
    (state,) = (await until(lambda: world.cloud.told("POST", "/routers/r1/states")))[:1]
    assert set(state) == {
        "timestamp", "name", "osVersion", "paradropVersion", "pdinstallVersion", "chutes", "devices",
        "hostConfig", "snaps", "zerotierAddress", "dmi", "status",
    }  # fmt: skip
    assert state["name"] == "r1"
    assert list(faults(DEVICES, state["devices"])) == []
    assert [card["name"] for card in state["devices"] if card["type"] == "wan"] == cards[:1]
    assert {"name", "desired", "state", "services", "version"} <= set(state["chutes"][0])
    telemetry = (await until(lambda: world.cloud.told("POST", "/telemetry")))[0]
    assert set(telemetry) == {"time", "chutes", "network", "system"}
    assert world.cloud.headers["user-agent"] == "ParaDrop/2.5"
    logins = world.cloud.logins
    assert logins >= 1
    world.cloud.token = "session-2"
    world.ended = [changes_pb2.Change(id=1, status="succeeded")]
    before = len(world.cloud.told("POST", "/states"))
    await until(lambda: len(world.cloud.told("POST", "/states")) > before)
    assert world.cloud.logins > logins


@pytest.mark.parametrize(
    ("creator", "user"),
    [
        ({"name": "ada", "access_level": "owner"}, ("ada", "paradrop.org", "owner")),
        (None, ("paradrop", "paradrop.org", "trusted")),
    ],
)
async def test_an_update_becomes_a_change_of_its_creator_once_and_its_messages_are_sent(
    world: World, creator: Any, user: tuple[str, str, str]
) -> None:
    made: list[Any] = []
    asked: list[tuple[str, str, str]] = []

    async def create(request: Any, _: Any) -> Any:
        made.append(json_format.MessageToDict(request.change))
        asked.append((request.on_behalf_of.name, request.on_behalf_of.domain, request.on_behalf_of.role))
        return changes_pb2.CreateChangeResponse(change_id=7)

    async def watch(request: Any, _: Any) -> AsyncIterator[Any]:
        progress = changes_pb2.Progress(time=1.5, message="Calling build_image")
        yield changes_pb2.WatchChangeResponse(progress=progress)
        yield changes_pb2.WatchChangeResponse(ended=changes_pb2.Change(id=7, status="succeeded"))

    world.doubles.replies[f"{CHANGES}.CreateChange"] = create
    world.doubles.replies[f"{CHANGES}.WatchChange"] = watch
    config = {"name": "hello", "download": {"url": "https://x/y"}}
    update = {"_id": "u1", "updateClass": "CHUTE", "updateType": "create", "started": False, "config": config}
    world.cloud.updates = [update | {"creator": creator}]
    await world.provision()
    end = "/routers/r1/updates/u1"
    await until(lambda: len(world.cloud.told("PATCH", end)) >= 2)
    assert made[0] == config | {"updateClass": "CHUTE", "updateType": "create"}
    assert asked == [user]
    started, completed = world.cloud.told("PATCH", end)[:2]
    assert started == [{"op": "replace", "path": "/started", "value": True}]
    assert completed == [
        {"op": "replace", "path": "/completed", "value": True},
        {"op": "replace", "path": "/success", "value": True},
    ]
    assert world.cloud.told("POST", "/u1/messages") == [{"time": 1.5, "message": "Calling build_image"}]
    # The long poll tells of it again and again; it is done once.
    await until(lambda: len(world.cloud.told("PATCH", end)) >= 4)
    assert len(made) == 1


async def test_the_controller_hears_which_of_its_chutes_and_versions_is_installed(world: World) -> None:
    async def create(request: Any, _: Any) -> Any:
        return changes_pb2.CreateChangeResponse(change_id=7)

    done = changes_pb2.Change(
        id=7, status="succeeded", name="hello", update_class="CHUTE", update_type="create"
    )

    async def watch(request: Any, _: Any) -> AsyncIterator[Any]:
        yield changes_pb2.WatchChangeResponse(ended=done)
        world.ended = [done]

    world.doubles.replies[f"{CHANGES}.CreateChange"] = create
    world.doubles.replies[f"{CHANGES}.WatchChange"] = watch
    deviation = chutes_pb2.Chute.Deviation(reason="SERVICE_EXITED", message="It has ended.")
    world.doubles.replies["paradrop.chutes.v1.ChuteService.ListChutes"] = chutes_pb2.ListChutesResponse(
        chutes=[chutes_pb2.Chute(name="hello", state="exited", deviation=deviation)]
    )
    world.cloud.updates = [
        {
            "_id": "u5", "updateClass": "CHUTE", "updateType": "create", "started": False,
            "chute_id": "c5", "version_id": "v5", "config": {"name": "hello"},
        }
    ]  # fmt: skip
    await world.provision()

    def told() -> Any:
        return [
            state["chutes"][0]["external"] for state in world.cloud.told("POST", "/states") if state["chutes"]
        ]

    origin = {"update_id": "u5", "chute_id": "c5", "version_id": "v5"}
    await until(lambda: origin in told())
    assert world.cloud.told("POST", "/states")[-1]["chutes"][0]["warning"] == "It has ended."
    # Somebody at the node puts another one in its place: it is not the controller's any more.
    local = changes_pb2.Change(
        id=8, status="succeeded", name="hello", update_class="CHUTE", update_type="update"
    )
    world.ended = [local, done]
    await until(lambda: told()[-1] is None)


async def test_an_update_of_the_node_is_the_nodes_own(world: World) -> None:
    asked: list[bool] = []

    async def create(request: Any, _: Any) -> Any:
        asked.append(request.HasField("on_behalf_of"))
        return changes_pb2.CreateChangeResponse(change_id=7)

    world.doubles.replies[f"{CHANGES}.CreateChange"] = create
    world.cloud.updates = [
        {"_id": "u4", "updateClass": "ROUTER", "updateType": "reboot", "started": False, "config": {}}
    ]
    await world.provision()
    await until(lambda: asked)
    assert asked == [False]


async def test_the_host_configuration_says_how_often_the_load_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> int:
        return len([call for call in world.doubles.calls if call.rpc == HOST_CONFIG])

    monkeypatch.setattr(reports, "MIN_TELEMETRY_INTERVAL_S", 0.1)
    config = network_pb2.GetHostConfigResponse()
    config.config.update({"telemetry": {"enabled": True, "interval": 0.1}})
    world.doubles.replies[HOST_CONFIG] = config
    await world.provision()
    await until(lambda: len(world.cloud.told("POST", "/telemetry")) >= 2)
    config.config.update({"telemetry": {"enabled": False, "interval": 0.1}})
    # What was begun before has been sent once the node has asked anew.
    asked_before = asked()
    await until(lambda: asked() > asked_before)
    before = len(world.cloud.told("POST", "/telemetry"))
    await until(lambda: asked() > asked_before + 10)
    assert len(world.cloud.told("POST", "/telemetry")) == before


async def test_a_refused_update_is_reported_as_failed(world: World) -> None:
    world.doubles.replies[f"{CHANGES}.CreateChange"] = InvalidArgument("No such type.", reason="X")
    world.cloud.updates = [
        {"_id": "u2", "updateClass": "CHUTE", "updateType": "x", "started": False, "config": {}},
        {"_id": "u3", "updateClass": "CHUTE", "updateType": "x", "started": True, "config": {}},
    ]
    await world.provision()
    patches = await until(lambda: world.cloud.told("PATCH", "/u2")[1:])
    assert patches[0][1]["value"] is False
    assert "No such type." in world.cloud.told("POST", "/u2/messages")[0]["message"]
    # It was begun before: nobody knows how that went.
    assert (await until(lambda: world.cloud.told("PATCH", "/u3")))[0][1]["value"] is False


async def test_a_controller_that_is_down_gets_the_state_later(world: World) -> None:
    world.cloud.down = True
    assert not (await world.provision()).http_connected
    assert world.cloud.told("POST", "/states") == []
    world.cloud.down = False
    assert await until(lambda: world.cloud.told("POST", "/states"))


async def test_start_update_asks_at_once(world: World) -> None:
    world.cloud.polls = False
    await world.provision()
    before = len(world.cloud.told("GET", "/updates?completed=false"))
    reply = await world.stub.StartUpdate(node_pb2.StartUpdateRequest(), metadata=world.metadata, timeout=20)
    assert reply.success
    await until(lambda: len(world.cloud.told("GET", "/updates?completed=false")) > before)
    assert len(world.cloud.told("GET", "/updates/poll")) == 1


async def test_a_wrong_token_is_not_connected(world: World) -> None:
    reply = await world.provision(apitoken="wrong")
    assert not reply.http_connected
    assert world.cloud.requests == []


async def test_a_node_of_a_batch_provisions_itself(world: World, tmp_path: Path) -> None:
    class Provisioning:
        present = reports.Provision(world.cloud.address, "wss://x")

        async def remember(self, provision: Any) -> None:
            self.present = provision

    folder = tmp_path / "batch"
    folder.mkdir()
    (folder / "provision.yaml").write_text("batch_id: b1\nbatch_key: k1\n")
    provisioning: Any = Provisioning()
    await self_provision.self_provision(folder, provisioning, folder)
    found = provisioning.present
    assert (found.router_id, found.apitoken) == ("r1", "t0ken")
    assert found.told == {
        "router": {"_id": "r1", "claim_token": "c1"},
        "batch": {"name": "b", "hostconfig_patch": [], "zerotier_networks": []},
    }
    sent = world.cloud.told("POST", "/provision")[0]
    assert sent["name"].startswith("node-")
    assert (sent["key"], sent["zerotier_address"]) == ("k1", None)


async def test_the_nodes_own_ssh_key_is_told(world: World, tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    (tmp_path / "home" / "node.pub").write_text(f"{line} node\n")
    await world.provision()
    document = (await until(lambda: world.cloud.told("PATCH", "/routers/r1")))[0]
    assert document == [{"op": "add", "path": "/ssh_public_key", "value": f"{line} node"}]


@pytest.mark.parametrize("content", ["", "ssh-rsa no-key", "-----BEGIN OPENSSH PRIVATE KEY-----"])
def test_a_file_that_is_no_public_key_is_not_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "node.pub").write_text(content)
    assert key_files.read_public_key(tmp_path / "node.pub") is None


async def test_the_patch_of_a_batch_becomes_a_change_of_the_host_configuration_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    async def create(request: Any, context: Any) -> Any:
        keys = [value for name, value in context.invocation_metadata() if name == "idempotency-key"]
        made.append((json_format.MessageToDict(request.change), keys))
        return changes_pb2.CreateChangeResponse(change_id=7)

    def prepare(doubles: Doubles, cloud: Cloud, home: Path) -> None:
        cloud.patch = [{"op": "replace", "path": "/lan/proto", "value": "dhcp"}]
        cloud.networks = ["e5cd7a9e1c8a5e83", "8056c2e21c000001"]
        (home / "provision.yaml").write_text("batch_id: b1\nbatch_key: k1\n")
        config = network_pb2.GetHostConfigResponse()
        networks = {"enabled": False, "networks": ["8056c2e21c000001"]}
        config.config.update({"lan": {"proto": "static"}, "wifi": [], "zerotier": networks})
        doubles.replies[f"{CHANGES}.CreateChange"] = create
        doubles.replies[HOST_CONFIG] = config

    async with world_at(tmp_path, monkeypatch, prepare) as world:
        await until(lambda: made)
        await until(lambda: world.cloud.told("POST", "/states"))
    # The node starts anew.
    async with world_at(tmp_path, monkeypatch, prepare) as world:
        request = node_pb2.GetProvisionRequest()
        told = await world.stub.GetProvision(request, metadata=world.metadata, timeout=20)
        assert told.provisioned
        await asyncio.sleep(0.3)
    ((change, keys),) = made
    assert change == {
        "updateClass": "ROUTER",
        "updateType": "sethostconfig",
        "hostconfig": {
            "lan": {"proto": "dhcp"},
            "wifi": [],
            "zerotier": {"enabled": False, "networks": ["8056c2e21c000001", "e5cd7a9e1c8a5e83"]},
        },
    }
    assert keys == ["batch-r1"]


ADDRESS = f"89e92ceee5:0:{'a5' * 64}"


async def test_the_address_of_zerotier_is_told_if_the_host_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(doubles: Doubles, cloud: Cloud, home: Path) -> None:
        (home / "provision.yaml").write_text("batch_id: b1\nbatch_key: k1\n")
        (home / "zerotier").mkdir()
        (home / "zerotier/identity.public").write_text(f"{ADDRESS}\n")
        with (home / "settings.ini").open("a") as file:
            file.write(f"zerotier_lib_dir = {home / 'zerotier'}\n")
        doubles.replies[HOST_CONFIG] = network_pb2.GetHostConfigResponse()

    async with world_at(tmp_path, monkeypatch, prepare) as world:
        (sent,) = await until(lambda: world.cloud.told("POST", "/provision"))
        assert sent["zerotier_address"] == ADDRESS
        state = (await until(lambda: world.cloud.told("POST", "/states")))[0]
        assert state["zerotierAddress"] == ADDRESS


@pytest.mark.parametrize(
    ("found", "wanted", "left"),
    [
        ({}, ["e5cd7a9e1c8a5e83"], {"zerotier": {"enabled": True, "networks": ["e5cd7a9e1c8a5e83"]}}),
        ({"zerotier": {"networks": ["a"]}}, ["a"], {"zerotier": {"networks": ["a"]}}),
        ({"lan": {}}, None, {"lan": {}}),
        ({"lan": {}}, "no list", {"lan": {}}),
    ],
)
def test_networks_of_a_batch_come_to_those_that_are_there(found: Any, wanted: Any, left: Any) -> None:
    assert zerotier.with_networks(found, wanted) == left


@pytest.mark.parametrize("content", ["", "89e92ceee5", f"{ADDRESS}:{'b6' * 64}", "\0\xff"])
def test_what_is_no_public_identity_of_zerotier_is_not_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "identity.public").write_text(content)
    assert zerotier.read_address(tmp_path) is None
    assert zerotier.read_address(tmp_path / "nothing") is None

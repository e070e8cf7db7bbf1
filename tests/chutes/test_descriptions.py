"""Descriptions as JSON: installing by them, and altering them, over a real socket."""

import sqlite3
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import json_format, struct_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.chutes.domain.chuteschema import SCHEMA
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.spec import ChuteSpec, ServiceSpec
from services.common.errors import FailedPrecondition
from tests.chutes.bench import Bench
from tests.chutes.client import Client, refusal
from tests.chutes.served import Served
from tests.support.engine import chute_tar

REDIS = {"type": "image", "image": "redis:7"}


def struct(document: Any) -> struct_pb2.Struct:
    return json_format.ParseDict(document, struct_pb2.Struct())


async def refused(call: Any) -> tuple[str, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


async def install(client: Client, **document: Any) -> list[str]:
    return await client.done(await client.call_id("InstallChute", config=struct(document)))


async def upload(client: Client, **document: Any) -> None:
    files = {"paradrop.yaml": yaml.safe_dump(document), "Dockerfile": "FROM scratch\n"}
    await client.done(await client.upload(chute_tar(files)))


async def config(client: Client, chute: str = "web") -> Any:
    reply = await client.call("GetChuteConfig", chute=chute)
    return json_format.MessageToDict(reply.config)


async def put(client: Client, document: Any, chute: str = "web") -> list[str]:
    return await client.done(await client.call_id("SetChuteConfig", chute=chute, config=struct(document)))


async def test_the_schema_is_served(served: Served) -> None:
    reply = await served.client("guest").call("GetChuteSchema")
    assert json_format.MessageToDict(reply.schema) == SCHEMA


async def test_a_chute_of_images_is_installed_by_its_description(served: Served) -> None:
    client = served.client()
    lines = await install(
        client,
        name="web",
        version=3,
        environment={"A": "1"},
        services={"db": REDIS, "ui": {**REDIS, "depends-on": ["db"], "requests": {"memory-limit": "64M"}}},
    )
    assert "Calling pull_image db" in lines
    assert served.bench.engine.pulled == [("redis:7", None), ("redis:7", None)]
    assert lines.index("Calling start_container db") < lines.index("Calling start_container ui")
    shown = await config(client)
    assert (shown["version"], shown["environment"]) == (3, {"A": "1"})
    plan = served.bench.engine.running["web-ui"].plan
    assert (plan.environment["A"], plan.environment["PARADROP_CHUTE_VERSION"]) == ("1", "3")
    assert plan.memory_limit_bytes == 64 * 1024 * 1024


async def test_credentials_are_in_no_file_after_the_change(served: Served) -> None:
    client, secret = served.client(), "hunter2-is-the-secret"
    given = {**REDIS, "credentials": {"user": "alice", "secret": secret}}
    # Also where they do not fit into one page of a database.
    long = {f"VARIABLE_{number}": "x" * 100 for number in range(100)}
    await install(client, name="web", environment=long, services={"main": given})
    download = {"url": "https://192.0.2.1/x.tar", "user": "alice", "secret": secret}
    change_id = await client.call_id(
        "InstallChute", config=struct({"name": "far", "environment": long, "download": download})
    )
    await client.failed(change_id)
    home = served.bench.home
    files = [path for path in home.rglob("*") if path.is_file()]
    assert [path.name for path in files if path.name.startswith("chutes.sqlite3")]
    assert [path.name for path in files if secret.encode() in path.read_bytes()] == []


async def test_an_update_by_description(served: Served) -> None:
    client = served.client()
    document = {"services": {"main": REDIS}}
    change_id = await client.call_id("UpdateChute", chute="web", config=struct(document))
    await client.done(change_id)
    again = {"name": "web", "services": {"main": {**REDIS, "image": "redis:8"}}}
    await client.done(await client.call_id("UpdateChute", chute="web", config=struct(again)))
    assert [reference for reference, _ in served.bench.engine.pulled] == ["redis:7", "redis:8"]
    assert len(served.bench.engine.images) == 1
    other = await refused(client.call("UpdateChute", chute="web", config=struct({**again, "name": "x"})))
    assert other == ("INVALID_ARGUMENT", "CHUTE_NAME_MISMATCH", "chute")


async def test_credentials_are_used_once_and_told_to_nobody(served: Served, logged: list[Any]) -> None:
    client = served.client()
    secret = {"user": "alice", "secret": "hunter2"}
    lines = await install(client, name="web", services={"main": {**REDIS, "credentials": secret}})
    ((_, used),) = served.bench.engine.pulled
    assert used is not None
    assert (used.user, used.secret) == ("alice", "hunter2")
    seen = [
        lines,
        await config(client),
        str(await client.call("GetChute", chute="web")),
        str(await client.call("ListChanges", include_ended=True)),
        logged,
        str(served.node.domain.registry.installed),
    ]
    assert "hunter2" not in str(seen)
    assert "hunter2" not in "".join(await served.node.database.run(_dump))


def _dump(connection: sqlite3.Connection) -> list[str]:
    rows = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("changes", "chutes")]
    return [str(tuple(row)) for table in rows for row in table]


@pytest.mark.parametrize(
    ("document", "reason", "field"),
    [
        ({"name": "web", "services": {"m": {}}}, "CHUTE_FILES_MISSING", "config.services.m.type"),
        ({"name": "web"}, "CHUTE_FILES_MISSING", "config.services.main.type"),
        ({"name": "web", "servces": {}}, "CHUTE_FILE_INVALID", "config.servces"),
        ({"services": {"m": REDIS}}, "CHUTE_NAME_MISSING", "config.name"),
        ({"name": "web", "services": {"m": {**REDIS, "requests": {"privileged": True}}}},
         "PRIVILEGED_NOT_ALLOWED", "config.services.m.requests.privileged"),
        ({"name": "web", "services": {"m": {**REDIS, "requests": {"network-mode": "host"}}}},
         "HOST_NETWORK_NOT_ALLOWED", "config.services.m.requests.network-mode"),
        ({"name": "web", "updateClass": "ROUTER"}, "CHUTE_FILE_INVALID", "config.updateClass"),
    ],
)  # fmt: skip
async def test_what_cannot_be_installed_changes_nothing(
    document: Any, reason: str, field: str, served: Served
) -> None:
    client = served.client()
    assert (await refused(client.call("InstallChute", config=struct(document))))[1:] == (reason, field)
    assert (await client.call("ListChanges", include_ended=True)).changes == []


async def test_every_mistake_is_told(served: Served) -> None:
    document = {"name": "web", "versoin": 1, "services": {"m": {"comand": "x"}}}
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await served.client().call("InstallChute", config=struct(document))
    status, bad = rpc_status.from_call(error.value), error_details_pb2.BadRequest()
    assert status is not None
    assert status.details[1].Unpack(bad)
    told = {one.field: one.description for one in bad.field_violations}
    assert set(told) == {"config.versoin", "config.services.m.comand"}
    assert "did you mean version?" in told["config.versoin"]


async def test_a_configuration_goes_around(served: Served) -> None:
    client = served.client()
    await install(
        client, name="web", services={"main": REDIS, "two": REDIS}, web={"service": "main", "port": 80}
    )
    before = await config(client)
    lines = await put(client, before)
    assert await config(client) == before
    assert not any("pull_image" in line for line in lines)


@pytest.mark.parametrize("form", ["old", "new"])
async def test_every_part_can_be_altered(form: str, served: Served) -> None:
    client = served.client()
    if form == "old":
        await upload(
            client, name="web", type="normal", config={"web": {"port": 80}, "environment": {"B": "1"}}
        )
    else:
        service = {"environment": {"B": "1"}}
        await upload(client, name="web", services={"main": service}, web={"port": 80})
    shown = await config(client)
    main = {
        **shown["services"]["main"],
        "environment": {"B": "2"},
        "command": ["run"],
        "requests": {"port-bindings": [{"internal": 80, "external": 8080}], "memory-limit": "32M"},
    }
    altered = {**shown, "environment": {"A": "9"}, "description": "Altered.", "version": 7}
    altered["services"] = {"main": main}
    lines = await put(client, altered)
    assert not any("build_image" in line for line in lines)
    plan = served.bench.engine.running["web-main"].plan
    assert (plan.environment["A"], plan.environment["B"], plan.command) == ("9", "2", ("run",))
    assert [(port.key, port.host_port) for port in plan.ports] == [("80/tcp", 8080)]
    assert plan.memory_limit_bytes == 32 * 1024 * 1024
    after = await config(client)
    assert after["services"]["main"]["requests"]["port-bindings"] == {"80/tcp": 8080}
    assert (after["description"], after["version"], after["config"]) == ("Altered.", 7, {})
    await put(client, {key: value for key, value in after.items() if key != "web"})
    assert (await config(client))["web"] == {}


async def test_the_config_of_the_old_form_is_replaced_as_a_whole(served: Served) -> None:
    client = served.client()
    old = {"web": {"port": 80}, "environment": {"B": "1"}, "dataDir": "/x"}
    await upload(client, name="web", environment={"A": "1"}, command="run", config=old)
    await put(client, {"web": {"port": 81}, "host_config": {"port_bindings": {"1": 2}}})
    shown = await config(client)
    assert shown["config"] == {"web": {"port": 81}, "host_config": {"port_bindings": {"1": 2}}}
    assert shown["web"] == {"service": "main", "port": 81}
    main = shown["services"]["main"]
    assert (main["environment"], main["command"]) == ({}, "run")
    assert main["requests"]["port-bindings"] == {"1/tcp": 2}
    assert shown["environment"] == {"A": "1"}

    await put(client, {**shown, "config": {"web": {"port": 82}}})
    assert (await config(client))["web"] == {"service": "main", "port": 82}
    both = {**shown, "config": {"web": {"port": 83}}, "web": {}}
    conflict = await refused(client.call("SetChuteConfig", chute="web", config=struct(both)))
    assert conflict == ("INVALID_ARGUMENT", "CHUTE_FILE_INVALID", "config.config")

    await put(client, {"command": "walk", "config": {"environment": {"C": "3"}}})
    shown = await config(client)
    assert (shown["services"]["main"]["command"], shown["config"]) == ("walk", {"environment": {"C": "3"}})


async def test_parts_of_the_new_form_are_replaced(served: Served) -> None:
    client = served.client()
    await install(client, name="web", environment={"A": "1"}, services={"main": REDIS}, web={"port": 80})
    await put(client, {"environment": {"B": "2"}})
    await put(client, {"web": {"service": "main", "port": 81}})
    shown = await config(client)
    assert (shown["environment"], shown["web"]["port"]) == ({"B": "2"}, 81)


async def test_an_image_of_a_registry_may_change(served: Served) -> None:
    client = served.client()
    await install(client, name="web", services={"main": REDIS, "two": REDIS})
    shown = await config(client)
    main = {**shown["services"]["main"], "image": "redis:8"}
    lines = await put(client, {**shown, "services": {"main": main}})
    assert "Calling pull_image main" in lines
    assert set(served.bench.engine.running) == {"web-main"}
    assert len(served.bench.engine.images) == 1


async def test_a_configuration_may_ask_for_images_of_the_same_files(served: Served) -> None:
    client = served.client()
    await upload(client, name="web", services={"main": {}})
    lines = await put(client, {"services": {"main": {}, "new": {}}})
    assert "Calling build_image new" in lines
    assert "Calling build_image main" not in lines
    assert set(served.bench.engine.running) == {"web-main", "web-new"}


LIGHT = {"type": "light", "image": "python3", "command": "python -u main.py"}


@pytest.mark.parametrize(
    ("alter", "built"),
    [
        ({"command": "python -u other.py"}, False),
        ({"image": "node", "command": "node main.js"}, True),
        ({"source": "service"}, True),
        ({"build": {"packages": ["curl"]}}, True),
        ({"type": "normal", "image": None, "command": None}, True),
        ({"requests": {"memory-limit": "64M"}}, False),
    ],
)
async def test_a_light_service_is_built_again_for_what_its_image_is_made_of(
    alter: dict[str, Any], built: bool, served: Served
) -> None:
    client, engine = served.client(), served.bench.engine
    await upload(client, name="web", version=1, services={"main": LIGHT})
    (sources,) = served.bench.sources().values()
    lines = await put(client, {"version": 1, "services": {"main": {**LIGHT, **alter}}})
    assert ("Calling build_image main" in lines) == built
    assert len(engine.built) == 1 + built
    # The image before is gone, the one that runs is not.
    assert engine.images == {engine.running["web-main"].plan.image: "web"}
    if alter.get("command"):
        assert engine.running["web-main"].plan.command == ["/bin/sh", "-c", alter["command"]]
    assert list(served.bench.sources().values()) == [sources]


async def test_a_configuration_that_cannot_be_built_is_refused_at_once(served: Served) -> None:
    client = served.client()
    files = {"paradrop.yaml": yaml.safe_dump({"name": "web", "services": {"main": LIGHT}}), "main.py": ""}
    await client.done(await client.upload(chute_tar(files)))
    shown = await config(client)
    document = struct({"services": {"main": {"type": "normal"}}})
    for dry_run in (True, False):
        call = client.call("SetChuteConfig", chute="web", config=document, dry_run=dry_run)
        assert (await refused(call))[1:] == ("DOCKERFILE_MISSING", "config.services.main.type")
    assert await config(client) == shown
    assert len((await client.call("ListChanges", include_ended=True)).changes) == 1


async def test_the_old_form_may_ask_for_another_language(served: Served) -> None:
    client, engine = served.client(), served.bench.engine
    await upload(client, name="web", type="light", use="python3", command="python -u main.py")
    lines = await put(client, {"use": "node", "command": "node main.js"})
    assert "Calling build_image main" in lines
    assert (await config(client))["services"]["main"]["image"] == "node"
    assert engine.running["web-main"].plan.command == ["/bin/sh", "-c", "node main.js"]


async def test_a_build_for_a_configuration_that_fails_leaves_everything_as_it_was(served: Served) -> None:
    client, engine = served.client(), served.bench.engine
    await upload(client, name="web", version=1, services={"main": LIGHT})
    before, shown = engine.snapshot(), await config(client)
    failure = FailedPrecondition("It does not build.", reason="IMAGE_BUILD_FAILED")
    engine.fail_at("build_image", 1, failure)
    document = {"services": {"main": {**LIGHT, "image": "node"}}}
    change_id = await client.call_id("SetChuteConfig", chute="web", config=struct(document))
    assert (await client.failed(change_id))[1].reason == "IMAGE_BUILD_FAILED"
    assert engine.snapshot() == before
    assert await config(client) == shown


async def test_a_configuration_needs_files_to_build_from(served: Served) -> None:
    client = served.client()
    await install(client, name="web", services={"main": REDIS})
    call = client.call(
        "SetChuteConfig", chute="web", config=struct({"services": {"main": {"type": "normal"}}})
    )
    assert (await refused(call))[1:] == ("CHUTE_BUILD_NEEDED", "config.services.main")


@pytest.mark.parametrize(
    ("alter", "reason", "field"),
    [
        ({"unknown": 1}, "CHUTE_FILE_INVALID", "config.unknown"),
        ({"updateType": "delete"}, "CHUTE_FILE_INVALID", "config.updateType"),
        ({"name": "other"}, "CHUTE_FILE_INVALID", "config.name"),
        ({"owner": "bob"}, "CHUTE_FILE_INVALID", "config.owner"),
        ({"state": "stopped"}, "CHUTE_FILE_INVALID", "config.state"),
        ({"download": {"url": "https://example.org/x"}}, "CHUTE_FILE_INVALID", "config.download"),
        ({"environment": {"A": []}}, "CHUTE_FILE_INVALID", "config.environment.A"),
        ({"web": {"port": 0}}, "CHUTE_FILE_INVALID", "config.web.port"),
        ({"services": {"main": {"comand": "x"}}}, "CHUTE_FILE_INVALID", "config.services.main.comand"),
        ({"services": {"main": {"requests": {"privileged": True}}}}, "PRIVILEGED_NOT_ALLOWED",
         "config.services.main.requests.privileged"),
        ({"net": {"wifi": {"type": "wifi", "ssid": "Free"}}}, "CHUTE_FILE_INVALID",
         "config.net.wifi.intfName"),
    ],
)  # fmt: skip
async def test_a_bad_configuration_changes_nothing(
    alter: Any, reason: str, field: str, served: Served
) -> None:
    client = served.client()
    await upload(client, name="web", services={"main": {}})
    before, changes = await config(client), await client.call("ListChanges", include_ended=True)
    call = client.call("SetChuteConfig", chute="web", config=struct(alter))
    assert (await refused(call))[1:] == (reason, field)
    assert await config(client) == before
    assert await client.call("ListChanges", include_ended=True) == changes


async def test_somebody_else_s_configuration_stays(served: Served) -> None:
    await upload(served.client("trusted"), name="web", services={"main": {}})
    call = served.client("other").call("SetChuteConfig", chute="web", config=struct({"environment": {}}))
    assert (await refused(call))[1] == "CHUTE_NOT_YOURS"


async def test_what_is_allowed_no_longer_does_not_run_again(bench: Bench) -> None:
    """The operator's setting counts when containers are made, not only when a chute is installed."""
    privileged = ServiceSpec("main", requests={"privileged": True})
    bench.policy = NodePolicy(allow_privileged=True)
    async with bench.running() as node:
        assert (await node.install(ChuteSpec("web", {"main": privileged}))).status == "succeeded"
        assert bench.engine.running["web-main"].plan.privileged
    bench.policy = NodePolicy()
    async with bench.running() as node:
        change = await node.command("restart")
        assert change.failure is not None
        assert (change.failure.reason, change.failure.undone) == ("PRIVILEGED_NOT_ALLOWED", True)


async def test_configurations_that_wait_do_not_take_each_other_back(served: Served) -> None:
    client = served.client()
    await upload(client, name="web", version=1, services={"main": {}})
    described = {"name": "web", "version": 2, "description": "second", "services": {"main": {}}}
    files = {"paradrop.yaml": yaml.safe_dump(described), "Dockerfile": "FROM scratch\n"}
    asked = [
        await client.update("web", chute_tar(files)),
        await client.call_id("SetChuteConfig", chute="web", config=struct({"environment": {"A": "1"}})),
        await client.call_id("SetChuteConfig", chute="web", config=struct({"web": {"port": 80}})),
    ]
    for change_id in asked:
        await client.done(change_id)
    shown = await config(client)
    assert (shown["version"], shown["description"]) == (2, "second")
    assert (shown["environment"], shown["web"]) == ({"A": "1"}, {"service": "main", "port": 80})


async def test_a_configuration_that_does_not_run_is_taken_back(served: Served) -> None:
    client = served.client()
    await upload(client, name="web", services={"main": {"environment": {"A": "1"}}})
    before = await config(client)
    served.bench.engine.exits_at_once.add("web")
    altered = {**before, "environment": {"A": "2"}}
    change_id = await client.call_id("SetChuteConfig", chute="web", config=struct(altered))
    _, failure = await client.failed(change_id)
    assert failure.reason == "SERVICE_EXITED"
    assert await config(client) == before

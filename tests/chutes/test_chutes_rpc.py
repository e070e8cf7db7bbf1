"""What callers see of chutes and changes, over a real socket."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, struct_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.chutes.domain import logs, watch
from services.common.documents import to_struct
from tests.chutes.bench import spec, web_spec
from tests.chutes.client import Client, refusal
from tests.chutes.served import Served
from tests.support.engine import chute_tar, small_chute


async def _refused(call: Any) -> tuple[str, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


async def _first(stream: Any) -> Any:
    return await anext(aiter(stream))


def _json(message: Any) -> Any:
    return json_format.MessageToDict(message)


async def test_a_chute_has_the_documented_keys(served: Served) -> None:
    await served.node.install(web_spec(version=2))
    reply = _json(await served.client().call("ListChutes"))
    assert reply["chutes"] == [
        {
            "name": "web",
            "owner": {"name": "paradrop", "domain": "localhost", "role": "admin"},
            "state": "running",
            "desired_state": "running",
            "services": {
                "front": {
                    "allocation": {"cpu_shares": 1024},
                    "state": "running",
                    "ports": [
                        {"container_port": "443/tcp", "host_port": 8443},
                        {"container_port": "80/tcp", "host_port": 49080},
                    ],
                },
                "back": {"allocation": {"cpu_shares": 1024}, "state": "running"},
            },
            "version": 2.0,
            "environment": {"COLOUR": "green"},
            "resources": None,
            "allocation": {"cpu_shares": 2048},
            "create_time": reply["chutes"][0]["create_time"],
        }
    ]
    one = await served.client().call("GetChute", chute="web")
    assert _json(one)["chute"] == reply["chutes"][0]


async def test_a_chute_without_a_version_is_named_after_its_upload(served: Served) -> None:
    await served.node.install(spec())
    chute = (await served.client().call("GetChute", chute="web")).chute
    assert chute.version.string_value.startswith("x17000000")
    changes = (await served.client().call("ListChanges", include_ended=True)).changes
    assert changes[0].version.string_value == chute.version.string_value


async def test_config_and_cache_hold_no_secret(served: Served) -> None:
    await served.node.install(web_spec(version="1.0"))
    config = _json(await served.client().call("GetChuteConfig", chute="web"))["config"]
    assert set(config) == {
        *("name", "description", "version", "owner", "state", "environment", "web", "config", "services")
    }
    assert config["web"] == {"service": "front", "port": 80}
    assert config["version"] == "1.0"
    assert config["state"] == "running"
    front = config["services"]["front"]
    for key in ("name", "type", "source", "image", "command", "dockerfile", "build", "environment"):
        assert key in front
    assert front["interfaces"] == {}
    cache = _json(await served.client().call("GetChuteCache", chute="web"))["cache"]
    assert cache == {
        "networkInterfaces": [],
        "externalDataDir": str(served.bench.home / "data" / "web"),
        "internalDataDir": "/data/",
        "externalSystemDir": str(served.bench.home / "system" / "web"),
        "internalSystemDir": "/paradrop/",
    }
    assert served.bench.tokens.tokens["web"] not in str(config) + str(cache)


async def test_states_follow_the_engine(served: Served) -> None:
    await served.node.install(web_spec())
    client = served.client()
    # Else the node would put right at once what is looked at.
    served.node.domain.registry.paused.add("web")

    async def states() -> tuple[str, dict[str, str], int | None]:
        chute = (await client.call("ListChutes")).chutes[0]
        services = {name: service.state for name, service in chute.services.items()}
        back = chute.services["back"]
        return chute.state, services, back.exit_code if back.HasField("exit_code") else None

    assert await states() == ("running", {"front": "running", "back": "running"}, None)
    back = served.bench.engine.running["web-back"]
    back.status, back.exit_code = "exited", 3
    assert await states() == ("exited", {"front": "running", "back": "exited"}, 3)
    del served.bench.engine.running["web-front"]
    assert await states() == ("missing", {"front": "missing", "back": "exited"}, 3)
    served.bench.engine.down = True
    assert await states() == ("unknown", {"front": "unknown", "back": "unknown"}, None)


async def test_a_list_costs_no_call_to_the_engine_and_no_new_message(served: Served) -> None:
    await served.node.install(web_spec())
    before = served.bench.engine.calls.total()
    client = served.client()
    for _ in range(3):
        assert len((await client.call("ListChutes")).chutes) == 1
    assert served.bench.engine.calls.total() == before


async def test_lists_come_in_pages(served: Served) -> None:
    for name in ("c", "a", "b"):
        await served.node.install(spec(name))
    client = served.client()
    first = await client.call("ListChutes", page_size=2)
    assert [chute.name for chute in first.chutes] == ["a", "b"]
    second = await client.call("ListChutes", page_size=2, page_token=first.next_page_token)
    assert [chute.name for chute in second.chutes] == ["c"]
    assert second.next_page_token == ""
    page = await client.call("ListChanges", page_size=2, include_ended=True)
    assert [change.name for change in page.changes] == ["b", "a"]
    page = await client.call("ListChanges", include_ended=True, page_token=page.next_page_token)
    assert [change.name for change in page.changes] == ["c"]
    assert [c.name for c in (await client.call("ListChanges", include_ended=True, chute="a")).changes] == [
        "a"
    ]
    refused = ("INVALID_ARGUMENT", "PAGE_SIZE_OUT_OF_RANGE", "page_size")
    assert await _refused(client.call("ListChutes", page_size=501)) == refused
    assert await _refused(client.call("ListChanges", page_size=-1)) == refused
    assert await _refused(client.call("ListChanges", page_token="x")) == (
        "INVALID_ARGUMENT",
        "PAGE_TOKEN_INVALID",
        "page_token",
    )


async def test_changes_are_listed_in_their_order_until_they_end(served: Served) -> None:
    client = served.client()
    served.bench.engine.build_pause.clear()
    first = await client.upload(chute_tar(small_chute("web")))
    second = await client.call_id("StopChute", chute="web")
    other = await client.upload(chute_tar(small_chute("other")))
    async with asyncio.timeout(10):
        while {c.id for c in (await client.call("ListChanges")).changes if c.status == "processing"} != {
            first,
            other,
        }:
            await asyncio.sleep(0.01)
    changes = (await client.call("ListChanges")).changes
    assert [(change.id, change.status) for change in changes] == [
        (first, "processing"),
        (other, "processing"),
        (second, "queued"),
    ]
    change = _json(changes[0])
    assert (change["updateClass"], change["updateType"], change["name"]) == ("CHUTE", "create", "web")
    assert change["user"] == {"name": "admin", "domain": "localhost", "role": "admin"}
    assert change["step"] == "build_image main"
    assert _json(changes[2])["version"] is None
    served.bench.engine.build_pause.set()
    for change_id in (first, second, other):
        await client.done(change_id)
    assert (await client.call("ListChanges")).changes == []
    assert (await client.call("GetChange", change_id=first)).change.status == "succeeded"


async def test_a_watch_replays_follows_and_ends(served: Served) -> None:
    client = served.client()
    served.bench.engine.build_pause.clear()
    change_id = await client.upload(chute_tar(small_chute("web")))
    kinds: list[str] = []
    async for event in client.stream("WatchChange", change_id=change_id):
        kinds.append(event.WhichOneof("event"))
        if kinds[-1] == "synced":
            served.bench.engine.build_pause.set()
    assert kinds[-2:] == ["ended", "end"]
    assert "progress" in kinds[kinds.index("synced") :]
    lines, change = await client.watch(change_id)
    assert change.percent == 100
    assert lines[:2] == ["Calling check_disk", "Calling build_image main"]
    assert lines[-1] == "Completed create operation on chute web: success"


UNKNOWN = [
    ("GetChute", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ("GetChuteConfig", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ("GetChuteCache", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ("StartChute", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ("StopChute", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ("RestartChute", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ("DeleteChute", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ("SetChuteConfig", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ("GetChange", {"change_id": 7}, "CHANGE_NOT_FOUND"),
    ("CancelChange", {"change_id": 7}, "CHANGE_NOT_FOUND"),
]


@pytest.mark.parametrize(("rpc", "fields", "reason"), UNKNOWN)
async def test_what_does_not_exist_is_not_found(
    rpc: str, fields: dict[str, Any], reason: str, served: Served
) -> None:
    assert await _refused(served.client().call(rpc, **fields)) == ("NOT_FOUND", reason, "")


@pytest.mark.parametrize(
    ("rpc", "fields", "reason"),
    [
        ("WatchChange", {"change_id": 7}, "CHANGE_NOT_FOUND"),
        ("StreamLogs", {"chute": "web"}, "CHUTE_NOT_FOUND"),
    ],
)
async def test_streams_of_what_does_not_exist_are_refused_before_anything(
    rpc: str, fields: dict[str, Any], reason: str, served: Served
) -> None:
    refused = await _refused(_first(served.client().stream(rpc, **fields)))
    assert refused == ("NOT_FOUND", reason, "")


async def test_states_are_those_after_the_changes_that_wait(served: Served) -> None:
    client = served.client()
    served.bench.engine.build_pause.clear()
    await client.upload(chute_tar(small_chute("web")))
    assert (await _refused(client.upload(chute_tar(small_chute("web")))))[1] == "CHUTE_EXISTS"
    assert (await _refused(client.call("StartChute", chute="web")))[1] == "CHUTE_RUNNING"
    await client.call("StopChute", chute="web")
    assert (await _refused(client.call("StopChute", chute="web")))[1] == "CHUTE_STOPPED"
    await client.call("StartChute", chute="web")
    await client.call("DeleteChute", chute="web")
    assert (await _refused(client.call("StartChute", chute="web")))[1] == "CHUTE_NOT_FOUND"
    last = await client.upload(chute_tar(small_chute("web")))
    served.bench.engine.build_pause.set()
    await client.done(last)
    assert [change.status for change in (await client.call("ListChanges", include_ended=True)).changes] == [
        "succeeded"
    ] * 5


async def test_refused_changes_take_no_id(served: Served) -> None:
    client = served.client()
    first = await client.upload(chute_tar(small_chute("web")))
    await client.done(first)
    for _ in range(3):
        await _refused(client.upload(chute_tar(small_chute("web"))))
        await _refused(client.call("StartChute", chute="web"))
    assert await client.call_id("StopChute", chute="web") == first + 1


MUTATIONS = ["StopChute", "RestartChute", "DeleteChute"]
READS = ["GetChute", "GetChuteConfig", "GetChuteCache"]


@pytest.mark.parametrize("rpc", [*MUTATIONS, *READS])
async def test_only_owners_and_administrators_may(rpc: str, served: Served) -> None:
    owner, other, admin = (served.client(name) for name in ("trusted", "other", "admin"))
    await owner.done(await owner.upload(chute_tar(small_chute("web"))))
    assert await _refused(other.call(rpc, chute="web")) == ("PERMISSION_DENIED", "CHUTE_NOT_YOURS", "")
    if rpc in READS:
        await owner.call(rpc, chute="web")
        await admin.call(rpc, chute="web")
    else:
        await owner.done(await owner.call_id(rpc, chute="web"))


async def test_nobody_updates_or_watches_the_chute_of_another(served: Served) -> None:
    owner, other = served.client("trusted"), served.client("other")
    change_id = await owner.upload(chute_tar(small_chute("web")))
    await owner.done(change_id)
    assert (await _refused(other.update("web", chute_tar(small_chute("web")))))[1] == "CHUTE_NOT_YOURS"
    for rpc, fields, reason in (
        ("StreamLogs", {"chute": "web"}, "CHUTE_NOT_YOURS"),
        ("WatchChange", {"change_id": change_id}, "CHANGE_NOT_YOURS"),
    ):
        refused = await _refused(_first(other.stream(rpc, **fields)))
        assert refused == ("PERMISSION_DENIED", reason, "")


async def test_a_list_hides_the_environment_of_other_peoples_chutes(served: Served) -> None:
    owner = served.client("trusted")
    await owner.done(await owner.upload(chute_tar(small_chute("web"))))
    await owner.done(await owner.call_id("RestartChute", chute="web", environment={"SECRET": "7"}))
    for name, seen in (("trusted", True), ("admin", True), ("web", True), ("other", False), ("user", False)):
        (chute,) = (await served.client(name).call("ListChutes")).chutes
        assert bool(chute.environment) is seen, name
        assert chute.state == "running"


async def test_the_owner_stays_the_owner(served: Served) -> None:
    owner, admin = served.client("trusted"), served.client("admin")
    await owner.done(await owner.upload(chute_tar(small_chute("web"))))
    await admin.done(await admin.call_id("RestartChute", chute="web"))
    await admin.done(await admin.update("web", chute_tar(small_chute("web"))))
    chute = (await owner.call("GetChute", chute="web")).chute
    assert (chute.owner.name, chute.owner.role) == ("trusted", "trusted")


async def test_a_chute_sees_itself_and_nothing_else(served: Served) -> None:
    await served.node.install(spec("web"))
    await served.node.install(spec("other"))
    chute = served.client("web")
    assert await chute.chutes() == {"web": "running"}
    assert (await chute.call("GetChute", chute="web")).chute.name == "web"
    assert (await _refused(chute.call("GetChute", chute="other")))[1] == "CHUTE_NOT_YOURS"
    assert (await _refused(chute.call("StopChute", chute="web")))[1] == "CHUTE_TOKEN_NOT_ENOUGH"


async def test_guests_and_users_may_not_alter_anything(served: Served) -> None:
    await served.node.install(spec())
    assert (await _refused(served.client("user").call("StopChute", chute="web")))[1] == "ROLE_TOO_LOW"
    assert (await _refused(served.client("guest").call("ListChutes")))[1] == "ROLE_TOO_LOW"
    assert (await _refused(served.client(None).call("ListChutes")))[0] == "UNAUTHENTICATED"


async def test_an_environment_replaces_the_author_s(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(chute_tar(small_chute("web"))))
    await client.done(await client.call_id("RestartChute", chute="web", environment={"A": "1"}))
    assert served.bench.engine.running["web-main"].plan.environment["A"] == "1"
    await client.done(await client.call_id("RestartChute", chute="web"))
    assert (await client.call("GetChute", chute="web")).chute.environment == {"A": "1"}
    variables = to_struct({"A": 1, "B": True, "C": None, "D": 1.5})
    await client.done(await client.call_id("RestartChute", chute="web", variables=variables))
    shown = (await client.call("GetChute", chute="web")).chute.environment
    assert shown == {"A": "1", "B": "true", "C": "", "D": "1.5"}
    refused = await _refused(client.call("RestartChute", chute="web", variables=to_struct({"A": []})))
    assert refused == ("INVALID_ARGUMENT", "ENVIRONMENT_INVALID", "environment.A")
    await client.done(await client.call_id("RestartChute", chute="web", variables=to_struct({})))
    assert (await client.call("GetChute", chute="web")).chute.environment == {}
    refused = await _refused(client.call("RestartChute", chute="web", environment={"A=B": "1"}))
    assert refused == ("INVALID_ARGUMENT", "ENVIRONMENT_INVALID", "environment.A=B")
    large = {f"V{number}": "x" for number in range(201)}
    refused = await _refused(client.call("RestartChute", chute="web", environment=large))
    assert refused[1] == "ENVIRONMENT_TOO_LARGE"


CHANGE = {"updateClass": "CHUTE", "updateType": "stop", "name": "web"}

BAD_CHANGES = [
    ({}, "change.updateClass"),
    (CHANGE | {"updateClass": "SNAP"}, "change.updateClass"),
    (CHANGE | {"updateClass": 7}, "change.updateClass"),
    (CHANGE | {"updateType": "explode"}, "change.updateType"),
    (CHANGE | {"updateType": None}, "change.updateType"),
    (CHANGE | {"updateClass": "ROUTER"}, "change.updateType"),
    (CHANGE | {"name": ""}, "change.name"),
    (CHANGE | {"name": ["web"]}, "change.name"),
    ({key: CHANGE[key] for key in ("updateClass", "updateType")}, "change.name"),
    (CHANGE | {"tok": 7}, "change.tok"),
    (CHANGE | {"change_id": 7}, "change.change_id"),
    (CHANGE | {"user": {"name": "root"}}, "change.user"),
    (CHANGE | {"colour": "red"}, "change.colour"),
    (CHANGE | {"environment": {"A": "1"}}, "change.environment"),
    (CHANGE | {"updateType": "restart", "environment": {"A": []}}, "change.environment"),
    (CHANGE | {"updateType": "restart", "environment": "A"}, "change.environment"),
]


def _change(document: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(document)
    return struct


@pytest.mark.parametrize(("document", "field"), BAD_CHANGES)
async def test_a_change_document_is_read_strictly(
    document: dict[str, Any], field: str, served: Served
) -> None:
    await served.node.install(spec())
    refused = await _refused(served.client().call("CreateChange", change=_change(document)))
    assert refused == ("INVALID_ARGUMENT", "CHANGE_INVALID", field)
    assert (await served.client().call("ListChanges")).changes == []


async def test_a_change_document_does_what_the_command_does(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(chute_tar(small_chute("web"))))
    for document in (
        CHANGE,
        CHANGE | {"updateType": "start", "environment": {"A": "1"}},
        CHANGE | {"updateType": "restart"},
        CHANGE | {"updateType": "delete"},
    ):
        await client.done(await client.call_id("CreateChange", change=_change(document)))
    assert await client.chutes() == {}
    assert (await _refused(client.call("CreateChange", change=_change(CHANGE))))[1] == "CHUTE_NOT_FOUND"


@pytest.mark.parametrize("rpc", ["InstallChute", "UpdateChute", "SetChuteConfig"])
async def test_an_empty_description_is_refused_first(rpc: str, served: Served) -> None:
    await served.node.install(spec())
    fields = {} if rpc == "InstallChute" else {"chute": "web"}
    assert await _refused(served.client().call(rpc, **fields)) == (
        "INVALID_ARGUMENT",
        "CONFIG_MISSING",
        "config",
    )


async def _log(client: Client, **fields: Any) -> list[str]:
    return [
        line.message
        async for event in client.stream("StreamLogs", chute="web", **fields)
        for line in event.lines.lines
    ]


async def test_logs_are_cut_to_the_tail_and_the_service(served: Served) -> None:
    await served.node.install(web_spec())
    client = served.client()
    served.bench.engine.running["web-front"].lines = tuple(f"front {n}" for n in range(300))
    served.bench.engine.running["web-back"].lines = ("back 0",)
    assert len(await _log(client)) == 201
    assert await _log(client, service="front", tail=2) == ["front 298", "front 299"]
    assert await _log(client, tail=0) == []
    for fields, field in (
        ({"service": "nobody"}, "service"),
        ({"tail": -1}, "tail"),
        ({"tail": 10_001}, "tail"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await _log(client, **fields)
        assert refusal(error.value)[::2] == ("INVALID_ARGUMENT", field)


async def test_quiet_streams_show_that_they_live(served: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "IDLE_S", 0.02)
    monkeypatch.setattr(watch, "IDLE_S", 0.02)
    client = served.client()
    await served.node.install(spec("web"))
    served.bench.engine.build_pause.clear()
    change_id = await client.upload(chute_tar(small_chute("other")))
    for stream in (
        client.stream("StreamLogs", chute="web", follow=True),
        client.stream("WatchChange", change_id=change_id),
    ):
        async with asyncio.timeout(10):
            async for event in stream:
                if event.HasField("heartbeat"):
                    assert event.heartbeat.time.seconds > 1_600_000_000
                    break
        stream.cancel()
    served.bench.engine.build_pause.set()
    await client.done(change_id)


async def test_logs_of_a_stopped_chute_are_empty(served: Served) -> None:
    await served.node.install(spec())
    await served.node.command("stop")
    events = [event.WhichOneof("event") async for event in served.client().stream("StreamLogs", chute="web")]
    assert events == ["synced", "end"]


async def test_the_owner_ends_the_token_of_a_chute_that_has_become_known(served: Served) -> None:
    await served.node.install(spec())
    assert (await _refused(served.client("other").call("RevokeToken", chute="web")))[1] == "CHUTE_NOT_YOURS"
    assert (await _refused(served.client("user").call("RevokeToken", chute="web")))[1] == "ROLE_TOO_LOW"
    assert (await _refused(served.client().call("RevokeToken", chute="shop")))[1] == "CHUTE_NOT_FOUND"
    token = served.bench.tokens.tokens["web"]
    await served.client().call("RevokeToken", chute="web")
    assert served.bench.tokens.tokens == {}
    # Not even a change that is undone brings it back.
    served.bench.engine.exits_at_once.add("web")
    await served.client().failed(await served.client().call_id("RestartChute", chute="web"))
    assert token not in served.bench.tokens.tokens.values()
    served.bench.engine.exits_at_once.clear()
    await served.client().done(await served.client().call_id("RestartChute", chute="web"))
    assert served.bench.tokens.tokens["web"] != token


async def test_times_that_make_no_sense_are_refused(served: Served) -> None:
    await served.node.install(spec())
    late, early = Timestamp(seconds=20), Timestamp(seconds=10)
    for fields, reason, field in (
        ({"until": late, "follow": True}, "UNTIL_WITH_FOLLOW", "until"),
        ({"since": late, "until": early}, "UNTIL_BEFORE_SINCE", "until"),
        ({"since": Timestamp(seconds=2**60)}, "TIME_INVALID", "since"),
        ({"tail": 10_001}, "TAIL_OUT_OF_RANGE", "tail"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await _first(served.client().stream("StreamLogs", chute="web", **fields))
        assert refusal(error.value) == ("INVALID_ARGUMENT", reason, field)


async def test_many_lines_go_in_messages_of_bounded_size(served: Served) -> None:
    await served.node.install(spec())
    served.bench.engine.running["web-main"].lines = tuple(["x" * 100_000] * 5 + ["y"] * 1200)
    events = [event async for event in served.client().stream("StreamLogs", chute="web", tail=2000)]
    sizes = [len(event.lines.lines) for event in events if event.HasField("lines")]
    assert sizes == [2, 2, 500, 500, 201]

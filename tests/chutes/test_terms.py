"""Dry runs, force and idempotency keys of every way to ask for a change, over a real socket."""

import asyncio
from typing import Any

import pytest
from google.protobuf import struct_pb2
from paradrop.chutes.v1 import plans_pb2, uploads_pb2

from services.chutes.adapters.power import NoPower
from services.chutes.app import node_changes
from services.chutes.domain import fetching
from tests.chutes.bench import ADMIN, Bench, spec
from tests.chutes.served import Served
from tests.chutes.test_descriptions import REDIS, refused, struct
from tests.support.engine import chute_tar, small_chute

WEB = {"name": "web", "services": {"main": REDIS}}
GREEN = {"chute": "web", "config": struct({"environment": {"A": "1"}})}
BUILT = ["check_disk", "build_image main", "create_folders", "create_network"]
RUN = ["issue_token", "create_container main", "start_container main", "verify_running"]


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.node_changes = node_changes(NoPower())
    return bench


def steps(plan: plans_pb2.Plan) -> list[str]:
    return [step.name for step in plan.steps]


def tar(version: int = 1) -> bytes:
    files = small_chute("web")
    described = files["paradrop.yaml"].replace("version: 1", f"version: {version}")
    return chute_tar({**files, "paradrop.yaml": described})


def change(kind: str, **keys: Any) -> struct_pb2.Struct:
    return struct({"updateClass": "CHUTE", "updateType": kind, **keys})


def known(served: Served) -> object:
    """Everything that a dry run must leave as it is."""
    bench, queue = served.bench, served.node.domain.queue
    engine = bench.engine.snapshot(), list(bench.engine.pulled)
    return engine, bench.files(), dict(bench.tokens.tokens), queue.ended(), list(queue.unfinished())


async def test_an_upload_is_previewed_and_leaves_nothing(served: Served) -> None:
    client, before = served.client(), known(served)
    reply = await client.send(tar(), dry_run=True)
    assert (reply.change_id, steps(reply.plan)) == (0, [*BUILT, *RUN])
    assert known(served) == before
    reply = await client.send(tar(), chute="web", dry_run=True)
    assert steps(reply.plan) == [*BUILT, *RUN]
    assert known(served) == before
    await client.done(await client.upload(tar()))
    before = known(served)
    reply = await client.send(tar(2), chute="web", dry_run=True)
    assert steps(reply.plan) == [
        *BUILT,
        "await_unlock",
        "remove_container main",
        *RUN,
        "remove_images",
        "remove_sources",
    ]
    assert [step.after_commit for step in reply.plan.steps][-3:] == [False, True, True]
    reply = await client.send(tar(2), chute="web", dry_run=True, force=True)
    assert "await_unlock" not in steps(reply.plan)
    assert known(served) == before


async def test_a_preview_of_an_upload_fails_as_the_upload_would(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(tar()))
    before = known(served)
    assert (await refused(client.send(tar(), dry_run=True)))[1] == "CHUTE_EXISTS"
    assert (await refused(client.send(tar(2), chute="other", dry_run=True)))[1] == "CHUTE_NAME_MISMATCH"
    assert (await refused(client.send(b"no tar" * 100, dry_run=True)))[1] == "TAR_CORRUPT"
    stranger = served.client("other").send(tar(2), chute="web", dry_run=True)
    assert (await refused(stranger))[0] == "PERMISSION_DENIED"
    assert known(served) == before


PREVIEWS = [
    ("InstallChute", {"config": struct({**WEB, "name": "new"})}, "pull_image main"),
    ("UpdateChute", {"chute": "web", "config": struct(WEB)}, "pull_image main"),
    (
        "SetChuteConfig",
        GREEN,
        "remove_container main",
    ),
    ("StopChute", {"chute": "web"}, "remove_container main"),
    ("StartChute", {"chute": "still"}, "start_container main"),
    ("RestartChute", {"chute": "web"}, "start_container main"),
    ("DeleteChute", {"chute": "web"}, "remove_folders"),
    ("CreateChange", {"change": change("create", config={**WEB, "name": "new"})}, "pull_image main"),
    ("CreateChange", {"change": change("update", config=WEB)}, "pull_image main"),
    ("FactoryReset", {}, "remove_chute web"),
]


@pytest.mark.parametrize(("rpc", "fields", "step"), PREVIEWS)
async def test_every_call_that_makes_a_change_can_be_previewed(
    rpc: str, fields: dict[str, Any], step: str, served: Served
) -> None:
    await served.node.install(spec())
    await served.node.install(spec("still"))
    await served.node.command("stop", "still")
    before = known(served)
    reply = await served.client().call(rpc, **fields, dry_run=True)
    assert reply.change_id == 0
    assert step in steps(reply.plan)
    assert known(served) == before


FORCED = [
    ("StopChute", {"chute": "web"}),
    ("RestartChute", {"chute": "web"}),
    ("DeleteChute", {"chute": "web"}),
    ("UpdateChute", {"chute": "web", "config": struct(WEB)}),
    ("SetChuteConfig", GREEN),
]


@pytest.mark.parametrize(("rpc", "fields"), FORCED)
async def test_force_overrides_a_lock(rpc: str, fields: dict[str, Any], served: Served) -> None:
    await served.node.install(spec())
    await served.node.domain.manager.lock("web", ADMIN, "busy")
    client = served.client()
    waits = await client.call_id(rpc, **fields)
    while (found := served.node.domain.queue.find(waits)).waiting is None:
        await asyncio.sleep(0.005)
    assert found.waiting.reason == "UPDATE_LOCKED"
    await client.call("CancelChange", change_id=waits)
    await client.failed(waits)
    await client.done(await client.call_id(rpc, **fields, force=True))


async def test_force_overrides_a_lock_for_uploads_and_documents(served: Served) -> None:
    client = served.client()
    await client.done(await client.upload(tar()))
    await served.node.domain.manager.lock("web", ADMIN, "busy")
    await client.done((await client.send(tar(2), chute="web", force=True)).change_id)
    update = change("update", config={**WEB, "version": 3}, force=True)
    await client.done(await client.call_id("CreateChange", change=update))


async def test_what_the_first_piece_asks_for_holds(served: Served) -> None:
    first, second = tar()[:1024], tar()[1024:]

    async def pieces() -> Any:
        for data, dry_run in ((first, True), (second, False)):
            request = uploads_pb2.UploadChuteRequest(dry_run=dry_run)
            request.content.content_type, request.content.data = "application/x-tar", data
            yield request

    reply = await served.client().uploads.UploadChute(pieces(), metadata=served.client().metadata)
    assert steps(reply.plan)
    assert served.bench.files() == []


KEYED = [
    ("InstallChute", {"config": struct({**WEB, "name": "new"})}),
    ("UpdateChute", {"chute": "web", "config": struct(WEB)}),
    ("SetChuteConfig", GREEN),
    ("CreateChange", {"change": change("create", config={**WEB, "name": "new"})}),
    ("FactoryReset", {}),
]


@pytest.mark.parametrize(("rpc", "fields"), KEYED)
async def test_a_key_makes_one_change_of_two_calls(rpc: str, fields: dict[str, Any], served: Served) -> None:
    await served.node.install(spec())
    client = served.client()
    with client.idempotency_key("once"):
        first = await client.call_id(rpc, **fields)
        await client.done(first)
        assert await client.call_id(rpc, **fields) == first


class TestDocuments:
    """POST /api/v1/changes with the description of a chute."""

    async def test_a_chute_is_created_and_updated(self, served: Served) -> None:
        client = served.client()
        create = change("create", name="web", config={"version": 1, "services": {"main": REDIS}})
        lines = await client.done(await client.call_id("CreateChange", change=create))
        assert "Calling pull_image main" in lines
        update = change("update", config={**WEB, "version": 2})
        await client.done(await client.call_id("CreateChange", change=update))
        assert served.node.domain.manager.find("web", ADMIN).version == 2
        types = [one.request.type for one in served.node.domain.queue.ended()]
        assert types == ["update", "create"]

    @pytest.mark.parametrize(
        ("kind", "keys", "reason", "field"),
        [
            ("create", {}, "CONFIG_MISSING", "config"),
            ("create", {"config": "web"}, "CHANGE_INVALID", "change.config"),
            (
                "create",
                {"config": {"name": "web", "servces": {}}},
                "CHUTE_FILE_INVALID",
                "change.config.servces",
            ),
            ("create", {"config": {"services": {"main": REDIS}}}, "CHUTE_NAME_MISSING", "change.config.name"),
            ("create", {"name": "other", "config": WEB}, "CHUTE_NAME_MISMATCH", "chute"),
            ("create", {"name": "", "config": WEB}, "CHANGE_INVALID", "change.name"),
            ("create", {"config": WEB, "force": True}, "CHANGE_INVALID", "change.force"),
            ("update", {"config": WEB, "force": 1}, "CHANGE_INVALID", "change.force"),
            ("update", {"config": WEB, "user": {}}, "CHANGE_INVALID", "change.user"),
            (
                "update",
                {"config": {**WEB, "download": {"url": "https://x/y.tar"}}, "download": {"url": "https://z"}},
                "CHANGE_INVALID",
                "change.download",
            ),
            (
                "create",
                {"name": "web", "download": {"url": "gopher://x"}},
                "DOWNLOAD_SCHEME_NOT_ALLOWED",
                "change.config.download.url",
            ),
            (
                "create",
                {"config": {"name": "web", "services": {"main": {}}}},
                "CHUTE_FILES_MISSING",
                "change.config.services.main.type",
            ),
        ],
    )
    async def test_what_is_wrong_is_told_by_field(
        self, kind: str, keys: dict[str, Any], reason: str, field: str, served: Served
    ) -> None:
        before = known(served)
        answer = await refused(served.client().call("CreateChange", change=change(kind, **keys)))
        assert answer == ("INVALID_ARGUMENT", reason, field)
        assert known(served) == before


async def test_a_number_that_json_does_not_know_is_refused(served: Served) -> None:
    config = struct({**WEB, "services": {"main": {**REDIS, "requests": {"cpu-fraction": 0.5}}}})
    requests = config.fields["services"].struct_value.fields["main"].struct_value.fields["requests"]
    requests.struct_value.fields["cpu-fraction"].number_value = float("nan")
    answer = await refused(served.client().call("InstallChute", config=config))
    assert answer[:2] == ("INVALID_ARGUMENT", "CHUTE_FILE_INVALID")


async def test_the_preview_of_a_download_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PREVIEW_DEADLINE_S", 0.0)
    download = {"name": "web", "download": {"url": "https://192.0.2.1/web.tar"}}
    answer = await refused(served.client().call("InstallChute", config=struct(download), dry_run=True))
    assert answer[:2] == ("DEADLINE_EXCEEDED", "PREVIEW_TIMED_OUT")
    assert served.bench.files() == []

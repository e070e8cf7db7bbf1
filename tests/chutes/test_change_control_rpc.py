"""What callers can do to changes, over a real socket."""

import asyncio
import time
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2

from services.chutes.domain.change import Terms
from services.chutes.domain.watch import IDLE_S
from services.common.identity import Principal, Role
from tests.chutes.bench import ADMIN, spec
from tests.chutes.client import Client, refusal
from tests.chutes.served import Served
from tests.support.engine import chute_tar, small_chute

TRUSTED = Principal("trusted", Role.TRUSTED)
STOP = {"updateClass": "CHUTE", "updateType": "stop", "name": "web"}


def _document(**keys: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(STOP | keys)
    return struct


async def _refused(call: Any) -> tuple[str, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


async def test_a_change_is_cancelled_by_those_it_concerns(served: Served) -> None:
    served.bench.engine.build_pause.clear()
    change = await served.node.install(spec(), by=TRUSTED, ends=False)
    refused = await _refused(served.client("other").call("CancelChange", change_id=change.id))
    assert refused == ("PERMISSION_DENIED", "CHANGE_NOT_YOURS", "")
    await served.client("admin").call("CancelChange", change_id=change.id)
    _, failure = await served.client().failed(change.id)
    assert failure.reason == "CHANGE_CANCELLED"
    ended = (await served.client().call("GetChange", change_id=change.id)).change
    assert (ended.cancelled_by, ended.user.name) == ("admin", "trusted")
    refused = await _refused(served.client().call("CancelChange", change_id=change.id))
    assert refused == ("FAILED_PRECONDITION", "CHANGE_NOT_CANCELLABLE", "")
    refused = await _refused(served.client().call("CancelChange", change_id=99))
    assert refused == ("NOT_FOUND", "CHANGE_NOT_FOUND", "")


async def test_a_dry_run_answers_a_plan_and_takes_no_id(served: Served) -> None:
    await served.node.install(spec())
    answer = await served.client().call("CreateChange", change=_document(), dry_run=True)
    assert answer.change_id == 0
    assert [(step.name, step.after_commit) for step in answer.plan.steps] == [
        ("await_unlock", False),
        ("remove_container main", False),
        ("revoke_token", True),
    ]
    assert answer.plan.steps[2].description == "Ends the token of a chute that is removed or stopped."
    assert len((await served.client().call("ListChanges", include_ended=True)).changes) == 1
    refused = await _refused(
        served.client().call("CreateChange", change=_document(updateType="start"), dry_run=True)
    )
    assert refused == ("FAILED_PRECONDITION", "CHUTE_RUNNING", "")


async def test_an_idempotency_key_is_metadata_of_any_call(served: Served) -> None:
    client = served.client()
    upload = chute_tar(small_chute("web"))
    with client.idempotency_key("install-1"):
        change_id = await client.upload(upload)
        assert await client.upload(upload) == change_id
        await client.done(change_id)
        # The chute exists now; without the key this would be refused.
        assert await client.upload(upload) == change_id
        refused = await _refused(client.call("StopChute", chute="web"))
        assert refused == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED", "")
    with client.idempotency_key("stop-1"):
        stop_id = await client.call_id("StopChute", chute="web")
        await client.done(stop_id)
        assert await client.call_id("CreateChange", change=_document()) == stop_id


@pytest.mark.parametrize("key", ["", "two words", "x" * 129])
async def test_a_bad_idempotency_key_is_refused(key: str, served: Served) -> None:
    client = served.client()
    with client.idempotency_key(key):
        refused = await _refused(client.call("StopChute", chute="web"))
    assert refused == ("INVALID_ARGUMENT", "IDEMPOTENCY_KEY_INVALID", "idempotency-key")


async def test_changes_are_filtered_and_paged(served: Served) -> None:
    client = served.client()
    await served.node.install(spec("a"), by=TRUSTED)
    await served.node.install(spec("b"))
    await served.node.command("stop", "a")
    served.bench.engine.exits_at_once.add("c")
    await served.node.install(spec("c"))

    async def listed(**filters: Any) -> list[str]:
        changes = (await client.call("ListChanges", include_ended=True, **filters)).changes
        return [f"{change.update_type} {change.name}" for change in changes]

    assert await listed(chute="a") == ["stop a", "create a"]
    assert await listed(status="failed") == ["create c"]
    assert await listed(update_type="create", status="succeeded") == ["create b", "create a"]
    assert await listed(user="trusted") == ["create a"]
    assert await listed(user="nobody") == []
    assert len((await client.call("ListChanges", status="failed")).changes) == 1
    page = await client.call("ListChanges", status="succeeded", page_size=2)
    assert [change.name for change in page.changes] == ["a", "b"]
    page = await client.call("ListChanges", status="succeeded", page_token=page.next_page_token)
    assert [change.name for change in page.changes] == ["a"]
    refused = await _refused(client.call("ListChanges", status="done"))
    assert refused == ("INVALID_ARGUMENT", "STATUS_UNKNOWN", "status")


async def test_a_lock_holds_a_change_up_and_is_shown(served: Served) -> None:
    client = served.client("trusted")
    await served.node.install(spec(), by=TRUSTED)
    await client.call("LockChute", chute="web", reason="measuring")
    assert await _refused(client.call("LockChute", chute="web")) == (
        "FAILED_PRECONDITION",
        "CHUTE_LOCKED",
        "",
    )
    change_id = await client.call_id("StopChute", chute="web")
    while not (waiting := (await client.call("ListChanges")).changes[0].waiting).reason:
        await asyncio.sleep(0.01)
    assert waiting.reason == "UPDATE_LOCKED"
    assert "(measuring)" in waiting.message
    for rpc in ("LockChute", "UnlockChute"):
        refused = await _refused(served.client("other").call(rpc, chute="web"))
        assert refused == ("PERMISSION_DENIED", "CHUTE_NOT_YOURS", "")
    await client.call("UnlockChute", chute="web")
    lines = await client.done(change_id)
    assert any("(measuring)" in line for line in lines)


async def test_force_and_keep_data_are_fields_and_keys(served: Served) -> None:
    await served.node.install(spec(), by=TRUSTED)
    await served.node.domain.manager.lock("web", ADMIN, "")
    client = served.client("trusted")
    await client.done(await client.call_id("RestartChute", chute="web", force=True))
    (served.bench.home / "data" / "web" / "kept").write_text("precious")
    document = _document(updateType="delete", force=True, keep_data=True)
    await client.done(await client.call_id("CreateChange", change=document))
    await served.node.install(spec(), by=TRUSTED)
    assert (served.bench.home / "data" / "web" / "kept").read_text() == "precious"
    await client.done(await client.call_id("DeleteChute", chute="web", force=True))
    for keys, field in (
        ({"force": 1}, "force"),
        ({"keep_data": True}, "keep_data"),
        ({"updateType": "start", "force": True}, "force"),
    ):
        refused = await _refused(client.call("CreateChange", change=_document(**keys)))
        assert refused == ("INVALID_ARGUMENT", "CHANGE_INVALID", f"change.{field}")


async def test_a_service_hands_in_a_change_of_somebody_elses(served: Served) -> None:
    await served.node.install(spec())
    service = Client(served.channel, served.publisher.token("__paradrop__", role="owner"))
    ada = {"name": "ada", "domain": "paradrop.org", "role": "trusted"}
    refused = await _refused(service.call("CreateChange", change=_document(), on_behalf_of=ada))
    assert refused == ("PERMISSION_DENIED", "CHUTE_NOT_YOURS", "")
    change_id = await service.call_id(
        "CreateChange", change=_document(), on_behalf_of=ada | {"role": "owner"}
    )
    _, ended = await service.watch(change_id)
    assert (ended.user.name, ended.user.domain, ended.user.role) == ("ada", "paradrop.org", "owner")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"role": "guest"}, "ROLE_TOO_LOW"),
        ({"role": "emperor"}, "PRINCIPAL_INVALID"),
        ({"name": ""}, "PRINCIPAL_INVALID"),
        ({"name": "x\ny"}, "PRINCIPAL_INVALID"),
        ({"domain": "localhost"}, "PRINCIPAL_INVALID"),
    ],
)
async def test_not_everybody_can_be_that_somebody(served: Served, wrong: dict[str, str], reason: str) -> None:
    service = Client(served.channel, served.publisher.token("__paradrop__", role="owner"))
    ada = {"name": "ada", "domain": "paradrop.org", "role": "owner"} | wrong
    refused = await _refused(service.call("CreateChange", change=_document(), on_behalf_of=ada))
    assert refused[1] == reason


async def test_only_services_speak_for_others(served: Served) -> None:
    ada = {"name": "ada", "domain": "paradrop.org", "role": "owner"}
    refused = await _refused(served.client().call("CreateChange", change=_document(), on_behalf_of=ada))
    assert refused == ("PERMISSION_DENIED", "SERVICES_ONLY", "")


async def test_a_watch_tells_the_step_and_what_is_waited_for(served: Served) -> None:
    await served.node.install(spec())
    await served.node.domain.manager.lock("web", ADMIN, "busy")
    change_id = await served.client().call_id("RestartChute", chute="web")
    seen, began_s = [], time.monotonic()
    async for event in served.client().stream("WatchChange", change_id=change_id):
        if event.HasField("change"):
            seen.append((event.change.waiting.reason, event.change.step))
            if event.change.waiting.reason:
                await served.node.domain.manager.unlock("web", ADMIN)
    # The first event may be of the change before it is taken up.
    assert ("UPDATE_LOCKED", "") in seen[:2]
    # What is waited for is told at once, not with the next sign of life.
    assert time.monotonic() - began_s < IDLE_S / 2
    assert any(step for _, step in seen)


async def test_terms_survive_the_journal(served: Served) -> None:
    served.bench.engine.build_pause.clear()
    change = await served.node.install(spec(), ends=False)
    _, changes = await served.node.world.journal.load()
    assert changes[0].request.terms == Terms()
    assert changes[0].request == change.request


async def test_services_are_told_of_every_change_when_it_is_accepted_and_when_it_has_ended(
    served: Served,
) -> None:
    await served.node.install(spec("earlier"))
    served.bench.engine.build_pause.clear()
    running = await served.node.install(spec(), ends=False)
    service = Client(served.channel, served.publisher.token("__paradrop__", role="owner"))
    stream = service.stream("WatchChanges")
    first = await stream.read()
    assert (first.change.id, first.change.status in ("queued", "processing")) == (running.id, True)
    assert (await stream.read()).HasField("synced")
    later = await service.call_id("StopChute", chute="earlier")
    served.bench.engine.build_pause.set()
    moves: dict[int, list[str]] = {later: [], running.id: []}
    async with asyncio.timeout(10):
        while not all("succeeded" in statuses for statuses in moves.values()):
            change = (await stream.read()).change
            moves[change.id].append(change.status)
    assert moves[running.id] == ["succeeded"]
    assert moves[later][-1] == "succeeded"
    stream.cancel()
    for name in ("admin", "web"):
        refused = await _refused(served.client(name).stream("WatchChanges").read())
        assert refused[0] == "PERMISSION_DENIED"


async def test_services_are_told_what_the_list_of_chutes_is_now(served: Served) -> None:
    service = Client(served.channel, served.publisher.token("__paradrop__", role="owner"))
    stream = service.stream("WatchChutes")
    assert list((await stream.read()).list.chutes) == []
    await served.node.install(spec())

    async def until(state: str) -> None:
        async with asyncio.timeout(10):
            while True:
                chutes = (await stream.read()).list.chutes
                if [(chute.name, chute.state) for chute in chutes] == [("web", state)]:
                    return

    await until("running")
    # Not only changes are told of: what happens to a container is, too.
    served.node.domain.registry.paused.add("web")
    await served.bench.engine.pause_container("web-main")
    await until("paused")
    stream.cancel()

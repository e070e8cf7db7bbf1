"""The host configuration over gRPC: who may see what, versions, differences, probation and its end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from paradrop.network.v1 import hostconfig_pb2 as pb
from paradrop.network.v1 import network_pb2

from services.common.documents import to_struct
from services.network.domain.hostdiff import MASK
from services.network.rpc import hostconfig
from tests.network.documents import example
from tests.network.served import Client, Served, document, serve

CONFIRMED, PROBATION, REVERTED = (
    pb.HostConfigStatus.STATE_CONFIRMED,
    pb.HostConfigStatus.STATE_PROBATION,
    pb.HostConfigStatus.STATE_REVERTED,
)
KEYED = {"device": "x", "ssid": "Mine", "encryption": "psk2", "key": "a secret key"}


async def status(client: Client) -> Any:
    return (await client("GetHostConfigStatus", pb.GetHostConfigStatusRequest())).status


async def settled(client: Client, timeout_s: float = 15) -> Any:
    """Returns the status after the probation."""
    async with asyncio.timeout(timeout_s):
        while (now := await status(client)).state == PROBATION:
            await asyncio.sleep(0.05)
    return now


async def put(served: Served, config: dict[str, Any], change_id: int, confirm_timeout_s: int = 0) -> Any:
    request = pb.ApplyHostConfigRequest(
        config=to_struct(config), change_id=change_id, author="admin", confirm_timeout_s=confirm_timeout_s
    )
    return (await served.services("ApplyHostConfig", request)).status


async def config(client: Client) -> dict[str, Any]:
    return document((await client("GetHostConfig", network_pb2.GetHostConfigRequest())).config)


async def test_the_first_document_is_generated_and_kept(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        admin = served.client()
        first = await config(admin)
        assert set(first) >= {"firewall", "lan", "wifi", "wifi-interfaces", "system", "telemetry", "zerotier"}
        assert first == yaml.safe_load((tmp_path / "network" / "hostconfig.yaml").read_text())
        assert (tmp_path / "network" / "hostconfig.yaml").stat().st_mode & 0o777 == 0o600
        now = await status(admin)
        assert (now.version, now.state, now.host_managed) == (1, CONFIRMED, False)
    async with serve(tmp_path) as served:
        assert await config(served.client()) == first
        assert (await status(served.client())).version == 1


async def test_generating_overwrites_nothing(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        admin = served.client()
        await put(served, example(lan__ipaddr="10.7.0.1"), 1)
        await settled(admin)
        generated = await admin("GenerateHostConfig", network_pb2.GenerateHostConfigRequest())
        assert document(generated.config)["lan"]["ipaddr"] == "10.0.0.1"
        assert (await config(admin))["lan"]["ipaddr"] == "10.7.0.1"


async def test_a_document_in_force_has_a_version_and_its_unknown_keys(tmp_path: Path) -> None:
    wanted = example(vendor={"odd": [1, "1", None, 1.5, True]}, lan__note="mine")
    async with serve(tmp_path) as served:
        admin = served.client()
        await put(served, wanted, 7)
        now = await settled(admin)
        assert (now.version, now.state, now.change_id) == (2, CONFIRMED, 7)
        assert await config(admin) == wanted
        again = await put(served, example(), 7)  # The same change, asked for again.
        assert (again.version, again.state) == (2, CONFIRMED)
        listed = (await admin("ListHostConfigVersions", pb.ListHostConfigVersionsRequest())).versions
        assert [(v.version, v.author, v.change_id, v.in_force) for v in listed] == [
            (2, "admin", 7, True),
            (1, "__paradrop__", 0, False),
        ]
        kept = await admin("GetHostConfigVersion", pb.GetHostConfigVersionRequest(version=2))
        assert document(kept.config) == wanted
        assert await admin.refused("GetHostConfigVersion", pb.GetHostConfigVersionRequest(version=9)) == (
            "NOT_FOUND",
            "HOST_CONFIG_VERSION_NOT_FOUND",
        )
    async with serve(tmp_path) as served:
        assert await config(served.client()) == wanted


@pytest.mark.thorough
async def test_versions_are_bounded_and_compared(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        admin = served.client()
        for number in range(1, 25):
            await put(served, example(telemetry__interval=number), number)
            await settled(admin)
        page = await admin("ListHostConfigVersions", pb.ListHostConfigVersionsRequest(page_size=5))
        assert [version.version for version in page.versions] == [25, 24, 23, 22, 21]
        listed = await admin("ListHostConfigVersions", pb.ListHostConfigVersionsRequest())
        assert [version.version for version in listed.versions] == list(range(25, 5, -1))
        for request in (pb.DiffHostConfigRequest(), pb.DiffHostConfigRequest(from_version=24, to_version=25)):
            (found,) = (await admin("DiffHostConfig", request)).differences
            assert (found.path, found.kind) == (
                "/telemetry/interval",
                pb.HostConfigDifference.KIND_CHANGED,
            )
            assert (found.before.number_value, found.after.number_value) == (23, 24)


async def test_a_dry_run_alters_nothing(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        admin = served.client()
        before = await config(admin)
        bad = pb.ValidateHostConfigRequest(config=to_struct({"config": {**before, "lan": {"proto": 5}}}))
        answer = await admin("ValidateHostConfig", bad)
        assert not answer.valid
        assert [violation.field for violation in answer.violations] == ["lan.proto"]
        good = pb.ValidateHostConfigRequest(config=to_struct({**before, "new": 1}))
        answer = await admin("ValidateHostConfig", good)
        assert answer.valid
        assert [difference.path for difference in answer.differences] == ["/new"]
        assert await config(admin) == before
        schema = await served.client("user")("GetHostConfigSchema", pb.GetHostConfigSchemaRequest())
        assert document(schema.schema)["properties"]["lan"]["required"] == ["proto"]


async def test_a_wrong_document_is_refused_with_every_place(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        request = pb.ApplyHostConfigRequest(
            config=to_struct(example(lan__proto="x", telemetry__interval=0)), change_id=1
        )
        assert await served.services.refused("ApplyHostConfig", request) == (
            "INVALID_ARGUMENT",
            "HOST_CONFIG_INVALID",
        )
        assert (await status(served.client())).version == 1


async def test_keys_are_shown_to_owners_alone_and_survive_the_way_back(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        await put(served, example(wifi___interfaces=[KEYED]), 1)
        admin, owner = served.client(), served.client("owner")
        await settled(admin)
        shown = await config(admin)
        assert shown["wifi-interfaces"][0]["key"] == MASK
        assert (await config(owner))["wifi-interfaces"][0]["key"] == "a secret key"
        await put(served, {**shown, "telemetry": {"enabled": False}}, 2)
        await settled(admin)
        assert (await config(owner))["wifi-interfaces"][0]["key"] == "a secret key"
        await put(served, example(wifi___interfaces=[{**KEYED, "key": "another key"}]), 3)
        await settled(admin)
        found = (await owner("DiffHostConfig", pb.DiffHostConfigRequest())).differences
        keys = [d for d in found if d.path == "/wifi-interfaces/0/key"]
        assert [(d.before.string_value, d.after.string_value) for d in keys] == [(MASK, MASK)]


@pytest.fixture
def short_probation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostconfig, "MIN_CONFIRM_S", 1)


@pytest.mark.usefixtures("short_probation")
async def test_a_version_that_nobody_confirms_is_taken_back(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        admin = served.client()
        before = await config(admin)
        on = await put(served, example(lan__ipaddr="10.9.0.1"), 4, confirm_timeout_s=1)
        assert (on.state, on.waits_for_confirmation, on.version) == (PROBATION, True, 2)
        request = pb.ApplyHostConfigRequest(config=to_struct(example()), change_id=5)
        assert await served.services.refused("ApplyHostConfig", request) == (
            "ABORTED",
            "HOST_CONFIG_ON_PROBATION",
        )
        now = await settled(admin)
        assert (now.state, now.version, now.reason, now.change_id) == (
            REVERTED,
            1,
            "HOST_CONFIG_NOT_CONFIRMED",
            4,
        )
        assert await config(admin) == before
        assert await admin.refused("ConfirmHostConfig", pb.ConfirmHostConfigRequest()) == (
            "FAILED_PRECONDITION",
            "HOST_CONFIG_NOT_ON_PROBATION",
        )


@pytest.mark.usefixtures("short_probation")
async def test_a_confirmed_version_stays(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        admin = served.client()
        await put(served, example(lan__ipaddr="10.9.0.1"), 4, confirm_timeout_s=1)
        refused = pb.ConfirmHostConfigRequest(version=1)
        assert (await admin.refused("ConfirmHostConfig", refused))[1] == "HOST_CONFIG_NOT_ON_PROBATION"
        confirmed = await admin("ConfirmHostConfig", pb.ConfirmHostConfigRequest(version=2))
        assert (confirmed.status.state, confirmed.status.version) == (CONFIRMED, 2)
        await asyncio.sleep(1.2)
        assert (await status(admin)).state == CONFIRMED


async def test_a_node_that_ends_on_probation_starts_with_the_version_before(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        before = await config(served.client())
        await put(served, example(lan__ipaddr="10.9.0.1"), 4, confirm_timeout_s=600)
    async with serve(tmp_path) as served:
        now = await status(served.client())
        assert (now.state, now.version, now.reason) == (REVERTED, 1, "NODE_RESTARTED")
        assert await config(served.client()) == before


async def test_a_change_that_is_undone_brings_the_version_before_back(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        admin = served.client()
        before = await config(admin)
        await put(served, example(lan__ipaddr="10.9.0.1"), 4)
        await settled(admin)
        for _ in range(2):
            answer = await served.services("RevertHostConfig", pb.RevertHostConfigRequest(change_id=4))
            assert (answer.status.version, answer.status.state) == (1, REVERTED)
        assert await config(admin) == before
        await served.services("RevertHostConfig", pb.RevertHostConfigRequest(change_id=99))
        assert (await status(admin)).version == 1


async def test_what_somebody_wrote_into_the_file_becomes_a_version_if_it_is_right(tmp_path: Path) -> None:
    file = tmp_path / "network" / "hostconfig.yaml"
    async with serve(tmp_path):
        pass
    file.write_text(yaml.safe_dump(example(lan__ipaddr="10.8.0.1")))
    async with serve(tmp_path) as served:
        assert (await config(served.client()))["lan"]["ipaddr"] == "10.8.0.1"
        assert (await status(served.client())).version == 2
    for text in ("lan: [", "lan: {proto: x}", "5"):
        file.write_text(text)
        async with serve(tmp_path) as served:
            assert (await config(served.client()))["lan"]["ipaddr"] == "10.8.0.1"
        assert yaml.safe_load(file.read_text())["lan"]["ipaddr"] == "10.8.0.1"


async def test_others_than_administrators_are_refused(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        for rpc in pb.DESCRIPTOR.services_by_name["HostConfigService"].methods_by_name:
            request = getattr(pb, f"{rpc}Request")()
            assert (await served.client(None).refused(rpc, request))[0] == "UNAUTHENTICATED"
            assert (await served.client("web").refused(rpc, request))[0] == "PERMISSION_DENIED"
            if rpc != "GetHostConfigSchema":
                assert (await served.client("trusted").refused(rpc, request))[0] == "PERMISSION_DENIED"
            if rpc in ("ApplyHostConfig", "RevertHostConfig"):
                assert (await served.client("owner").refused(rpc, request))[1] == "SERVICES_ONLY"

"""Identity, provision, settings and issues over a real socket."""

import asyncio
import json
import stat

import pytest
from paradrop.node.v1 import node_pb2

from services.node.adapters.provision_file import JsonProvisionFile
from services.node.domain.provision import Provision
from tests.node.conftest import Node

pytestmark = pytest.mark.usefixtures("alone")


def wanted(**changes: str) -> node_pb2.SetProvisionRequest:
    parameters = {"router_id": "r1", "apitoken": "t0ken", "pdserver": "grpc://127.0.0.1:1"}
    return node_pb2.SetProvisionRequest(**parameters | changes)


async def test_a_new_node_belongs_to_nobody(node: Node) -> None:
    assert (await node.call("GetPdid", node_pb2.GetPdidRequest())).pdid == ""
    told = await node.call("GetProvision", node_pb2.GetProvisionRequest())
    assert told.router_id.WhichOneof("kind") == "null_value"
    assert (told.pdserver, told.wamp_router) == ("https://paradrop.org", "wss://paradrop.org/ws")
    assert not told.provisioned
    assert await node.refusal("StartUpdate", node_pb2.StartUpdateRequest()) == (
        "FAILED_PRECONDITION",
        "NOT_PROVISIONED",
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"router_id": ""}, "routerId"),
        ({"apitoken": ""}, "apitoken"),
        ({"router_id": "a b"}, "routerId"),
        ({"pdserver": "paradrop.org"}, "pdserver"),
        ({"pdserver": "file:///etc/passwd"}, "pdserver"),
        ({"pdserver": "grpc://user:secret@host"}, "pdserver"),
        ({"pdserver": "http://h\n"}, "pdserver"),
        ({"pdserver": "http://h:99999"}, "pdserver"),
        ({"wamp_router": "http://h"}, "wampRouter"),
    ],
)
async def test_a_wrong_provision_changes_nothing(node: Node, changes: dict[str, str], field: str) -> None:
    assert await node.refusal("SetProvision", wanted(**changes)) == ("INVALID_ARGUMENT", "PROVISION_INVALID")
    assert (await node.call("GetPdid", node_pb2.GetPdidRequest())).pdid == ""


def test_a_provision_is_kept_privately_and_a_broken_file_is_put_aside(tmp_path) -> None:
    file = JsonProvisionFile(tmp_path / "provision.json", tmp_path / "controller.json")
    defaults = Provision("https://a", "wss://b")
    assert file.load(defaults) is defaults
    (tmp_path / "provision.json").write_text("{")
    assert file.load(defaults) is defaults
    assert [path.name for path in tmp_path.iterdir()] == ["provision.unreadable"]


async def test_a_controller_over_http_is_published_for_cloud_logins_and_no_other(tmp_path) -> None:
    public = tmp_path / "controller.json"
    file = JsonProvisionFile(tmp_path / "provision.json", public)
    await file.save(Provision("https://a", "wss://b", "r1", "t"))
    assert json.loads(await asyncio.to_thread(public.read_bytes)) == {"pdid": "r1", "pdserver": "https://a"}
    kept = await asyncio.to_thread(file.load, Provision("x", "y"))
    assert kept == Provision("https://a", "wss://b", "r1", "t")
    assert stat.S_IMODE((tmp_path / "provision.json").stat().st_mode) == 0o600
    await file.save(Provision("grpcs://a", "wss://b", "r1", "t"))
    assert not public.exists()


async def test_settings_are_flat_and_typed(node: Node) -> None:
    reply = await node.call("GetSettings", node_pb2.GetSettingsRequest())
    settings = dict(reply.settings.items())
    assert settings["concurrent_builds"] is True
    assert settings["portal_server_port"] == 8080.0
    assert settings["default_panel_password"] is None
    assert json.dumps(settings)


async def test_issues_name_what_is_wrong_and_what_can_be_done(node: Node) -> None:
    secret = node.settings.home / "admin-password"
    secret.write_text("x")
    secret.chmod(0o644)
    issues = {i.id: i for i in (await node.call("ListIssues", node_pb2.ListIssuesRequest())).issues}
    assert issues["service-down"].severity == node_pb2.Issue.SEVERITY_ERROR
    assert "chutes (UNREACHABLE)" in issues["service-down"].message
    assert issues["secrets-readable"].fixable
    assert str(secret) in issues["secrets-readable"].message
    fixed = await node.call("FixIssue", node_pb2.FixIssueRequest(issue="secrets-readable"))
    assert fixed.fixed
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    again = node_pb2.FixIssueRequest(issue="secrets-readable")
    assert await node.refusal("FixIssue", again) == ("NOT_FOUND", "ISSUE_NOT_FOUND")
    hopeless = node_pb2.FixIssueRequest(issue="service-down")
    assert await node.refusal("FixIssue", hopeless) == ("FAILED_PRECONDITION", "ISSUE_NOT_FIXABLE")


async def test_lists_have_pages(node: Node) -> None:
    first = await node.call("ListIssues", node_pb2.ListIssuesRequest(page_size=1))
    assert len(first.issues) == 1
    if first.next_page_token:
        request = node_pb2.ListIssuesRequest(page_size=500, page_token=first.next_page_token)
        assert first.issues[0].id not in [i.id for i in (await node.call("ListIssues", request)).issues]
    for request in (node_pb2.ListIssuesRequest(page_size=501), node_pb2.ListIssuesRequest(page_token="x")):
        assert (await node.refusal("ListIssues", request))[0] == "INVALID_ARGUMENT"


async def test_keys_of_unknown_users_are_refused_over_the_wire(node: Node) -> None:
    unknown = node_pb2.ListSshKeysRequest(user="no-such-user")
    assert await node.refusal("ListSshKeys", unknown) == ("NOT_FOUND", "USER_NOT_FOUND")
    bad = node_pb2.AddSshKeyRequest(user="root", key="nonsense")
    assert await node.refusal("AddSshKey", bad) == ("INVALID_ARGUMENT", "SSH_KEY_INVALID")
    nothing = node_pb2.RemoveSshKeyRequest(user="root")
    assert await node.refusal("RemoveSshKey", nothing) == ("INVALID_ARGUMENT", "SSH_KEY_INVALID")

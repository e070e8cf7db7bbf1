"""The link over mutual TLS: who is let in, and what the node says when it is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from paradrop.node.v1 import node_pb2

from services.node.adapters import controllers, link
from tests.node.linked import TOKEN, Controller, World, linked, listening

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
LONG_AGO = YESTERDAY - timedelta(days=30)


@dataclass
class Fleet:
    """An authority for controllers and one for nodes, and the files that the node has of them."""

    folder: Path
    controllers: trustme.CA
    nodes: trustme.CA

    def node_files(self, certificate: trustme.LeafCert | None = None) -> dict[str, str]:
        """Writes the node's files and returns the settings that name them."""
        self.controllers.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        settings = {"PARADROP_CONTROLLER_CA": str(self.folder / "ca.pem")}
        if certificate is not None:
            certificate.cert_chain_pems[0].write_to_path(str(self.folder / "node.pem"))
            key = self.folder / "node.key"
            certificate.private_key_pem.write_to_path(str(key))
            key.chmod(0o600)
            settings |= {
                "PARADROP_CONTROLLER_CERT": str(self.folder / "node.pem"),
                "PARADROP_CONTROLLER_KEY": str(key),
            }
        return settings

    def serving(
        self, controller: Controller, certificate: trustme.LeafCert | None = None, mutual: bool = True
    ) -> Any:
        """Listens with a certificate of the controllers' authority, if no other is given."""
        certificate = certificate or self.controllers.issue_cert("localhost")
        pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
        roots = self.nodes.cert_pem.bytes() if mutual else None
        return listening(controller, credentials=grpc.ssl_server_credentials([pair], roots, mutual))


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(link, "INITIAL_BACKOFF_S", 0.1)
    monkeypatch.setattr(link, "MAX_BACKOFF_S", 0.3)
    monkeypatch.setattr(controllers, "WAIT_S", 1.0)
    return Fleet(tmp_path, trustme.CA(), trustme.CA())


@pytest.fixture
def impatient(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not wait for a connection that will not be."""
    monkeypatch.setattr(controllers, "WAIT_S", 0.1)


@asynccontextmanager
async def node_of(fleet: Fleet, certificate: trustme.LeafCert | None = None) -> AsyncIterator[World]:
    async with linked(fleet.folder / "home", **fleet.node_files(certificate)) as world:
        yield world


async def issues_of(world: World) -> dict[str, str]:
    listed = await world.stub.ListIssues(node_pb2.ListIssuesRequest(), metadata=world.metadata)
    return {issue.id: issue.message for issue in listed.issues}


async def test_both_sides_know_each_other_by_their_certificates(fleet: Fleet) -> None:
    async with node_of(fleet, fleet.nodes.issue_cert("r1")) as world:
        async with fleet.serving(world.controller) as world.port:
            assert (await world.provision("grpcs")).http_connected
            assert (await world.controller.connected()).hello.node_id == "r1"
            told = await world.told()
            assert (told.state, told.reason) == (told.STATE_CONNECTED, "")
            issues = await issues_of(world)
            assert not {"controller-unreachable", "controller-certificate-expiring"} & set(issues)
        # The controller goes, and comes back.
        assert "connects again" in (await world.until("LINK_LOST")).message


async def test_a_token_alone_is_enough_where_the_controller_wants_no_certificate(fleet: Fleet) -> None:
    async with node_of(fleet) as world, fleet.serving(world.controller, mutual=False) as world.port:
        assert (await world.provision("grpcs")).http_connected


@pytest.mark.usefixtures("impatient")
async def test_a_good_certificate_does_not_replace_the_token(fleet: Fleet) -> None:
    async with (
        node_of(fleet, fleet.nodes.issue_cert("r1")) as world,
        fleet.serving(world.controller) as world.port,
    ):
        assert not (await world.provision("grpcs", token=f"not-{TOKEN}")).http_connected
        told = await world.until("CREDENTIALS_REFUSED")
        assert told.state == told.STATE_DISCONNECTED
        assert world.controller.connections.empty()


@pytest.mark.usefixtures("impatient")
async def test_a_controller_of_a_strange_authority_gets_neither_token_nor_hello(fleet: Fleet) -> None:
    stranger = trustme.CA().issue_cert("localhost")
    await refused(fleet, "CONTROLLER_CERTIFICATE_UNTRUSTED", stranger, "PARADROP_CONTROLLER_CA")


@pytest.mark.usefixtures("impatient")
async def test_a_controller_whose_certificate_has_ended_is_not_trusted(fleet: Fleet) -> None:
    ended = fleet.controllers.issue_cert("localhost", not_before=LONG_AGO, not_after=YESTERDAY)
    await refused(fleet, "CONTROLLER_CERTIFICATE_EXPIRED", ended, "renew it")


@pytest.mark.usefixtures("impatient")
async def test_a_certificate_for_another_name_is_not_trusted(fleet: Fleet) -> None:
    other = fleet.controllers.issue_cert("controller.example.org")
    await refused(fleet, "CONTROLLER_CERTIFICATE_NAME_WRONG", other, "another name")


async def refused(fleet: Fleet, reason: str, certificate: trustme.LeafCert, words: str) -> None:
    async with (
        node_of(fleet, fleet.nodes.issue_cert("r1")) as world,
        fleet.serving(world.controller, certificate) as world.port,
    ):
        assert not (await world.provision("grpcs")).http_connected
        told = await world.until(reason)
        assert told.state == told.STATE_DISCONNECTED
        assert words in told.message
        # What people see says the same.
        assert words in (await issues_of(world))["controller-unreachable"]
        assert (world.controller.refused, world.controller.connections.qsize()) == (0, 0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda fleet: None, "NODE_CERTIFICATE_MISSING"),
        (lambda fleet: trustme.CA().issue_cert("r1"), "NODE_CERTIFICATE_REFUSED"),
        (
            lambda fleet: fleet.nodes.issue_cert("r1", not_before=LONG_AGO, not_after=YESTERDAY),
            "NODE_CERTIFICATE_EXPIRED",
        ),
    ],
    ids=["none", "of a strange authority", "expired"],
)
async def test_a_node_whose_certificate_is_refused_knows_that_it_is_its_own(
    fleet: Fleet, make: Any, reason: str
) -> None:
    async with (
        node_of(fleet, make(fleet)) as world,
        fleet.serving(world.controller) as world.port,
    ):
        assert not (await world.provision("grpcs")).http_connected
        told = await world.until(reason)
        assert told.state == told.STATE_DISCONNECTED
        assert ("controller-certificate-expiring" in await issues_of(world)) == (
            reason == "NODE_CERTIFICATE_EXPIRED"
        )


@pytest.mark.usefixtures("impatient")
async def test_files_that_do_not_belong_together_are_told(fleet: Fleet) -> None:
    settings = fleet.node_files(fleet.nodes.issue_cert("r1"))
    other = fleet.nodes.issue_cert("r2").private_key_pem
    other.write_to_path(settings["PARADROP_CONTROLLER_KEY"])
    async with (
        linked(fleet.folder / "home", **settings) as world,
        fleet.serving(world.controller) as world.port,
    ):
        assert not (await world.provision("grpcs")).http_connected
        await world.until("NODE_CERTIFICATE_UNUSABLE")


async def test_a_renewed_certificate_is_used_without_a_restart(fleet: Fleet) -> None:
    expired = fleet.nodes.issue_cert("r1", not_before=LONG_AGO, not_after=YESTERDAY)
    async with node_of(fleet, expired) as world, fleet.serving(world.controller) as world.port:
        await world.provision("grpcs")
        await world.until("NODE_CERTIFICATE_EXPIRED")
        fleet.node_files(fleet.nodes.issue_cert("r1"))
        assert (await world.controller.connected()).hello.node_id == "r1"


async def test_a_key_that_others_can_read_is_an_issue_and_is_made_private(fleet: Fleet) -> None:
    settings = fleet.node_files(fleet.nodes.issue_cert("r1"))
    key = Path(settings["PARADROP_CONTROLLER_KEY"])
    key.chmod(0o644)
    async with linked(fleet.folder / "home", **settings) as world:
        assert str(key) in (await issues_of(world))["secrets-readable"]
        fixed = await world.stub.FixIssue(
            node_pb2.FixIssueRequest(issue="secrets-readable"), metadata=world.metadata
        )
        assert fixed.fixed
        assert key.stat().st_mode & 0o777 == 0o600
        assert "secrets-readable" not in await issues_of(world)

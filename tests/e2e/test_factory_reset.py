"""A node is set back: what is its own goes, what is not stays, and afterwards it works as a new one."""

import secrets
import time
from pathlib import Path

import docker
import pytest

from tests.support.chutes import idle_chute
from tests.support.engine import BUSYBOX
from tests.support.node import running_node

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_only_what_is_the_nodes_own_goes_and_the_node_works_on(
    tmp_path: Path, engine: docker.DockerClient
) -> None:
    foreign = f"foreign-{secrets.token_hex(3)}"
    # Names alone say nothing about whose a thing is.
    network = engine.networks.create(foreign)
    container = engine.containers.run(
        BUSYBOX, "sleep 600", name=foreign, network=foreign, detach=True, init=True, labels={"owner": "x"}
    )
    try:
        with running_node(tmp_path / "home", PARADROP_GRACE_S="0") as node:
            names = [f"reset-{secrets.token_hex(3)}" for _ in range(2)]
            for name in names:
                ended = node.ended(node.upload(idle_chute(name)).json["change_id"])
                assert ended["status"] == "succeeded", ended["failure"]
            owner = {"routerId": "r1", "apitoken": "t", "pdserver": "http://127.0.0.1:9"}
            assert node.request("POST", "/api/v1/config/provision", json_body=owner).status == 200
            config = "/api/v1/config/hostconfig"
            default = node.request("GET", config).json
            altered = {"config": default | {"noted": 1}}
            change_id = node.request("PUT", config, json_body=altered).json["change_id"]
            assert node.ended(change_id)["status"] == "succeeded"

            reset = "/api/v1/config/factoryReset"
            told = node.request("POST", reset, json_body={"dry_run": True}).json
            assert {f"chute {name}" for name in names} <= set(told["removed"])
            # Somebody who confirms less than there is gets nothing removed.
            refused = node.request("POST", reset, json_body={"chutes": names[:1]}).json["change_id"]
            assert node.ended(refused)["failure"]["reason"] == "RESET_NOT_AS_CONFIRMED"
            assert len(node.request("GET", "/api/v1/chutes/").json) == 2

            done = node.ended(node.request("POST", reset, json_body={"chutes": names}).json["change_id"])
            assert done["status"] == "succeeded", done["failure"]
            assert node.request("GET", "/api/v1/chutes/").json == []
            mine = [item.name for item in engine.containers.list(all=True) if item.name.startswith("reset-")]
            assert [name for name in mine if name.rpartition("-")[0] in names] == []
            assert not {network.name for network in engine.networks.list()} & set(names)
            assert not [
                folder for folder in (node.home / "chutes" / "data").iterdir() if folder.name in names
            ]
            container.reload()
            assert container.status == "running"
            assert node.request("GET", config).json == default
            deadline_s = time.monotonic() + 20
            while node.request("GET", "/api/v1/config/pdid").json != {"pdid": ""}:
                assert time.monotonic() < deadline_s, "the node still belongs to its controller"
                time.sleep(0.2)

            # A working default node: the same person logs in and installs again.
            node.login()
            ended = node.ended(node.upload(idle_chute(names[0])).json["change_id"])
            assert ended["status"] == "succeeded", ended["failure"]
    finally:
        container.remove(force=True)
        network.remove()

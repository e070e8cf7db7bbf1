"""What a chute may ask for, as a real engine has it: languages, requests, locks and restart policies."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from services.chutes.adapters import docker_containers, docker_networks
from services.chutes.adapters.folders import DiskFolders
from services.chutes.domain.chute import NODE, Chute
from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.containers import NodeAddress, container_plan
from services.chutes.domain.light import LIGHT_IMAGES
from services.common.settings import Settings
from tests.chutes.client import Client
from tests.chutes.on_engine import NOTHING, ours, remove_chutes, serving_node, until
from tests.support.engine import BUSYBOX, chute_tar
from tests.support.own_engine import OwnEngine
from tests.support.settings import settings_in
from tests.support.toolchain import STEPS_FILE, toolchain_image

pytestmark = [pytest.mark.engine, pytest.mark.apart, pytest.mark.timeout(180)]

IDLE = "trap exit TERM; sleep 1000000 & wait"
DOCKERFILE = f"FROM {BUSYBOX}\nCMD {IDLE}\n"


@pytest.fixture
def settings(tmp_path: Path, engine: OwnEngine, docker_client: docker.APIClient) -> Iterator[Settings]:
    base = toolchain_image(docker_client)
    with settings_in(
        tmp_path / "home",
        DOCKER_HOST=engine.address,
        PARADROP_GRACE_S="0.5",
        PARADROP_ALLOW_PRIVILEGED="1",
        PARADROP_ALLOW_HOST_NETWORK="1",
        PARADROP_BASE_IMAGES=",".join(f"{language}={base}" for language in LIGHT_IMAGES),
    ) as settings:
        yield settings


async def _install(client: Client, services: dict[str, Any], **files: str) -> list[str]:
    described = {"name": "web", "version": 1, "services": services}
    files = {name.replace("_", "."): text for name, text in files.items()}
    tar = chute_tar({"paradrop.yaml": json.dumps(described), **files})
    return await client.done(await client.upload(tar))


async def _output(client: Client, service: str) -> list[str]:
    stream = client.stream("StreamLogs", chute="web", service=service)
    return [line.message async for each in stream for line in each.lines.lines]


ALL = "Dockerfile main.c package.json paradrop.yaml pom.xml requirements.txt"
PIP = ["pip install --no-cache-dir -r requirements.txt; sees Dockerfile paradrop.yaml requirements.txt"]
NPM = ["npm install --production; sees Dockerfile package.json paradrop.yaml"]
BUILT_BY = {
    "go": [f"go get -d -v ./...; sees {ALL}", f"go install -v ./...; sees {ALL}"],
    "gradle": [f"gradle build; sees {ALL}"],
    "maven": [
        "mvn --batch-mode dependency:go-offline; sees Dockerfile paradrop.yaml pom.xml",
        f"mvn --batch-mode package; sees {ALL}",
    ],
    **{"node": NPM, "nodejs": NPM, "python": PIP, "python2": PIP, "python3": PIP},
}
"""What the tools of a language are asked when a chute has files of them all, and what is there then."""


async def test_light_services_of_every_language_are_built(client: Client) -> None:
    command = f"cat {STEPS_FILE}; id -un; find /bin -perm /6000; cat main.c; touch /data/$(id -un) && {IDLE}"
    services: dict[str, Any] = {
        language: {"type": "light", "image": language, "command": command} for language in LIGHT_IMAGES
    }
    services["gradle"]["build"] = {"packages": ["curl", "git"]}
    services["go"]["requests"] = {"as-root": True}
    await _install(
        client, services, main_c="int main;\n", package_json="{}", pom_xml="<x/>", requirements_txt="x"
    )
    for language in LIGHT_IMAGES:
        *steps, user, source = await _output(client, language)
        if language == "gradle":
            update, install, *steps = steps
            assert update == "apt-get update; sees"
            assert install == "apt-get install -y --no-install-recommends curl git; sees"
        assert (steps, user, source) == (
            BUILT_BY[language],
            "root" if language == "go" else "paradrop",
            "int main;",
        )


async def test_containers_are_made_as_they_ask(client: Client, docker_client: docker.APIClient) -> None:
    requests = {
        "small": {"memory-limit": "32M", "port-bindings": {"80/tcp": 18081, "53/udp": 18053}},
        "listed": {"port-bindings": [{"internal": 80, "external": 18082}], "cpu-fraction": 0.25},
        "alone": {"network-mode": "none"},
        "host": {"network-mode": "host"},
    }
    services = {name: {"type": "normal", "requests": wanted} for name, wanted in requests.items()}
    await _install(client, services, Dockerfile=DOCKERFILE)
    made = {
        name: await asyncio.to_thread(docker_client.inspect_container, f"web-{name}") for name in services
    }
    hosts = {name: each["HostConfig"] for name, each in made.items()}
    limit = 32 * 1024 * 1024
    assert (hosts["small"]["Memory"], hosts["small"]["MemorySwap"], hosts["alone"]["Memory"]) == (
        limit,
        limit,
        0,
    )
    published = {name: made[name]["NetworkSettings"]["Ports"] for name in ("small", "listed")}
    assert {port: bound[0]["HostPort"] for port, bound in published["small"].items()} == {
        "80/tcp": "18081",
        "53/udp": "18053",
    }
    assert published["listed"]["80/tcp"][0]["HostPort"] == "18082"
    networks = {name: set(each["NetworkSettings"]["Networks"]) for name, each in made.items()}
    assert networks["small"] == {"bridge", "web"}
    assert (networks["alone"], networks["host"]) == ({"none"}, {"host"})
    assert not [name for name, each in hosts.items() if each["Privileged"]]
    # A quarter is set aside for one of the four, and all four share the rest.
    await until(lambda: _shares(docker_client, list(services)) == [768, 1792, 768, 768])


def _shares(docker_client: docker.APIClient, services: list[str]) -> list[int]:
    return [docker_client.inspect_container(f"web-{name}")["HostConfig"]["CpuShares"] for name in services]


def test_a_privileged_container_is_privileged(docker_client: docker.APIClient, tmp_path: Path) -> None:
    # Only made, not started: machines for tests are often containers, which may not let one be started.
    privileged = {"name": "web", "services": {"main": {"command": "true", "requests": {"privileged": True}}}}
    chute = Chute(read_definition(privileged).spec, NODE, 1, {"main": BUSYBOX}, 0.0)
    docker_networks.ensure(docker_client, "some-node", "web", "web")
    try:
        plan = container_plan(chute, "main", "", DiskFolders(tmp_path), NodeAddress())
        plan = replace(plan, volumes={})
        docker_containers.create(docker_client, "some-node", plan)
        made = docker_client.inspect_container("web-main")
        assert made["HostConfig"]["Privileged"] is True
    finally:
        docker_containers.remove(docker_client, "some-node", "web-main")
        docker_networks.remove(docker_client, "some-node", "web")


async def test_a_chute_locks_itself_until_it_has_finished(client: Client, settings: Settings) -> None:
    command = "echo measuring >/data/update.lock; while [ ! -e /data/finished ]; do sleep 0.1; done; "
    await _install(
        client, {"main": {}}, Dockerfile=f"FROM {BUSYBOX}\nCMD {command} rm /data/update.lock; {IDLE}\n"
    )
    data = settings.home / "chutes" / "data" / "web"
    await until(lambda: (data / "update.lock").exists())
    change_id = await client.call_id("StopChute", chute="web")
    async with asyncio.timeout(20):
        while not (change := (await client.call("GetChange", change_id=change_id)).change).waiting.reason:
            await asyncio.sleep(0.05)
    assert change.waiting.reason == "UPDATE_LOCKED"
    assert "measuring" in change.waiting.message
    assert await client.chutes() == {"web": "running"}
    (data / "finished").touch()
    await client.done(change_id)
    assert await client.chutes() == {"web": "stopped"}


async def test_what_ends_is_started_again_as_its_policy_says(
    client: Client, docker_client: docker.APIClient
) -> None:
    # All run until the test has seen that, and each ends once.
    wait = "until [ -e /data/end ]; do sleep 0.1; done"
    ends = f'n=$(cat /data/$0 2>/dev/null); echo $n. >/data/$0; [ -n "$n" ] || {{ {wait}; exit $1; }}; {IDLE}'
    policies = {"always": 0, "on-failure": 1, "content": 0, "no": 1}
    services = {
        name: {
            "type": "normal",
            "restart": "on-failure" if name == "content" else name,
            "command": ["sh", "-c", ends, name, str(code)],
        }
        for name, code in policies.items()
    }
    await _install(client, services, Dockerfile=DOCKERFILE)

    def states() -> dict[str, tuple[str, int]]:
        found = {name: docker_client.inspect_container(f"web-{name}")["State"] for name in policies}
        return {name: (state["Status"], state["ExitCode"]) for name, state in found.items()}

    def born() -> dict[str, str]:
        return {name: docker_client.inspect_container(f"web-{name}")["Id"] for name in policies}

    def again() -> set[str]:
        listed = {one["Names"][0].removeprefix("/web-"): one for one in docker_client.containers()}
        return {name for name, one in listed.items() if one["Id"] != before.get(name, one["Id"])}

    before = await asyncio.to_thread(born)
    command = docker_client.exec_create("web-always", ["touch", "/data/end"])
    await asyncio.to_thread(docker_client.exec_start, command)
    async with asyncio.timeout(30):
        while (
            await asyncio.to_thread(again) != {"always", "on-failure"}
            or (await client.call("ListChanges")).changes
        ):
            await asyncio.sleep(0.1)
    assert (await client.call("ListChanges", include_ended=True, update_type="restart")).changes
    assert await asyncio.to_thread(states) == {
        "always": ("running", 0),
        "on-failure": ("running", 0),
        "content": ("exited", 0),
        "no": ("exited", 1),
    }
    after = await asyncio.to_thread(born)
    assert {name for name in policies if before[name] == after[name]} == {"content", "no"}
    assert not [each for each in (await client.call("ListChutes")).chutes if each.HasField("deviation")]


async def test_a_start_removes_what_is_nobodys_and_leaves_what_is_somebody_elses(
    settings: Settings, docker_client: docker.APIClient
) -> None:
    home = settings.home / "chutes"
    async with serving_node(settings) as client:
        await _install(client, {"main": {}}, Dockerfile=DOCKERFILE)
        kept = await asyncio.to_thread(ours, docker_client, settings)
    node_id = (home / "node-id").read_text()

    def leave(node: str) -> list[str]:
        labels = {"io.paradrop.node": node, "io.paradrop.chute": "gone"}
        name = f"gone-{node[:4]}"
        docker_client.create_network(name, labels=labels)
        made = docker_client.create_container(
            BUSYBOX, ["true"], name=name, labels={**labels, "io.paradrop.service": "main"}
        )["Id"]
        docker_client.commit(made, f"gone-main-{node[:4]}" if node != node_id else "gone-main", "1")
        return [made]

    def left(node: str) -> list[int]:
        filters = {"label": f"io.paradrop.node={node}"}
        return [
            len(docker_client.containers(all=True, filters=filters)),
            len(docker_client.networks(filters=filters)),
            len(docker_client.images(filters=filters)),
        ]

    await asyncio.to_thread(leave, node_id)
    await asyncio.to_thread(leave, "another-node")
    for folder in ("work", "trash"):
        (home / folder / "left" / "over").mkdir(parents=True)
    (home / "uploads" / "left.tar").write_bytes(b"over")
    async with serving_node(settings) as client:
        await until(lambda: ours(docker_client, settings) == kept)
        assert await asyncio.to_thread(left, "another-node") == [1, 1, 1]
        assert not list((home / "uploads").iterdir()) + list((home / "trash").iterdir())
        assert not (home / "work" / "left").exists()
        await remove_chutes(client)
        assert await asyncio.to_thread(ours, docker_client, settings) == NOTHING
    assert await asyncio.to_thread(left, "another-node") == [1, 1, 1]

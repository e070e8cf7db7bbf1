"""Containers and networks on the real engine."""

import asyncio
import http.client
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from services.chutes.adapters.docker_engine import DockerEngine
from services.chutes.domain.spec import PortBinding
from services.common.errors import AlreadyExists, DomainError, FailedPrecondition, NotFound
from tests.engine.conftest import IDLE, Node, finished, state, until
from tests.support.engine import BUSYBOX

pytestmark = pytest.mark.engine

SERVE = ("sh", "-c", "mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www")


@pytest.fixture
async def network(engine: DockerEngine, node: Node) -> None:
    await engine.ensure_network(node.chute, node.chute)


@pytest.fixture
def stranger(client: docker.APIClient, node: Node) -> Iterator[str]:
    """Somebody else's running container, under the name that ours would have."""
    container = client.create_container(BUSYBOX, ["sh", "-c", IDLE], name=node.container)["Id"]
    client.start(container)
    yield container
    client.remove_container(container, force=True)


async def refusal(engine: DockerEngine, name: str) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await engine.start_container(name)
    return caught.value


@pytest.mark.usefixtures("network")
async def test_a_container_gets_what_the_plan_says(engine: DockerEngine, node: Node, tmp_path: Path) -> None:
    for name in ("data", "system", "with:colon"):
        (tmp_path / name).mkdir()
    (tmp_path / "system/leases").write_text("lease\n")
    script = "echo $A; cat /paradrop/leases; echo kept > /data/file; ls /colon; touch /paradrop/x || echo no"
    plan = node.plan(
        command=("sh", "-c", f"exec 2>&1; {script}"),
        environment={"A": "b c$d"},
        volumes={
            tmp_path / "data": ("/data/", "rw"),
            tmp_path / "system": ("/paradrop/", "ro"),
            tmp_path / "with:colon": ("/colon", "rw"),
        },
    )
    await engine.create_container(plan)
    await engine.start_container(node.container)
    lines = await finished(engine, node.container)
    assert lines[:2] == ["b c$d", "lease"]
    assert lines[-1] == "no"
    assert (tmp_path / "data/file").read_text() == "kept\n"


@pytest.mark.usefixtures("network")
async def test_a_container_is_set_up_as_the_contract_says(engine: DockerEngine, node: Node) -> None:
    await engine.create_container(node.plan())
    found = node.client.inspect_container(node.container)
    assert found["Config"]["Labels"] == {
        "io.paradrop.node": node.id,
        "io.paradrop.chute": node.chute,
        "io.paradrop.service": "main",
    }
    host = found["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "no"
    assert not host["Privileged"]
    assert not host["CapAdd"]
    assert host["ExtraHosts"] == ["paradrop.io:host-gateway"]
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "5m", "max-file": "2"}}
    assert set(found["NetworkSettings"]["Networks"]) == {"bridge", node.chute}
    assert "main" in found["NetworkSettings"]["Networks"][node.chute]["Aliases"]


@pytest.mark.usefixtures("network")
async def test_services_find_each_other_and_the_node(engine: DockerEngine, node: Node) -> None:
    await engine.create_container(node.plan(service="web", command=SERVE))
    await engine.start_container(f"{node.chute}-web")
    find = "for n in 1 2 3 4 5 6 7 8 9 10; do wget -qO- http://web/ && break; sleep 0.2; done; "
    await engine.create_container(node.plan(command=("sh", "-c", find + "grep paradrop.io /etc/hosts")))
    await engine.start_container(node.container)
    served, hosts = await finished(engine, node.container)
    assert served == "served"
    gateway = node.client.inspect_network("bridge")["IPAM"]["Config"][0]["Gateway"]
    assert hosts.split() == [gateway, "paradrop.io"]


@pytest.mark.usefixtures("network")
async def test_ports_are_published(engine: DockerEngine, node: Node) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        chosen = probe.getsockname()[1]
    ports = (PortBinding(80), PortBinding(80, "udp", chosen), PortBinding(81, "tcp", chosen))
    await engine.create_container(node.plan(command=SERVE, ports=ports))
    await engine.start_container(node.container)
    running = await state(engine, node.container, "running")
    assert set(running.ports) == {"80/tcp", "80/udp", "81/tcp"}
    assert running.ports["80/udp"] == running.ports["81/tcp"] == chosen
    assert await asyncio.to_thread(_get, running.ports["80/tcp"]) == b"served\n"


def _get(port: int) -> bytes:
    for attempt in range(50):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        except (ConnectionError, http.client.HTTPException):
            if attempt == 49:  # The server in the container takes a moment.
                raise
        finally:
            connection.close()
    return b""


@pytest.mark.usefixtures("network")
async def test_states_follow_the_containers(engine: DockerEngine, node: Node) -> None:
    assert engine.containers() == {}
    await engine.create_container(node.plan(command=("sh", "-c", "sleep 0.3; exit 5")))
    created = await state(engine, node.container, "created")
    assert (created.chute, created.service, created.exit_code) == (node.chute, "main", None)
    await engine.start_container(node.container)
    assert (await state(engine, node.container, "running")).exit_code is None
    assert (await state(engine, node.container, "exited")).exit_code == 5
    await engine.remove_container(node.container)
    await until(engine, lambda: engine.containers() == {})


@pytest.mark.usefixtures("network")
async def test_what_others_do_to_our_containers_is_seen(engine: DockerEngine, node: Node) -> None:
    await engine.create_container(node.plan())
    await engine.start_container(node.container)
    await state(engine, node.container, "running")
    node.client.pause(node.container)
    await state(engine, node.container, "paused")
    node.client.unpause(node.container)
    await state(engine, node.container, "running")
    node.client.kill(node.container)
    assert (await state(engine, node.container, "exited")).exit_code == 137
    node.client.rename(node.container, f"{node.container}-renamed")
    await state(engine, f"{node.container}-renamed", "exited")


@pytest.mark.usefixtures("network")
async def test_refresh_knows_what_just_happened(engine: DockerEngine, node: Node) -> None:
    for service in ("a", "b", "c"):
        await engine.create_container(node.plan(service=service))
    await asyncio.gather(*(engine.refresh() for _ in range(20)))
    assert set(engine.containers() or ()) == {f"{node.chute}-{service}" for service in "abc"}


@pytest.mark.usefixtures("network")
async def test_containers_stop_gracefully(engine: DockerEngine, node: Node, tmp_path: Path) -> None:
    script = "trap 'echo stopped > /data/end; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    plan = node.plan(command=("sh", "-c", script), volumes={tmp_path: ("/data/", "rw")})
    await engine.create_container(plan)
    await engine.start_container(node.container)
    async with engine.logs(node.container, "main", 10, follow=True) as batches:
        assert [line.message for line in await anext(batches)] == ["ready"]
    await engine.remove_container(node.container)
    assert (tmp_path / "end").read_text() == "stopped\n"


@pytest.mark.usefixtures("network")
async def test_one_of_ours_is_replaced(engine: DockerEngine, node: Node) -> None:
    await engine.create_container(node.plan())
    await engine.start_container(node.container)
    before = node.client.inspect_container(node.container)["Id"]
    await engine.create_container(node.plan(environment={"NEW": "1"}))
    after = node.client.inspect_container(node.container)
    assert after["Id"] != before
    assert "NEW=1" in after["Config"]["Env"]


@pytest.mark.usefixtures("network")
async def test_a_container_of_another_chute_is_not_replaced(engine: DockerEngine, node: Node) -> None:
    await engine.create_container(node.plan())
    other = f"{node.chute}-x"
    await engine.ensure_network(other, other)
    with pytest.raises(AlreadyExists) as caught:
        await engine.create_container(node.plan(chute=other))
    assert caught.value.reason == "CONTAINER_NAME_TAKEN"


@pytest.mark.usefixtures("network")
async def test_a_strangers_container_is_left_alone(engine: DockerEngine, node: Node, stranger: str) -> None:
    with pytest.raises(AlreadyExists) as caught:
        await engine.create_container(node.plan())
    assert caught.value.reason == "CONTAINER_NAME_TAKEN"
    assert caught.value.facts["container"] == node.container
    assert (await refusal(engine, node.container)).reason == "CONTAINER_NOT_FOUND"
    await engine.remove_container(node.container)
    await engine.sweep({})
    assert node.container not in (engine.containers() or {})
    with pytest.raises(NotFound):
        async with engine.logs(node.container, "main", 10, follow=False):
            pass
    assert node.client.inspect_container(stranger)["State"]["Running"]


async def test_another_nodes_things_are_left_alone(
    engine: DockerEngine, node: Node, engine_address: str, tmp_path: Path
) -> None:
    other = replace(node, id=f"{node.id}-other")
    async with DockerEngine.connect(other.id, engine_address) as others:
        await others.ensure_network(node.chute, node.chute)
        await others.build_image(node.tag, node.chute, node.context(), lambda _: None)
        await others.create_container(node.plan(image=node.tag, command=None))
        try:
            for name_taken in (
                engine.ensure_network(node.chute, node.chute),
                engine.build_image(node.tag, node.chute, node.context(), lambda _: None),
            ):
                with pytest.raises(AlreadyExists):
                    await name_taken
            await engine.remove_container(node.container)
            await engine.remove_network(node.chute)
            await engine.remove_image(node.tag)
            await engine.sweep({})
            assert engine.containers() == {}
            assert set(other.things()) == {"containers", "networks", "images"}
        finally:
            await others.sweep({})
    assert other.things() == {}


@pytest.mark.usefixtures("network")
async def test_what_is_absent_is_removed_without_complaint(engine: DockerEngine, node: Node) -> None:
    await engine.remove_container(node.container)
    await engine.remove_network(f"{node.chute}-absent")
    await engine.remove_image(node.tag)
    assert isinstance(await refusal(engine, node.container), NotFound)


@pytest.mark.usefixtures("network")
async def test_a_port_that_is_taken(engine: DockerEngine, node: Node) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        await engine.create_container(node.plan(ports=(PortBinding(80, "tcp", port),)))
        error = await refusal(engine, node.container)
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "PORT_TAKEN"
    assert error.facts["port"] == str(port)
    await engine.remove_container(node.container)
    assert "containers" not in node.things()


@pytest.mark.usefixtures("network")
async def test_a_port_that_another_container_has(engine: DockerEngine, node: Node) -> None:
    await engine.create_container(node.plan(service="first", ports=(PortBinding(80),)))
    await engine.start_container(f"{node.chute}-first")
    port = (await state(engine, f"{node.chute}-first", "running")).ports["80/tcp"]
    await engine.create_container(node.plan(ports=(PortBinding(80, "tcp", port),)))
    error = await refusal(engine, node.container)
    assert error.reason == "PORT_TAKEN"
    assert error.facts["port"] == str(port)


@pytest.mark.usefixtures("network")
async def test_a_container_that_cannot_start(engine: DockerEngine, node: Node) -> None:
    context = node.context(f"FROM {BUSYBOX}\nUSER nobody-known\n")
    await engine.build_image(node.tag, node.chute, context, lambda _: None)
    await engine.create_container(node.plan(image=node.tag))
    error = await refusal(engine, node.container)
    assert error.reason == "CONTAINER_START_FAILED"
    assert "nobody-known" in str(error)
    await engine.remove_container(node.container)
    assert "containers" not in node.things()


@pytest.mark.usefixtures("network")
async def test_a_command_that_does_not_exist_ends_and_says_so(engine: DockerEngine, node: Node) -> None:
    await engine.create_container(node.plan(command="/no/such/program"))
    await engine.start_container(node.container)
    assert (await state(engine, node.container, "exited")).exit_code == 127
    assert "/no/such/program" in (await finished(engine, node.container))[-1]


@pytest.mark.usefixtures("network")
async def test_a_folder_that_does_not_exist(engine: DockerEngine, node: Node, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await engine.create_container(node.plan(volumes={tmp_path / "absent": ("/data/", "rw")}))
    assert caught.value.reason == "CONTAINER_CREATE_FAILED"
    assert not (tmp_path / "absent").exists()


@pytest.mark.usefixtures("network")
async def test_an_image_that_does_not_exist(engine: DockerEngine, node: Node) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await engine.create_container(node.plan(image=f"{node.chute}-absent:1"))
    assert caught.value.reason == "CONTAINER_CREATE_FAILED"
    assert "containers" not in node.things()


async def test_a_container_without_its_network_is_not_created(engine: DockerEngine, node: Node) -> None:
    with pytest.raises(NotFound) as caught:
        await engine.create_container(node.plan())
    assert caught.value.reason == "NETWORK_NOT_FOUND"
    assert node.things() == {}


async def test_networks_come_once_and_go(engine: DockerEngine, node: Node) -> None:
    await asyncio.gather(*(engine.ensure_network(node.chute, node.chute) for _ in range(5)))
    assert node.things() == {"networks": [node.chute]}
    await engine.remove_network(node.chute)
    assert node.things() == {}


@pytest.mark.parametrize("name", ["bridge", "host", "none"])
async def test_the_engines_own_networks_are_taken(engine: DockerEngine, name: str) -> None:
    with pytest.raises(AlreadyExists) as caught:
        await engine.ensure_network(name, name)
    assert caught.value.reason == "NETWORK_NAME_TAKEN"
    await engine.remove_network(name)


async def test_a_strangers_network_is_left_alone(engine: DockerEngine, node: Node) -> None:
    network = node.client.create_network(node.chute, driver="bridge")["Id"]
    try:
        with pytest.raises(AlreadyExists) as caught:
            await engine.ensure_network(node.chute, node.chute)
        assert caught.value.reason == "NETWORK_NAME_TAKEN"
        await engine.remove_network(node.chute)
        await engine.sweep({})
        assert node.client.inspect_network(network)["Name"] == node.chute
    finally:
        node.client.remove_network(network)


@pytest.mark.usefixtures("network")
async def test_a_network_that_strangers_use_stays(
    engine: DockerEngine, node: Node, client: docker.APIClient
) -> None:
    name = f"{node.chute}-stranger"
    stranger = client.create_container(BUSYBOX, ["sh", "-c", IDLE], name=name)["Id"]
    try:
        client.connect_container_to_network(stranger, node.chute)
        client.start(stranger)
        with pytest.raises(FailedPrecondition) as caught:
            await engine.remove_network(node.chute)
        assert caught.value.reason == "NETWORK_IN_USE"
        assert caught.value.facts["containers"] == name
        await engine.sweep({})
        assert client.inspect_container(stranger)["State"]["Running"]
    finally:
        client.remove_container(stranger, force=True)
    await engine.remove_network(node.chute)


async def test_a_sweep_keeps_what_is_wanted(engine: DockerEngine, node: Node) -> None:
    await engine.build_image(node.tag, node.chute, node.context(), lambda _: None)
    await engine.build_image(f"{node.chute}-main:2", node.chute, node.context(), lambda _: None)
    await engine.ensure_network(node.chute, node.chute)
    await engine.ensure_network(f"{node.chute}-x", f"{node.chute}-x")
    for service in ("main", "gone"):
        await engine.create_container(node.plan(service=service, image=node.tag))
    keep = {"containers": [node.container], "networks": [node.chute], "images": [node.tag]}
    await engine.sweep(keep, chutes=["other"])
    assert len(node.things()["containers"]) == len(node.things()["networks"]) == 2
    await engine.sweep(keep)
    assert [c["Names"] for c in node.client.containers(all=True, filters=node.filters)] == [
        [f"/{node.container}"]
    ]
    assert node.things()["networks"] == [node.chute]
    assert await engine.has_image(node.tag)
    assert not await engine.has_image(f"{node.chute}-main:2")
    await engine.sweep({})
    assert node.things() == {}


async def test_a_sweep_takes_only_the_chutes_it_is_told(engine: DockerEngine, node: Node) -> None:
    other = f"{node.chute}-x"
    for chute in (node.chute, other):
        await engine.ensure_network(chute, chute)
        await engine.build_image(f"{chute}-main:1", chute, node.context(), lambda _: None)
    await engine.sweep({}, chutes=[node.chute])
    assert node.things()["networks"] == [other]
    assert not await engine.has_image(node.tag)
    assert await engine.has_image(f"{other}-main:1")


async def test_a_sweep_lets_running_builds_go_on(engine: DockerEngine, node: Node) -> None:
    reached = asyncio.Event()
    context = node.context(f"FROM {BUSYBOX}\nRUN echo 1 > /1\nRUN sleep 1\nRUN echo done\n")
    task = asyncio.create_task(
        engine.build_image(
            node.tag, node.chute, context, lambda line: reached.set() if "sleep" in line else None
        )
    )
    await reached.wait()
    await engine.sweep({})
    await task
    assert await engine.has_image(node.tag)


async def test_images_that_people_build_on_ours_are_theirs(engine: DockerEngine, node: Node) -> None:
    await engine.build_image(node.tag, node.chute, node.context(), lambda _: None)
    mine = f"mine-{node.chute}:1"
    node.client.tag(node.tag, *mine.split(":"))
    try:
        await engine.sweep({})
        assert not await engine.has_image(node.tag)
        assert node.client.inspect_image(mine)
        assert not await engine.has_image(mine)
    finally:
        node.client.remove_image(mine)

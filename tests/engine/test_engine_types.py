"""Services of all types, and what they may request, on the real engine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from services.chutes.adapters.docker_engine import DockerEngine
from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.light import light_command, light_dockerfile
from services.chutes.domain.ports import ContainerPlan
from tests.engine.conftest import IDLE, Node, finished, state
from tests.support.engine import BUSYBOX, chute_folder
from tests.support.python_image import python_image

pytestmark = pytest.mark.engine

MAIN = """
import os, socket, sys
import helper
low = socket.create_server(("", 80))
print(helper.WORD, os.getuid(), os.getcwd(), sys.argv[1:], sep="|")
try:
    open("/etc/passwd", "a")
except PermissionError:
    print("not root")
"""


def _light(**given: Any) -> Any:
    service = {"type": "light", "image": "python3", "command": ["python3", "main.py", "a b"], **given}
    return read_definition({"name": "a", "services": {"main": service}}).spec.services["main"]


async def _build(engine: DockerEngine, node: Node, service: Any, files: dict[str, str]) -> list[str]:
    base = python_image(node.client)
    lines: list[str] = []
    await engine.build_image(
        node.tag,
        node.chute,
        chute_folder(node.folder / "chute", files),
        lines.append,
        dockerfile=light_dockerfile(service, {"python3": base}),
    )
    return lines


async def _output(engine: DockerEngine, node: Node, plan: ContainerPlan) -> list[str]:
    await engine.ensure_network(node.chute, node.chute)
    await engine.create_container(plan)
    await engine.start_container(plan.name)
    return await finished(engine, plan.name)


async def test_a_light_python_chute(engine: DockerEngine, node: Node) -> None:
    """With the real pip, a module of the chute, an unprivileged user and a low port."""
    service = _light()
    files = {
        "main.py": MAIN,
        "helper.py": "WORD = 'hello'",
        "requirements.txt": "# nothing\n",
        "Dockerfile": "FROM nothing-of-the-kind\n",
    }
    lines = await _build(engine, node, service, files)
    assert any("pip install --no-cache-dir -r requirements.txt" in line for line in lines)
    plan = replace(
        node.plan(image=node.tag, command=tuple(light_command(service))), user="paradrop", low_ports=True
    )
    assert await _output(engine, node, plan) == ["hello|999|/opt/paradrop/app|['a b']", "not root"]


async def test_a_light_chute_as_root_with_a_shell_command(engine: DockerEngine, node: Node) -> None:
    service = _light(command="echo $HOME; id -u", requests={"as-root": True})
    await _build(engine, node, service, {"main.py": MAIN})
    plan = node.plan(image=node.tag, command=tuple(light_command(service)))
    assert await _output(engine, node, plan) == ["/root", "0"]


async def test_a_service_with_a_folder_of_its_own(engine: DockerEngine, node: Node) -> None:
    """And one without: that one is built from the whole chute."""
    folder = node.context(f"FROM {BUSYBOX}\nCMD echo root\n")
    chute_folder(folder / "own", {"Dockerfile": f"FROM {BUSYBOX}\nCOPY only.txt /\nCMD cat /only.txt\n",
                                  "only.txt": "own"})  # fmt: skip
    (folder / "bare").mkdir()
    (folder / "out").symlink_to("/")
    for source, expected in (
        ("own", "own"),
        ("bare", "root"),
        (".", "root"),
        ("out", "root"),
        ("no", "root"),
    ):
        await engine.build_image(node.tag, node.chute, folder, lambda _: None, source=source)
        assert await _output(engine, node, node.plan(image=node.tag, command=None)) == [expected]


def _inspect(client: docker.APIClient, name: str) -> Any:
    return client.inspect_container(name)


@pytest.mark.parametrize("mode", ["host", "none"])
async def test_other_networks(mode: Any, engine: DockerEngine, node: Node) -> None:
    plan = replace(node.plan(command=("sh", "-c", "ls /sys/class/net | wc -l; grep paradrop.io /etc/hosts")),
                   network_mode=mode)  # fmt: skip
    lines = await _output(engine, node, plan)
    networks = _inspect(node.client, node.container)["NetworkSettings"]["Networks"]
    assert list(networks) == [mode]
    if mode == "none":
        assert lines[0] == "1"
    else:
        # The node's own network, on which the node itself is at home.
        assert int(lines[0]) == len([*Path("/sys/class/net").iterdir()]) or int(lines[0]) > 1
        assert lines[1].split() == ["127.0.0.1", "paradrop.io"]


async def test_limits_and_rights(engine: DockerEngine, node: Node) -> None:
    plan = replace(
        node.plan(command=("sh", "-c", IDLE)),
        memory_limit_bytes=32 * 1024 * 1024,
        privileged=True,
        dns=("9.9.9.9",),
        user="999",
    )
    await engine.ensure_network(node.chute, node.chute)
    await engine.create_container(plan)
    await engine.start_container(plan.name)
    await state(engine, plan.name, "running")
    found = _inspect(node.client, node.container)
    host = found["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (32 * 1024 * 1024, 32 * 1024 * 1024)
    assert (host["Privileged"], host["Dns"], found["Config"]["User"]) == (True, ["9.9.9.9"], "999")


async def test_what_is_not_requested_is_not_given(engine: DockerEngine, node: Node) -> None:
    await engine.ensure_network(node.chute, node.chute)
    await engine.create_container(node.plan())
    found = _inspect(node.client, node.container)
    host = found["HostConfig"]
    assert (host["Privileged"], host["Memory"], host["CapAdd"]) == (False, 0, None)
    assert host["NetworkMode"] == "default"
    assert (found["Config"]["User"], host.get("Sysctls")) == ("", None)


async def test_a_chute_that_uses_too_much_memory_is_ended(engine: DockerEngine, node: Node) -> None:
    eats = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived"
    plan = replace(node.plan(command=("sh", "-c", eats)), memory_limit_bytes=16 * 1024 * 1024)
    assert "survived" not in await _output(engine, node, plan)

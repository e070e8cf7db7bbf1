"""The node in containers: docker-compose.yml on a real engine, from building the image to its end."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.engine import BUSYBOX, busybox_image, chute_tar
from tests.support.node import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
BASE_IMAGE = "paradrop-base:bookworm"
SERVICES = ("auth", "network", "airshark", "chutes", "node", "bridge", "gateway")
PASSWORD = "a password for compose"
CHUTE = "compose-hello"
SYSTEM_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass
class Stack:
    """A project of docker-compose and the node in it."""

    engine: docker.DockerClient
    project: str
    home: Path
    port: int
    token: str = ""

    def compose(self, *arguments: str) -> str:
        """Runs docker-compose and returns its output."""
        done = subprocess.run(
            ["docker-compose", "-p", self.project, *arguments],
            cwd=ROOT,
            env=os.environ
            | {
                "PATH": SYSTEM_PATH,
                "BASE_IMAGE": BASE_IMAGE,
                "DOCKER_BUILDKIT": "0",
                "PARADROP_HOME": str(self.home),
                "PARADROP_PUBLISH": f"127.0.0.1:{self.port}",
                "PARADROP_ADMIN_PASSWORD": PASSWORD,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def containers(self) -> list[Any]:
        """Returns the containers of the project, ended ones too."""
        label = f"com.docker.compose.project={self.project}"
        return list(self.engine.containers.list(all=True, filters={"label": label}))

    def health(self) -> dict[str, str]:
        """Returns the health of each container by the name of its service."""
        found = {}
        for container in self.containers():
            state = container.attrs["State"]
            health = state.get("Health", {}).get("Status", "none") if state["Running"] else "ended"
            found[container.labels["com.docker.compose.service"]] = health
        return found

    def request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Any:
        """Calls the node and returns status and JSON."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, method=method)
        request.add_header("Content-Type", kind)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def answers(self, path: str) -> bool:
        """Tells whether a path answers with success."""
        try:
            return bool(self.request("GET", path)[0] == 200)
        except OSError:
            return False

    def log_in(self) -> None:
        """Gets a token."""
        body = json.dumps({"username": "paradrop", "password": PASSWORD}).encode()
        status, answer = self.request("POST", "/api/v1/auth/local", body)
        assert status == 200
        self.token = answer["token"]

    def change(self, change_id: int) -> Any:
        """Returns a change."""
        return self.request("GET", f"/api/v1/changes/{change_id}")[1]

    def chute_runs(self) -> bool:
        """Tells whether the chute runs, as far as the node knows."""
        try:
            status, chute = self.request("GET", f"/api/v1/chutes/{CHUTE}")
        except OSError:
            return False
        return bool(status == 200 and chute["state"] == "running")


def until(condition: Any, seconds: float = 60) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.2)


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient) -> None:
    """Builds the image upon a base that is made of Debian's packages."""
    busybox_image(engine.api)
    environment = os.environ | {"PATH": SYSTEM_PATH}
    if not engine.images.list(BASE_IMAGE):
        mirror = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
        try:
            urllib.request.urlopen(f"{mirror}/dists/bookworm/Release", timeout=30).close()
        except OSError as error:
            pytest.skip(f"needs a Debian mirror, set DEBIAN_MIRROR: {mirror} does not answer: {error}")
        subprocess.run([ROOT / "scripts" / "base_image.sh", BASE_IMAGE], env=environment, check=True)
    subprocess.run(["make", "--no-print-directory", "wheels"], cwd=ROOT, env=environment, check=True)


@pytest.fixture
def stack(engine: docker.DockerClient, image: None) -> Iterator[Stack]:
    # Not below pytest's folder: that is for one user alone, and paths of sockets are short.
    home = Path(tempfile.mkdtemp(prefix="paradrop-compose-"))
    stack = Stack(engine, home.name, home, free_port())
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--remove-orphans")
        for container in engine.containers.list(all=True, filters={"name": CHUTE}):
            container.remove(force=True)
        for network in engine.networks.list(names=[CHUTE]):
            network.remove()
        shutil.rmtree(home)


def test_the_whole_node_in_containers(stack: Stack, engine: docker.DockerClient) -> None:
    stack.compose("build", "auth")
    began_s = time.monotonic()
    stack.compose("up", "-d")
    until(lambda: stack.answers("/healthz"))
    print(f"\nanswers {time.monotonic() - began_s:.1f} s after docker-compose up")
    until(lambda: stack.health() == dict.fromkeys(SERVICES, "healthy"), 90)
    print(f"all healthy {time.monotonic() - began_s:.1f} s after docker-compose up")

    for container in stack.containers():
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["Privileged"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert not host["PortBindings"]

    stack.log_in()
    files = {
        "paradrop.yaml": f"name: {CHUTE}\nservices:\n  main:\n    type: normal\n",
        "Dockerfile": f'FROM {BUSYBOX}\nCMD ["sh", "-c", "trap exit TERM; sleep 1000000 & wait"]\n',
    }
    status, change = stack.request("POST", "/api/v1/chutes/", chute_tar(files), "application/x-tar")
    assert status == 200, change
    until(lambda: "end_time" in stack.change(change["change_id"]))
    assert stack.change(change["change_id"])["status"] == "succeeded", stack.change(change["change_id"])
    assert stack.chute_runs()

    status, state = stack.request("GET", "/api/v1/airshark/status")
    assert (status, state["source_kind"]) == (200, "SOURCE_KIND_SIMULATED")
    assert sweeps(stack, 3)

    for container in stack.containers():
        name = container.labels["com.docker.compose.service"]
        before = container.attrs["State"]["Pid"]
        # As a crash does it: what is killed through the engine is not started again.
        os.kill(before, 9)
        if name != "gateway":
            rest = "/api/v1/airshark/status" if name == "chutes" else "/api/v1/chutes/"
            assert stack.answers(rest), f"{name} takes others with it"
        until(lambda c=container, pid=before: _pid(c) not in (0, pid))
        until(stack.chute_runs)
        until(lambda: stack.answers("/healthz"))

    # Everything anew, as after an upgrade of the image.
    stack.compose("up", "-d", "--force-recreate")
    until(lambda: stack.answers("/healthz"))
    until(stack.chute_runs)
    status, deleted = stack.request("DELETE", f"/api/v1/chutes/{CHUTE}")
    assert status == 200, deleted
    until(lambda: stack.request("GET", f"/api/v1/chutes/{CHUTE}")[0] == 404)

    stack.compose("down", "--volumes")
    assert stack.containers() == []
    assert not engine.networks.list(names=[f"{stack.project}_default"])
    assert not engine.containers.list(all=True, filters={"name": CHUTE})


def sweeps(stack: Stack, count: int) -> list[Any]:
    """Returns the first messages with something in them of the live spectrum."""
    request = urllib.request.Request(f"http://127.0.0.1:{stack.port}/api/v1/airshark/sweep")
    request.add_header("Authorization", f"Bearer {stack.token}")
    with urllib.request.urlopen(request, timeout=30) as stream:
        return [json.loads(stream.readline()) for _ in range(count)]


def _pid(container: Any) -> int:
    container.reload()
    return int(container.attrs["State"]["Pid"])

"""A project of docker-compose with a node in it, driven as its operator does."""

import hashlib
import json
import os
import platform
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

ROOT = Path(__file__).parents[2]
BASE_IMAGE = "paradrop-base:bookworm"
PASSWORD = "a password for compose"
SYSTEM_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
PORTS = {"auth": (11, 9001), "chutes": (12, 9002), "bridge": (13, 9003), "network": (14, 9004)} | {
    "airshark": (15, 9005),
    "node": (16, 9006),
}
"""Last number of the address, and port, of each part."""

ON_MACHINE = ("PARADROP_NETWORK_HOST", "PARADROP_AIRSHARK_HOST", "PARADROP_NODE_HOST")
"""What .env sets to 1 on a router."""
OLD_COMPOSE = ("docker-compose",)
PLUGIN = "pool/main/d/docker-compose/docker-compose_2.26.1-4_amd64.deb"
"""The plugin of version 2 as later releases of Debian have it; it depends on nothing but libc."""
PLUGIN_SHA256 = "47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea"


def plugin_folder() -> Path:
    """Returns a folder of docker's settings in which the plugin of docker-compose 2 is, or skips the test."""
    folder = ROOT / "build" / "compose-2"
    if not (folder / "cli-plugins" / "docker-compose").exists():
        if platform.machine() != "x86_64":
            pytest.skip("needs the plugin of docker-compose 2, which is pinned for x86-64 only")
        mirror = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
        try:
            package = urllib.request.urlopen(f"{mirror}/{PLUGIN}", timeout=60).read()
        except OSError as error:
            pytest.skip(f"needs the plugin of docker-compose 2 from {mirror}, set DEBIAN_MIRROR: {error}")
        assert hashlib.sha256(package).hexdigest() == PLUGIN_SHA256
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compose.deb").write_bytes(package)
        subprocess.run(["dpkg-deb", "-x", "compose.deb", "unpacked"], cwd=folder, check=True)
        (folder / "cli-plugins").symlink_to("unpacked/usr/libexec/docker/cli-plugins")
    return folder


def compose_command(version: int) -> tuple[str, ...]:
    """Returns what runs docker-compose 1.29 or the plugin of version 2."""
    return OLD_COMPOSE if version == 1 else ("docker", "--config", str(plugin_folder()), "compose")


@dataclass
class Stack:
    """A project of docker-compose and the node in it."""

    engine: docker.DockerClient
    project: str
    subnet: str
    port: int
    backups: Path
    token: str = ""
    profile: str = "lab"
    command: tuple[str, ...] = OLD_COMPOSE

    def try_compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs docker-compose and returns how it ended."""
        return subprocess.run(
            [*self.command, "-p", self.project, *arguments],
            cwd=ROOT,
            env=os.environ
            | {
                "PATH": SYSTEM_PATH,
                "COMPOSE_PROFILES": self.profile,
                **({name: "1" for name in ON_MACHINE} if self.profile == "router" else {}),
                "BASE_IMAGE": BASE_IMAGE,
                "DOCKER_BUILDKIT": "0",
                "PARADROP_SUBNET": self.subnet,
                "PARADROP_BACKUPS": str(self.backups),
                "PARADROP_PUBLISH": f"127.0.0.1:{self.port}",
                "PARADROP_ADMIN_PASSWORD_FILE": str(self._password_file()),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def compose(self, *arguments: str) -> str:
        """Runs docker-compose, which must succeed, and returns its output."""
        done = self.try_compose(*arguments)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def containers(self) -> list[Any]:
        """Returns the containers of the project, ended ones too."""
        return list(self.engine.containers.list(all=True, filters=self._own))

    def by_part(self) -> dict[str, Any]:
        """Returns the containers of parts, which stay, by what runs in them."""
        found = {container.labels["com.docker.compose.service"]: container for container in self.containers()}
        return {part: container for part, container in found.items() if part != "sample"}

    def volumes(self) -> list[Any]:
        """Returns the volumes of the project."""
        return list(self.engine.volumes.list(filters=self._own))

    def _password_file(self) -> Path:
        file = self.backups / "password"
        file.write_text(f"{PASSWORD}\n")
        # Parts that are not root read it.
        file.chmod(0o644)
        return file

    @property
    def _own(self) -> dict[str, str]:
        return {"label": f"com.docker.compose.project={self.project}"}

    def backup(self, name: str) -> Path:
        """Returns the file of a backup."""
        return self.backups / name

    def addresses(self) -> dict[str, tuple[str, int]]:
        """Returns where each part listens on the network of the parts."""
        return {part: (f"{self.subnet}.{host}", port) for part, (host, port) in PORTS.items()}

    def health(self) -> dict[str, str]:
        """Returns the health of each container by the name of its service."""
        found = {}
        for part, container in self.by_part().items():
            state = container.attrs["State"]
            found[part] = state.get("Health", {}).get("Status", "none") if state["Running"] else "ended"
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

    def log_in(self, password: str) -> None:
        """Gets a token."""
        body = json.dumps({"username": "paradrop", "password": password}).encode()
        status, answer = self.request("POST", "/api/v1/auth/local", body)
        assert status == 200
        self.token = answer["token"]

    def change(self, change_id: int) -> Any:
        """Returns a change."""
        return self.request("GET", f"/api/v1/changes/{change_id}")[1]

    def runs(self, chute: str) -> bool:
        """Tells whether a chute runs, as far as the node knows."""
        try:
            status, found = self.request("GET", f"/api/v1/chutes/{chute}")
        except OSError:
            return False
        return bool(status == 200 and found["state"] == "running")


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.2)


def image_bytes(engine: docker.DockerClient, name: str) -> int:
    """Returns the size of an image with all its layers."""
    return int(engine.images.get(name).attrs["Size"])

"""A whole node in a process of its own, started as a user starts it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSWORD = "a-password-for-tests"
START_TIMEOUT_S = 60
CHANGE_TIMEOUT_S = 120


@dataclass
class Answer:
    """A reply to an HTTP request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The stable reason of an error."""
        return next(detail["reason"] for detail in self.json["details"] if "reason" in detail)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class NodeProcess:
    """`paradrop run` with a state folder and a port of its own."""

    home: Path
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    """What the command is run with, such as a network namespace."""
    process: subprocess.Popen[bytes] | None = None
    token: str = ""

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def output_file(self) -> Path:
        return self.home.parent / f"{self.home.name}-output.txt"

    def start(self) -> None:
        """Starts the node and waits until it is healthy."""
        environment = os.environ | {
            "PARADROP_HOME": str(self.home),
            "PARADROP_LISTEN": self.target,
            "PARADROP_ADMIN_PASSWORD": PASSWORD,
            # Whatever a test asks for, this machine stays on.
            "PARADROP_POWER": "0",
            # A chute of a test falls at once or stays.
            "PARADROP_GRACE_S": "0.5",
            **self.environment,
        }
        with self.output_file.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, Path(sys.executable).with_name("paradrop"), "run"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the node ended with {self.process.returncode}: {self.output}")
            with contextlib.suppress(OSError):
                if self.request("GET", "/healthz", token="").status == 200:
                    return
            time.sleep(0.05)
        health = self.request("GET", "/healthz", token="").body
        self.stop()
        raise AssertionError(f"the node did not become healthy: {health!r} {self.output}")

    @property
    def output(self) -> str:
        return self.output_file.read_text(errors="replace") if self.output_file.exists() else ""

    def stop(self) -> int:
        """Stops the node as a service manager does and returns its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """Kills the node the way a power cut does: every process of it, at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def login(self, password: str = PASSWORD) -> None:
        """Logs in; later requests carry the token."""
        answer = self.request(
            "POST", "/api/v1/auth/local", json_body={"username": "paradrop", "password": password}, token=""
        )
        assert answer.status == 200, answer
        self.token = answer.json["token"]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        json_body: Any = None,
        token: str | None = None,
    ) -> Answer:
        """Sends one HTTP request; an error status is an answer like any other."""
        request = urllib.request.Request(f"http://{self.target}{path}", method=method)
        token = self.token if token is None else token
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if json_body is not None:
            body = json.dumps(json_body).encode()
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        request.data = body
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def upload(self, tar: bytes, method: str = "POST", path: str = "/api/v1/chutes/") -> Answer:
        """Uploads a chute."""
        return self.request(method, path, tar, {"Content-Type": "application/x-tar"})

    def change(self, change_id: int) -> Any:
        """Returns a change."""
        return self.request("GET", f"/api/v1/changes/{change_id}").json

    def ended(self, change_id: int) -> Any:
        """Waits for the end of a change and returns it."""
        deadline = time.monotonic() + CHANGE_TIMEOUT_S
        while time.monotonic() < deadline:
            change = self.change(change_id)
            if change["status"] in ("succeeded", "failed"):
                return change
            time.sleep(0.05)
        raise AssertionError(f"change {change_id} did not end: {change}")


@contextlib.contextmanager
def running_node(home: Path, **environment: str) -> Iterator[NodeProcess]:
    """Runs a node, logged in to, and removes its chutes at the end."""
    node = NodeProcess(home, environment=environment)
    node.start()
    node.login()
    try:
        yield node
    except BaseException:
        # What is left in the engine would make the next test fail as well.
        with contextlib.suppress(OSError, AssertionError):
            _remove_chutes(node)
        raise
    else:
        _remove_chutes(node)
    finally:
        node.stop()


def _remove_chutes(node: NodeProcess) -> None:
    for chute in node.request("GET", "/api/v1/chutes/").json:
        change(node, "DELETE", f"/api/v1/chutes/{chute['name']}")


def change(node: NodeProcess, method: str, path: str) -> None:
    """Makes a change that has to succeed."""
    assert node.ended(node.request(method, path).json["change_id"])["status"] == "succeeded"

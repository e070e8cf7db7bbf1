"""A node whose network service runs inside the lab's machine, and everything else on this host.

The gateway and auth are the real ones; the service in the machine verifies tokens with the keys that auth
publishes into the shared folder.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
from paradrop.network.v1.network_pb2_grpc import NetworkServiceStub
from paradrop.network.v1.wireless_pb2_grpc import WirelessServiceStub

from gateway import envoy
from gateway.bridge import app as bridge
from services.auth import app as auth
from services.common.settings import Settings
from tests.lab import machine as machines
from tests.lab.air import Client
from tests.lab.machine import SOURCE, Machine
from tests.support.aio_server import run_in_thread
from tests.support.node import Answer, free_port
from tests.support.settings import PASSWORD, settings_in

SERVICE_PORT = 7100
GUEST_HOME = "/run/paradrop"
PLAN = "/run/lab/plan.json"
LOG = "/run/lab/service.log"
START_TIMEOUT_S = 240


@dataclass
class LabNode:
    """The node as its users see it, and the machine for looking behind the scenes."""

    machine: Machine
    settings: Settings
    channel: grpc.Channel
    clients: list[Client]
    plan: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    pid: int = 0

    @property
    def metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.token}")]

    @property
    def network(self) -> Any:
        return NetworkServiceStub(self.channel)

    @property
    def wireless(self) -> Any:
        return WirelessServiceStub(self.channel)

    @property
    def target(self) -> str:
        return f"{self.settings.listen_host}:{self.settings.listen_port}"

    def request(self, method: str, path: str, content: Any = None, token: str | None = None) -> Answer:
        """Sends a request through the gateway."""
        connection = HTTPConnection(self.target, timeout=60)
        headers = {"authorization": f"Bearer {token or self.token}", "content-type": "application/json"}
        try:
            connection.request(method, path, None if content is None else json.dumps(content), headers)
            reply = connection.getresponse()
            return Answer(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Returns the JSON of a path that has to be there."""
        answer = self.request("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def login(self) -> None:
        connection = HTTPConnection(self.target, timeout=60)
        body = json.dumps({"username": "paradrop", "password": PASSWORD})
        try:
            connection.request("POST", "/api/v1/auth/local", body, {"content-type": "application/json"})
            self.token = json.loads(connection.getresponse().read())["token"]
        finally:
            connection.close()

    def start_service(self) -> None:
        """Starts the network service in the machine and waits until it serves."""
        environment = {
            "PARADROP_HOME": GUEST_HOME,
            "PARADROP_NETWORK_ADDRESS": f"0.0.0.0:{SERVICE_PORT}",
            "PYTHONPATH": f"{SOURCE}:{SOURCE}/build/gen",
            "PYTHONUNBUFFERED": "1",
        }
        self.pid = self.machine.spawn(
            *(str(Path(sys.executable).absolute()), "-m", "tests.lab.service", PLAN),
            log=LOG,
            environment=environment,
        )
        self.await_plan()

    def set_plan(self, plan: list[dict[str, Any]]) -> None:
        """Lets the service have these networks, and no others."""
        self.plan = plan
        self.machine.run("rm", "-f", PLAN.replace(".json", ".done"))
        self.machine.write(PLAN, json.dumps(plan))
        if self.pid:
            self.machine.run("kill", "-HUP", str(self.pid))
            self.await_plan()

    def await_plan(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self.machine.run("test", "-e", PLAN.replace(".json", ".done"), check=False).code:
            if (
                time.monotonic() > deadline_s
                or self.machine.run("kill", "-0", str(self.pid), check=False).code
            ):
                raise machines.LabError(f"the service did not take up its networks: {self.log}")
            time.sleep(0.2)

    @property
    def log(self) -> str:
        return self.machine.read(LOG)[-4000:]


def open_network(**changes: Any) -> dict[str, Any]:
    """Returns the plan of the network of the documentation's examples."""
    return {
        "chute": "captive-portal",
        "name": "wlan0",
        "section": "wifi",
        "interface": "vwlan7e1b",
        "phy": "phy0",
        "channel": 11,
        "ssid": "Free WiFi",
        "subnet": "192.168.128.0/24",
        **changes,
    }


def _compile() -> None:
    """Lets Python write down here what it compiles: in the machine that takes fifty times as long."""
    environment = os.environ | {"PYTHONPATH": f"{SOURCE}:{SOURCE}/build/gen"}
    subprocess.run([sys.executable, "-c", "import tests.lab.service"], env=environment, check=True)


@contextmanager
def running(radios: int, clients: int, plan: list[dict[str, Any]]) -> Iterator[LabNode]:
    """Runs a node with `radios` of its own and `clients` that roam."""
    _compile()
    with tempfile.TemporaryDirectory(prefix="pd-") as temporary:
        shared = Path(temporary) / "shared"
        shared.mkdir()
        port = free_port()
        home = shared / "home"
        environment = {
            "PARADROP_LISTEN": f"127.0.0.1:{free_port()}",
            "PARADROP_NETWORK_ADDRESS": f"127.0.0.1:{port}",
        }
        with (
            settings_in(home, **environment) as settings,
            run_in_thread(_front(settings), ""),
            machines.running(radios + clients, {SERVICE_PORT: port}, shared=shared) as machine,
            grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            # Its clock counts from whole seconds; a token of this second would not be valid there yet.
            machine.run("date", "-s", f"@{time.time():.3f}")
            machine.run("mkdir", "-p", GUEST_HOME)
            machine.run("ln", "-sfn", "/run/lab/shared/home/public", f"{GUEST_HOME}/public")
            roaming = [
                Client.create(machine, f"client{n}", f"phy{radios + n - 1}", f"wlan{radios + n - 1}")
                for n in range(1, clients + 1)
            ]
            node = LabNode(machine, settings, channel, roaming)
            node.set_plan(plan)
            node.start_service()
            node.login()
            yield node


@asynccontextmanager
async def _front(settings: Settings) -> AsyncIterator[None]:
    """Runs auth, the bridge and Envoy."""
    async with AsyncExitStack() as stack:
        for part in (auth.running(settings), bridge.running(settings), envoy.running(settings)):
            await stack.enter_async_context(part)  # type: ignore[arg-type]
        yield

"""A node whose network service runs inside the lab's machine, and everything else on this host.

The gateway and auth are the real ones; the service in the machine is started as on any node, and verifies
tokens with the keys that auth publishes into the shared folder. Beyond the machine's uplink lies a namespace
that stands for the internet.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
from paradrop.network.v1 import chute_networks_pb2 as pb
from paradrop.network.v1.chute_networks_pb2_grpc import ChuteNetworkServiceStub
from paradrop.network.v1.hostconfig_pb2 import ApplyHostConfigRequest
from paradrop.network.v1.hostconfig_pb2_grpc import HostConfigServiceStub
from paradrop.network.v1.network_pb2_grpc import NetworkServiceStub
from paradrop.network.v1.wireless_pb2_grpc import WirelessServiceStub

from gateway import envoy
from gateway.bridge import app as bridge
from services.auth import app as auth
from services.common.documents import from_struct, to_struct
from services.common.settings import Settings
from tests.lab import machine as machines
from tests.lab.air import Client, gather
from tests.lab.chutes import HOST_CONFIG, PLAN, SERVICE, Container
from tests.lab.machine import Machine
from tests.support.aio_server import run_in_thread
from tests.support.node import Answer, free_port
from tests.support.settings import PASSWORD, settings_in

SERVICE_PORT = 7100
HOME = "/run/paradrop"
SYSTEM_DIR = f"{HOME}/system"
LOG = "/run/lab/service.log"
START_TIMEOUT_S = 240
INTERNET = "203.0.113.1"
UPLINK = "203.0.113.2"


@dataclass
class LabNode:
    """The node as its users see it, and the machine for looking behind the scenes."""

    machine: Machine
    settings: Settings
    channel: grpc.Channel
    clients: list[Client]
    token: str = ""
    pid: int = 0
    changes: int = 0
    given: dict[str, list[pb.WantedNetwork]] = field(default_factory=dict)
    """Chute to the networks that it has."""
    containers: dict[str, Container] = field(default_factory=dict)
    """Chute to its container."""

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
            "PARADROP_HOME": HOME,
            "PARADROP_NETWORK_ADDRESS": f"0.0.0.0:{SERVICE_PORT}",
            "PARADROP_HOST_NETWORK": "managed",
            "PARADROP_ALLOW_MONITOR_MODE": "1",
            "PYTHONUNBUFFERED": "1",
        }
        program = Path(sys.executable).absolute().with_name("paradrop")
        self.pid = self.machine.spawn(str(program), "serve", "network", log=LOG, environment=environment)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.call("SyncChutes", pb.SyncChutesRequest())
                return
            except grpc.RpcError:
                if not self.machine.alive(self.pid) or time.monotonic() > deadline_s:
                    raise machines.LabError(f"the service does not serve: {self.log}") from None
                time.sleep(0.2)

    def kill_service(self) -> None:
        """Ends the service as a crash does."""
        self.machine.signal(self.pid, signal.SIGKILL)

    def call(self, rpc: str, request: Any) -> Any:
        """Calls what only the node's own services may call."""
        token = self.settings.service_token_file.read_text().strip()
        stubs = (ChuteNetworkServiceStub(self.channel), HostConfigServiceStub(self.channel))
        method = next(getattr(stub, rpc) for stub in stubs if hasattr(stub, rpc))
        return method(request, metadata=[("authorization", f"Bearer {token}")], timeout=120)

    def apply(self, chute: str, networks: Sequence[pb.WantedNetwork]) -> list[dict[str, Any]]:
        """Gives a chute these networks, as its change does, and returns what its cache says of them."""
        answer = self.call("ApplyChuteNetworks", request_of(chute, networks))
        self.given[chute] = list(networks)
        return [from_struct(document) for document in answer.network_interfaces]

    def configure(self, document: Mapping[str, Any]) -> None:
        """Puts a host configuration into force, as its change does."""
        self.changes += 1
        request = ApplyHostConfigRequest(config=to_struct(document), change_id=self.changes)
        self.call("ApplyHostConfig", request)
        deadline_s = time.monotonic() + 60
        while (status := self.get("/api/v1/config/hostconfig/status")["state"]) != "STATE_CONFIRMED":
            if status == "STATE_REVERTED" or time.monotonic() > deadline_s:
                raise machines.LabError(f"the configuration is {status}: {self.log}")
            time.sleep(0.2)

    def attach(self, chute: str) -> Container:
        """Puts the networks of a chute into its container, which is started if there is none."""
        if chute not in self.containers:
            self.containers[chute] = Container.start(self.machine)
        container = self.containers[chute]
        where = pb.ChuteContainer(service=SERVICE, pid=container.pid)
        self.call("AttachChuteNetworks", pb.AttachChuteNetworksRequest(chute=chute, containers=[where]))
        return container

    def release(self, chute: str) -> None:
        """Removes a chute as its change does: its networks first, then its container."""
        self.call("ReleaseChuteNetworks", pb.ReleaseChuteNetworksRequest(chute=chute))
        self.given.pop(chute, None)
        if chute in self.containers:
            self.containers.pop(chute).stop()

    def settle(self, plan: Mapping[str, Sequence[pb.WantedNetwork]]) -> None:
        """Lets the chutes of a plan have their networks, and no others."""
        for chute in [chute for chute in self.given if chute not in plan]:
            self.release(chute)
        for chute, networks in plan.items():
            if self.given.get(chute) != list(networks):
                self.apply(chute, networks)
                self.attach(chute)

    @property
    def log(self) -> str:
        return self.machine.read(LOG)[-4000:]


def request_of(chute: str, networks: Sequence[pb.WantedNetwork]) -> pb.ApplyChuteNetworksRequest:
    """Returns the request that gives a chute networks."""
    owner = pb.ChuteOwner(chute=chute, owner="paradrop", owner_domain="localhost")
    return pb.ApplyChuteNetworksRequest(chute=owner, networks=networks, system_dir=f"{SYSTEM_DIR}/{chute}")


def _compile() -> None:
    """Lets Python write down here what it compiles: in the machine that takes fifty times as long."""
    subprocess.run([sys.executable, "-c", "import services.cli, services.network.app"], check=True)


def _lay_uplink(machine: Machine) -> None:
    """Puts a cable from the machine to the internet, which knows no way back but to the cable's end."""
    machine.run("ip", "netns", "add", "internet")
    words = ("link", "add", "wan0", "type", "veth", "peer", "name", "far", "netns", "internet")
    machine.run("ip", *words)
    inside = ("ip", "-n", "internet")
    for argv in (
        ("ip", "address", "add", f"{UPLINK}/24", "dev", "wan0"),
        ("ip", "link", "set", "wan0", "up"),
        ("ip", "route", "replace", "default", "via", INTERNET),
        (*inside, "address", "add", f"{INTERNET}/24", "dev", "far"),
        (*inside, "link", "set", "far", "up"),
        (*inside, "link", "set", "lo", "up"),
    ):
        machine.run(*argv)


@contextmanager
def running(radios: int, clients: int, crowd: int = 0) -> Iterator[LabNode]:
    """Runs a node with `radios` of its own, the chutes of the plan, and `clients` that roam.

    The radios of a `crowd` are in a namespace of that name, for whoever wants many stations at once.
    """
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
            machines.running(radios + clients + crowd, {SERVICE_PORT: port}, shared=shared) as machine,
            grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_reconnect_backoff_ms", 500)]) as channel,
        ):
            # Its clock counts from whole seconds; a token of this second would not be valid there yet.
            machine.run("date", "-s", f"@{time.time():.3f}")
            machine.write(f"{HOME}/network/hostconfig.yaml", json.dumps(HOST_CONFIG))
            machine.run("ln", "-sfn", "/run/lab/shared/home/public", f"{HOME}/public")
            _lay_uplink(machine)
            roaming = [
                Client.create(machine, f"client{n}", f"phy{radios + n - 1}", f"wlan{radios + n - 1}")
                for n in range(1, clients + 1)
            ]
            gather(machine, range(radios + clients, radios + clients + crowd))
            node = LabNode(machine, settings, channel, roaming)
            node.start_service()
            node.login()
            node.settle(PLAN)
            yield node


@asynccontextmanager
async def _front(settings: Settings) -> AsyncIterator[None]:
    """Runs auth, the bridge and Envoy."""
    async with AsyncExitStack() as stack:
        for part in (auth.running(settings), bridge.running(settings), envoy.running(settings)):
            await stack.enter_async_context(part)  # type: ignore[arg-type]
        yield

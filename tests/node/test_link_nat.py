"""The link through a router that translates addresses and forgets silent connections without a word."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import pytest
from paradrop.chutes.v1 import changes_pb2
from paradrop.controller.v1 import controller_pb2_grpc
from paradrop.node.v1 import node_pb2
from pyroute2 import netns

from services.node.adapters import link
from tests.network.conftest import Namespace, Namespaces, namespaces, needs_root
from tests.node.linked import TOKEN, Connection, World, linked

__all__ = ["namespaces"]
pytestmark = needs_root

CLOUD, ROUTER = "10.98.2.2", "10.98.1.254"
# As of a cheap router: nothing comes in by itself, and what belongs to no known connection is dropped.
RULES = """
table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
table ip filter {
  counter forgotten {}
  chain forward {
    type filter hook forward priority filter;
    ct state invalid counter name forgotten drop
  }
  chain input {
    type filter hook input priority filter; policy drop;
    iifname "lan" accept
  }
}
"""


class Router:
    """What stands between the node and the network of the controller."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def remember_for(self, seconds: int) -> None:
        """Sets for how long a silent connection is known, from its next packet on."""
        self._namespace.run(
            "busybox", "sysctl", "-w", f"net.netfilter.nf_conntrack_tcp_timeout_established={seconds}"
        )

    @property
    def dropped(self) -> int:
        """How many packets came of connections that it did not know any more."""
        told = self._namespace.run("nft", "list", "counter", "ip", "filter", "forgotten")
        return int(told.split("packets", 1)[1].split()[0])


@contextmanager
def within(namespace: Namespace) -> Iterator[None]:
    """Lets this thread make its sockets in a namespace."""
    home, there = (os.open(path, os.O_RDONLY) for path in ("/proc/self/ns/net", namespace.path))
    try:
        netns.setns(there)
        yield
    finally:
        netns.setns(home)
        os.close(there)
        os.close(home)


@pytest.fixture
def cloud(namespaces: Namespaces) -> Namespace:
    return namespaces.make()


@pytest.fixture
def router(namespaces: Namespaces, cloud: Namespace, tmp_path: Path) -> Router:
    """Lays the cables: the node's machine, the router, the controller's network."""
    box = namespaces.make()
    namespaces.connect(box, "wan", cloud, "eth0")
    box.run("ip", "link", "add", "lan", "type", "veth", "peer", "name", "pdnat0", "netns", str(os.getpid()))
    box.run("ip", "addr", "add", f"{ROUTER}/24", "dev", "lan")
    box.run("ip", "addr", "add", "10.98.2.1/24", "dev", "wan")
    box.run("ip", "link", "set", "lan", "up")
    cloud.run("ip", "addr", "add", f"{CLOUD}/24", "dev", "eth0")
    (tmp_path / "rules").write_text(RULES)
    box.run("nft", "-f", str(tmp_path / "rules"))
    box.run("busybox", "sysctl", "-w", "net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_tcp_loose=0")
    for words in (
        ("addr", "add", "10.98.1.1/24", "dev", "pdnat0"),
        ("link", "set", "pdnat0", "up"),
        ("route", "add", "10.98.2.0/24", "via", ROUTER),
    ):
        subprocess.run(["ip", *words], check=True, timeout=10)
    return Router(box)


@asynccontextmanager
async def reached_through(router: Router, cloud: Namespace, world: World) -> AsyncIterator[Connection]:
    """Ties the node to its controller in the cloud."""
    # As the example does: else gRPC takes frequent pings for an attack.
    server = grpc.aio.server(options=[("grpc.http2.min_recv_ping_interval_without_data_ms", 100)])
    controller_pb2_grpc.add_ControllerServiceServicer_to_server(world.controller, server)
    with within(cloud):
        port = server.add_insecure_port(f"{CLOUD}:0")
    await server.start()
    try:
        request = node_pb2.SetProvisionRequest(
            router_id="r1", apitoken=TOKEN, pdserver=f"grpc://{CLOUD}:{port}"
        )
        reply = await world.stub.SetProvision(request, metadata=world.metadata, timeout=20)
        assert reply.http_connected
        yield await world.controller.connected()
    finally:
        await server.stop(0)


@pytest.mark.thorough
async def test_a_link_that_a_router_has_forgotten_is_noticed_and_made_anew(
    router: Router, cloud: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as in half a minute, in three seconds: the router forgets in one."""
    monkeypatch.setattr(link, "INITIAL_BACKOFF_S", 0.1)
    quick = {"grpc.keepalive_time_ms": 3000, "grpc.keepalive_timeout_ms": 1000}
    monkeypatch.setattr(
        link, "KEEP_ALIVE", [(name, quick.get(name, value)) for name, value in link.KEEP_ALIVE]
    )
    router.remember_for(1)
    async with linked(tmp_path / "home") as world, reached_through(router, cloud, world) as first:
        # Nothing is said, and nobody is told that the connection is gone: a ping finds out.
        second = await world.controller.connected()
        assert router.dropped > 0
        assert second.hello.queue_id == first.hello.queue_id

        # The record of a change goes where nobody is any more, and is sent again.
        await asyncio.sleep(2)
        dropped = router.dropped
        world.ended = [changes_pb2.Change(id=7, update_class="CHUTE", status="succeeded", name="hello")]
        third = await world.controller.connected()
        router.remember_for(300)
        assert router.dropped > dropped
        record = await third.next("record")
        while not record.HasField("change_ended"):
            record = await third.next("record")
        assert record.change_ended.id == 7
        late = [second.received.get_nowait() for _ in range(second.received.qsize())]
        assert not [m for m in late if m.HasField("record") and m.record.HasField("change_ended")]
        assert (await world.told()).reason == ""

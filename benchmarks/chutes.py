"""What chutes cost: their list beside the engine's, a long history, starts and stops beside the SDK."""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import docker
import grpc
from docker.types import Mount
from paradrop.chutes.v1 import chutes_pb2, chutes_pb2_grpc

from benchmarks.support import IDLE_COMMAND, TINY_IMAGE, Node, running_node, table, tiny_chute
from services.chutes.adapters.store import MIGRATIONS, Store
from services.chutes.domain.change import Request
from services.chutes.domain.chute import Actor
from services.common.database import Database
from tests.support.engine import engine_address

CHUTES = 50
LIST_CALLS = 300
HISTORY = 1000
HISTORY_PAIRS = 15
STARTS = 15
AIM_LIST, AIM_HISTORY, AIM_START = 1.5, 1.05, 1.3


def main() -> None:
    """Measures the list, then starts and stops with and without a history, then beside the SDK."""
    with running_node() as node:
        try:
            _list(node)
        finally:
            _clear(node)
        _starts(node)
    _history()


def _clear(node: Node) -> None:
    for change in node.call("GET", "/changes/"):  # Of a run that failed.
        node.call("POST", f"/changes/{change['id']}/cancel", b"{}")
    ids = [
        node.call("DELETE", f"/chutes/{chute['name']}")["change_id"] for chute in node.call("GET", "/chutes/")
    ]
    for change_id in ids:
        node.finish(change_id)


def _list(node: Node) -> None:
    names = [f"bench-{number}" for number in range(CHUTES)]
    ids = [_install(node, name) for name in names]
    for change_id in ids:
        node.finish(change_id)
    engine = docker.APIClient()
    ways: dict[str, Callable[[], Any]] = {
        "the engine: `containers(all=True)` of the Docker SDK": lambda: engine.containers(all=True),
    }
    with _grpc_list(node) as through_grpc, _rest_list(node) as through_rest, _raw_list() as raw:
        ways["the engine: the same call, bare HTTP on its socket, decoded"] = raw
        ways["Paradrop: ListChutes over gRPC, at the service"] = through_grpc
        ways["Paradrop: GET /chutes/ through Envoy, decoded"] = through_rest
        for call in ways.values():
            if len(call()) < CHUTES:
                raise SystemExit("not all chutes are listed")
        times = _alternating(list(ways.values()), LIST_CALLS)
    base = median(times[0])
    rows = [
        [name, f"{1000 * median(each):.2f}", f"{1000 * _p99(each):.2f}", f"**{median(each) / base:.2f}**"]
        for name, each in zip(ways, times, strict=True)
    ]
    table(
        f"List of {CHUTES} running tiny chutes, one caller (aim: p50 at most {AIM_LIST} times)",
        ["what", "p50 ms", "p99 ms", "ratio of p50"],
        rows,
    )


def _install(node: Node, name: str) -> int:
    return int(node.call("POST", "/chutes/", tiny_chute(name), "application/x-tar")["change_id"])


@contextmanager
def _grpc_list(node: Node) -> Iterator[Callable[[], Any]]:
    address = f"unix:{node.home / 'run' / 'chutes.sock'}"
    metadata = (("authorization", f"Bearer {node.token}"),)
    with grpc.insecure_channel(address) as channel:
        stub, request = chutes_pb2_grpc.ChuteServiceStub(channel), chutes_pb2.ListChutesRequest()
        yield lambda: stub.ListChutes(request, metadata=metadata, timeout=30).chutes


@contextmanager
def _raw_list() -> Iterator[Callable[[], Any]]:
    path = engine_address().removeprefix("unix://")
    with (
        closing(http.client.HTTPConnection("localhost", timeout=30)) as connection,
        socket.socket(socket.AF_UNIX) as link,
    ):
        link.connect(path)
        connection.sock = link

        def call() -> Any:
            connection.request("GET", "/containers/json?all=1")
            return json.loads(connection.getresponse().read())

        yield call


@contextmanager
def _rest_list(node: Node) -> Iterator[Callable[[], Any]]:
    with closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)) as connection:

        def call() -> Any:
            connection.request("GET", "/api/v1/chutes/", headers={"Authorization": f"Bearer {node.token}"})
            return json.loads(connection.getresponse().read())

        yield call


def _alternating(calls: list[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Times calls in turn, so that noise hits all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begin)
    return times


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def _change(node: Node, command: str, name: str) -> Callable[[], Any]:
    return lambda: node.finish(node.call("POST", f"/chutes/{name}/{command}", b"{}")["change_id"])


def _starts(node: Node) -> None:
    name = "bench-start"
    node.finish(_install(node, name))
    engine = docker.APIClient()
    with TemporaryDirectory() as folder:
        plain = _Plain(engine, Path(folder))
        plain.prepare()
        try:
            ours, theirs = _change(node, "stop", name), plain.stop
            starts = _change(node, "start", name)
            times = _alternating([theirs, ours, plain.start, starts], STARTS)
        finally:
            plain.stop()
            plain.clean()
            node.finish(node.call("DELETE", f"/chutes/{name}")["change_id"])
    rows = []
    for what, base, paradrop in (("stop", times[0], times[1]), ("start", times[2], times[3])):
        rows.append(
            [
                what,
                f"{1000 * median(base):.0f}",
                f"{1000 * median(paradrop):.0f}",
                f"**{median(paradrop) / median(base):.2f}**",
                # Other load only ever adds.
                f"{min(paradrop) / min(base):.2f}",
            ]
        )
    table(
        f"Stop and start of a tiny chute, request to end of the change (aim: at most {AIM_START} times)",
        ["what", "Docker SDK, the same calls, p50 ms", "Paradrop p50 ms", "ratio", "ratio of the fastest"],
        rows,
    )


class _Plain:
    """The calls of a start and a stop, made with the SDK alone, one after the other."""

    NAME = "bench-plain"

    def __init__(self, engine: docker.APIClient, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def prepare(self) -> None:
        """Makes what a chute has while it is stopped, and starts it."""
        self._engine.create_network(self.NAME)
        self.start()

    def start(self) -> None:
        """Looks for the network, creates a container in it, starts it and looks whether it runs."""
        engine = self._engine
        engine.networks(names=[self.NAME])
        network = engine.networks(names=[self.NAME])[0]["Id"]
        container = engine.create_container(
            TINY_IMAGE,
            json.loads(IDLE_COMMAND),
            name=self.NAME,
            environment={"A": "1"},
            host_config=engine.create_host_config(
                init=True,
                mounts=[Mount("/data", str(self._folder), type="bind")],
                extra_hosts={"paradrop.io": "host-gateway"},
            ),
        )["Id"]
        engine.connect_container_to_network(container, network, aliases=["main"])
        engine.inspect_container(self.NAME)
        engine.start(container)
        engine.containers(all=True)

    def stop(self) -> None:
        """Reads the last lines, stops the container and removes it."""
        engine = self._engine
        engine.inspect_container(self.NAME)
        engine.logs(self.NAME, tail=40)
        engine.inspect_container(self.NAME)
        engine.stop(self.NAME, timeout=10)
        engine.remove_container(self.NAME, v=True, force=True)
        engine.containers(all=True)

    def clean(self) -> None:
        """Removes what `prepare` made."""
        self._engine.remove_network(self.NAME)


def _history() -> None:
    with TemporaryDirectory(prefix="paradrop-bench-") as folder:
        home = Path(folder) / "home"
        asyncio.run(_fill(home / "chutes"))
        with running_node() as fresh, running_node(home) as old:
            known = len(old.call("GET", "/changes/?include_ended=true&page_size=500"))
            if known < min(500, HISTORY):
                raise SystemExit(f"the node knows only {known} changes of its history")
            nodes = {"bench-fresh": fresh, "bench-old": old}
            for name, node in nodes.items():
                node.finish(_install(node, name))
            try:
                calls = [_both(node, name) for name, node in nodes.items()]
                fresh_s, old_s = _alternating(calls, HISTORY_PAIRS)
            finally:
                for name, node in nodes.items():
                    node.finish(node.call("DELETE", f"/chutes/{name}")["change_id"])
    ratios = [theirs / ours for ours, theirs in zip(fresh_s, old_s, strict=True)]
    table(
        f"A stop and a start after {HISTORY} finished changes (aim: at most {AIM_HISTORY} times)",
        ["without, p50 ms", "with, p50 ms", "median ratio of pairs"],
        [[f"{1000 * median(fresh_s):.0f}", f"{1000 * median(old_s):.0f}", f"**{median(ratios):.3f}**"]],
    )


def _both(node: Node, name: str) -> Callable[[], Any]:
    stop, start = _change(node, "stop", name), _change(node, "start", name)
    return lambda: (stop(), start())


async def _fill(home: Path) -> None:
    """Writes a history as the journal itself does."""
    await asyncio.to_thread(home.mkdir, 0o700, parents=True)
    user = Actor("paradrop", "localhost", "owner")
    with closing(await asyncio.to_thread(Database, home / "chutes.sqlite3", MIGRATIONS)) as database:
        store = Store(database)
        for number in range(HISTORY):
            now_s = 1_700_000_000.0 + number
            change = await store.accept(Request("restart", f"gone-{number % CHUTES}", user), now_s)
            change.status, change.phase, change.percent = "succeeded", "ended", 100
            change.start_time_s = change.end_time_s = now_s
            await store.end(change, [(now_s, f"line {line} of the engine's output") for line in range(40)])

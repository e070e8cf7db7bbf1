"""How fast one client follows the output of one chute through the gateway, and whether it loses a line."""

import time
from dataclasses import dataclass
from typing import Any

import grpc
import psutil
from paradrop.chutes.v1 import chutes_pb2, chutes_pb2_grpc

from benchmarks.support import Node, chute_of, running_node, table

LINES = 300_000
GROUP = 500
PAUSES_US = (19_000, 9_000, 4_000)
"""Between groups of lines: about 25, 45 and 80 thousand lines a second on a fast machine."""
WRITER = (
    "trap exit TERM; while [ ! -e /data/begin ]; do sleep 0.1; done; awk 'BEGIN { "
    f'for (i = 1; i <= {LINES}; i++) {{ print "line " i " of a chute that has a lot to say"; '
    f'if (i % {GROUP} == 0) {{ fflush(); system("usleep PAUSE") }} }} }}\'; sleep 1000000 & wait'
)


@dataclass
class Followed:
    """What one client saw."""

    lines: int = 0
    dropped: int = 0
    out_of_order: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0


def main() -> None:
    """Follows a writer at several speeds."""
    rows = []
    with running_node() as node:
        for pause_us in PAUSES_US:
            name = f"bench-logs-{pause_us}"
            chute = chute_of(name, WRITER.replace("PAUSE", str(pause_us)))
            node.finish(node.call("POST", "/chutes/", chute, "application/x-tar")["change_id"])
            followed = _follow(node, name)
            node.finish(node.call("DELETE", f"/chutes/{name}")["change_id"])
            rows.append(
                [
                    f"{followed.lines / followed.seconds:,.0f}",
                    f"{LINES - followed.lines:,}",
                    f"{followed.dropped:,}",
                    f"{followed.out_of_order:,}",
                    f"{100 * followed.cpu_s / followed.seconds:.0f} %",
                ]
            )
    table(
        "Following the output of one chute with one gRPC client (aim: 20,000 lines/s without loss)",
        ["lines/s", "lost", "of these told as dropped", "out of order", "processor, node and Envoy"],
        rows,
    )


def _follow(node: Node, name: str) -> Followed:
    followed, before = Followed(), _cpu_s(node)
    with grpc.insecure_channel(f"127.0.0.1:{node.port}") as channel:
        stream = chutes_pb2_grpc.ChuteServiceStub(channel).StreamLogs(
            chutes_pb2.StreamLogsRequest(chute=name, tail=0, follow=True),
            metadata=(("authorization", f"Bearer {node.token}"),),
        )
        begin, last = 0.0, 0
        for message in stream:
            if message.HasField("synced"):
                (node.home / "chutes" / "data" / name / "begin").touch()
            followed.dropped += message.dropped_count
            last, begin = _count(message, followed, last, begin)
            if message.HasField("lines"):
                followed.seconds = time.monotonic() - begin
            if last == LINES or (begin and message.HasField("heartbeat")):
                break
        stream.cancel()
    followed.cpu_s = _cpu_s(node) - before
    return followed


def _count(message: Any, followed: Followed, last: int, begin: float) -> tuple[int, float]:
    for line in message.lines.lines:
        begin = begin or time.monotonic()
        number = int(line.message.split()[1])
        followed.lines += 1
        followed.out_of_order += number <= last
        last = number
    return last, begin


def _cpu_s(node: Node) -> float:
    processes = [psutil.Process(node.process.pid), *psutil.Process(node.process.pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)

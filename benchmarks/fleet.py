"""Many nodes on one example controller: what each costs it, and how soon all are back after its restart.

The nodes are real links with real outboxes, without the rest of a node, several dozen in each process.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import psutil

from benchmarks.support import free_port, pss_mib, table
from services.common.logs import configure_logs

NODES = 200
PER_PROCESS = 50
IDLE_S = 20.0
START_S = 60.0
STORM_S = 60.0
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Connects all nodes, lets them idle, restarts the controller."""
    with tempfile.TemporaryDirectory(prefix="paradrop-fleet-") as folder:
        asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> None:
    port = free_port()
    tokens = {f"node-{number}": f"token-{number}" for number in range(NODES)}
    (folder / "tokens.json").write_text(json.dumps(tokens))
    controller = _controller(folder, port)
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fleet", str(folder), str(port), str(first), str(PER_PROCESS)]
        )
        for first in range(0, NODES, PER_PROCESS)
    ]
    try:
        await _until_connected(controller.stdout, START_S)
        process = psutil.Process(controller.pid)
        links = [psutil.Process(node.pid) for node in nodes]
        before_s, links_before_s = _cpu_s(process), sum(map(_cpu_s, links))
        await asyncio.sleep(IDLE_S)
        cpu_percent = 100 * (_cpu_s(process) - before_s) / IDLE_S
        links_cpu_percent = 100 * (sum(map(_cpu_s, links)) - links_before_s) / IDLE_S
        memory_mib = pss_mib(process)
        nodes_mib = sum(map(pss_mib, links))
        controller.kill()
        controller.wait()
        controller = _controller(folder, port)
        began_s = time.monotonic()
        await _until_connected(controller.stdout, STORM_S)
        back_s = time.monotonic() - began_s
        storm_cpu_s = _cpu_s(psutil.Process(controller.pid))
        table(
            f"{NODES} nodes on the example controller",
            ["what", "value"],
            [
                [
                    "controller, idle: processor",
                    f"{cpu_percent:.1f} % of a core, {cpu_percent / NODES:.4f} % a node",
                ],
                [
                    "controller, idle: memory (PSS)",
                    f"{memory_mib:.0f} MiB, {1024 * memory_mib / NODES:.0f} KiB a node",
                ],
                [
                    "links of the nodes, idle: processor",
                    f"{links_cpu_percent / NODES:.4f} % of a core a node",
                ],
                ["links of the nodes (PSS)", f"{1024 * nodes_mib / NODES:.0f} KiB a node"],
                ["all connected again after a restart", f"**{back_s:.1f} s** (aim 30)"],
                ["processor time of the controller for that", f"{storm_cpu_s:.1f} s"],
            ],
        )
    finally:
        for started in (*nodes, controller):
            started.kill()
            started.wait()


def _cpu_s(process: psutil.Process) -> float:
    """Returns the processor time that a process has used, in seconds."""
    times = process.cpu_times()
    return times.user + times.system


def _controller(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, ROOT / "examples/controller/controller.py", "--listen", f"127.0.0.1:{port}",
         "--state", folder / "fleet.sqlite3", "--tokens", folder / "tokens.json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


async def _until_connected(output: IO[bytes] | None, deadline_s: float) -> None:
    connected: set[str] = set()
    assert output is not None
    async with asyncio.timeout(deadline_s):
        while len(connected) < NODES:
            line = json.loads(await asyncio.to_thread(output.readline))
            if line["kind"] == "connected":
                connected.add(line["node"])


async def _run_links(folder: Path, port: int, first: int, count: int) -> None:
    from services.common.database import Database
    from services.node.adapters.link import Link, Surroundings
    from services.node.adapters.live import Sources
    from services.node.adapters.outbox import MIGRATIONS, Outbox
    from services.node.adapters.tls import Credentials
    from services.node.domain.provision import Provision

    nothing: Any = None
    links = []
    for number in range(first, first + count):
        outbox = Outbox(Database(folder / f"node-{number}.sqlite3", MIGRATIONS, "NORMAL"))
        await outbox.set_state(b"")
        sources = Sources({}, folder / "no-token", nothing, nothing, nothing)
        around = Surroundings(sources, outbox, Credentials())
        provision = Provision(f"grpc://127.0.0.1:{port}", "", f"node-{number}", f"token-{number}")
        links.append(Link(provision, around).run())
    await asyncio.gather(*links)


if __name__ == "__main__":
    configure_logs("error")
    os.nice(5)
    asyncio.run(_run_links(Path(sys.argv[1]), *map(int, sys.argv[2:5])))

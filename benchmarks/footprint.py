"""Memory of the idle node and the time it needs to start."""

import signal
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.support import Node, pss_mib, start_node, table

SETTLE_S = 10
STARTS = 3


def main() -> None:
    """Starts a node with fresh state, then again; prints times and memory."""
    with tempfile.TemporaryDirectory(prefix="paradrop-bench-") as folder:
        home = Path(folder) / "home"
        first_s = _timed(home)[0]
        later = []
        for _ in range(STARTS):
            seconds, node = _timed(home, keep=True)
            later.append(seconds)
            if len(later) < STARTS:
                _stop(node)
        time.sleep(SETTLE_S)
        process = psutil.Process(node.process.pid)
        rows = [
            [each.name(), f"{each.memory_full_info().pss / 2**20:.0f}"]
            for each in (process, *process.children(recursive=True))
        ]
        rows.append(["**whole node**", f"**{pss_mib(process):.0f}** (aim 130)"])
        _stop(node)
    table("Idle memory, one process and Envoy", ["process", "PSS MiB"], rows)
    table(
        "Start to healthy",
        ["start", "seconds"],
        [
            ["first, empty state folder", f"{first_s:.2f}"],
            ["later, median", f"**{sorted(later)[STARTS // 2]:.2f}** (aim 5)"],
        ],
    )


def _timed(home: Path, keep: bool = False) -> tuple[float, Node]:
    begin = time.monotonic()
    node = start_node(home)
    seconds = time.monotonic() - begin
    if not keep:
        _stop(node)
    return seconds, node


def _stop(node: Node) -> None:
    node.process.send_signal(signal.SIGTERM)
    node.process.wait(60)

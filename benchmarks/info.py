"""Requests per second of what the node tells about itself, beside a server that looks each time."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.baseline import klein_node
from benchmarks.rest import CONNECTIONS, alternating, cells
from benchmarks.support import PASSWORD, free_port, running_node, table, wait_for

PATHS = ("info/hardware", "info/telemetry", "info/software")
"""The first two share answers in the gateway for a tenth of a second; the last is the service's own."""


def main() -> None:
    """Measures hardware, telemetry and versions with a token."""
    with running_node() as node, _running_rescanner() as port:
        rows = []
        for path in PATHS:
            for connections in CONNECTIONS:
                baseline, paradrop = alternating(
                    (f"http://127.0.0.1:{port}/api/v1/{path}", f"Bearer {klein_node.token()}"),
                    (f"{node.url}/{path}", f"Bearer {node.token}"),
                    connections,
                )
                ratio = paradrop.requests_per_s / baseline.requests_per_s
                rows.append([path, str(connections), *cells(baseline), *cells(paradrop), f"**{ratio:.1f}**"])
    columns = ["req/s", "p50 ms", "p99 ms"]
    header = ["path", "connections", *(f"Klein {c}" for c in columns), *(f"Paradrop {c}" for c in columns)]
    table("Hardware and telemetry (aim: 10 times), and versions", [*header, "ratio"], rows)


@contextmanager
def _running_rescanner() -> Iterator[int]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "benchmarks.baseline.klein_info",
        f"--port={port}",
        f"--password={PASSWORD}",
    ]
    process = subprocess.Popen(command)
    try:
        wait_for(port, "/")
        yield port
    finally:
        process.terminate()
        process.wait(30)

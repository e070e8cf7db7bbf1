"""What mutual TLS among the parts of a node costs the JSON path."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.rest import alternating, cells
from benchmarks.support import PASSWORD, Node, free_port, table, wait_for

PARTS = ("auth", "network", "airshark", "chutes", "node", "bridge", "gateway")
COMMAND = Path(sys.executable).with_name("paradrop")
CONNECTIONS = (1, 16, 64)


def main() -> None:
    """Compares the empty list of chutes, parts at unix sockets with parts at ports with certificates."""
    with ExitStack() as stack:
        sockets, tls = (stack.enter_context(_running_parts(secure)) for secure in (False, True))
        rows = []
        for connections in CONNECTIONS:
            plain, mutual = alternating(_target(sockets), _target(tls), connections)
            ratio = mutual.requests_per_s / plain.requests_per_s
            rows.append([str(connections), *cells(plain), *cells(mutual), f"**{ratio:.2f}**"])
        columns = ["req/s", "p50 ms", "p99 ms"]
        header = [*(f"sockets {c}" for c in columns), *(f"mutual TLS {c}" for c in columns)]
        table("Chute list, parts in processes of their own", ["connections", *header, "ratio"], rows)


def _target(node: Node) -> tuple[str, str]:
    return f"{node.url}/chutes/", f"Bearer {node.token}"


@contextmanager
def _running_parts(secure: bool) -> Iterator[Node]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="paradrop-bench-") as folder, ExitStack() as stack:
        tls = Path(folder) / "tls"
        environment = os.environ | {
            "PARADROP_HOME": folder,
            "PARADROP_LISTEN": f"127.0.0.1:{port}",
            "PARADROP_ADMIN_PASSWORD": PASSWORD,
            "PARADROP_DISCOVERY": "0",
            "PARADROP_POWER": "0",
        }
        if secure:
            for part in PARTS:
                (tls / part).mkdir(parents=True)
            environment |= {f"PARADROP_{p.upper()}_ADDRESS": f"127.0.0.1:{free_port()}" for p in PARTS[:-1]}
        processes = {}
        for part in PARTS:
            own = {"PARADROP_INTERNAL_TLS": str(tls / part)} if secure else {}
            process = subprocess.Popen(
                [COMMAND, "serve", part], env=environment | own, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            processes[part] = process
            if part == "auth":
                subprocess.run(
                    [str(COMMAND), "health", "auth", "--wait", "60"],
                    env=environment | own,
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
        wait_for(port, "/healthz")
        node = Node(processes["gateway"], port, Path(folder))
        body = json.dumps({"username": "paradrop", "password": PASSWORD}).encode()
        request = urllib.request.Request(
            f"{node.url}/auth/local", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            node.token = json.loads(response.read())["token"]
        wait_for(port, "/api/v1/chutes/")
        yield node

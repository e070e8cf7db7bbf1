"""Starts what is measured, drives it with wrk and prints tables."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil

PASSWORD = "benchmark-password"
TINY_IMAGE = "busybox:stable"
IDLE_COMMAND = '["/bin/sh", "-c", "trap exit TERM; sleep 1000000 & wait"]'


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def wrk(url: str, headers: dict[str, str], connections: int, duration_s: int) -> Load:
    """Loads a URL with keep-alive connections; every answer must be a success."""
    if not shutil.which("wrk"):
        raise SystemExit("The benchmarks need wrk: apt-get install wrk")
    # A baseline may take seconds for an answer to many at once; that is slow, and no failure.
    command = ["wrk", "--latency", "--timeout", "20s", "-t1", f"-c{connections}", f"-d{duration_s}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"not every request to {url} succeeded:\n{output}")
    return Load(
        float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]),  # type: ignore[index]
        _milliseconds(re.search(r"50%\s+([\d.]+\w+)", output)[1]),  # type: ignore[index]
        _milliseconds(re.search(r"99%\s+([\d.]+\w+)", output)[1]),  # type: ignore[index]
    )


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def free_port() -> int:
    """Returns a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, path: str, deadline_s: float = 60) -> None:
    """Waits until a server answers anything but 5xx."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2).read()
            return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"nothing answers at port {port}")


@dataclass
class Node:
    """A running node and its administrator's token."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path
    token: str = ""

    @property
    def url(self) -> str:
        """Base of the REST interface."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    def call(
        self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json"
    ) -> Any:
        """Calls the REST interface and returns the decoded JSON."""
        request = urllib.request.Request(f"{self.url}{path}", body, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.add_header("Content-Type", content_type)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.loads(response.read())

    def finish(self, change_id: int) -> float:
        """Waits for the end of a change and returns the time from then until now in seconds since 1970."""
        with urllib.request.urlopen(self._watch(change_id), timeout=300) as stream:
            for line in stream:
                event = json.loads(line)
                if "ended" in event:
                    if event["ended"]["status"] != "succeeded":
                        raise SystemExit(f"change {change_id} failed: {event['ended']}")
                    return time.time()
        raise SystemExit(f"the stream of change {change_id} ended too early")

    def _watch(self, change_id: int) -> urllib.request.Request:
        return urllib.request.Request(
            f"{self.url}/changes/{change_id}/watch", headers={"Authorization": f"Bearer {self.token}"}
        )


@contextmanager
def running_node(home: Path | None = None) -> Iterator[Node]:
    """Runs a whole node as `make run` does."""
    with tempfile.TemporaryDirectory(prefix="paradrop-bench-") as folder:
        node = start_node(home or Path(folder) / "home")
        try:
            body = json.dumps({"username": "paradrop", "password": PASSWORD}).encode()
            request = urllib.request.Request(
                f"{node.url}/auth/local", body, {"Content-Type": "application/json"}, method="POST"
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                node.token = json.loads(response.read())["token"]
            yield node
        finally:
            node.process.send_signal(signal.SIGTERM)
            node.process.wait(60)


def start_node(home: Path) -> Node:
    """Starts a node and waits until it is healthy."""
    port = free_port()
    environment = os.environ | {
        "PARADROP_HOME": str(home),
        "PARADROP_LISTEN": f"127.0.0.1:{port}",
        "PARADROP_ADMIN_PASSWORD": PASSWORD,
    }
    process = subprocess.Popen(
        [Path(sys.executable).with_name("paradrop"), "run"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, "/healthz")
    except BaseException:
        process.terminate()
        process.wait(60)
        raise
    return Node(process, port, home)


@contextmanager
def running_baseline(chutes: Sequence[str]) -> Iterator[int]:
    """Runs the Klein server and yields its port."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "benchmarks.baseline.klein_node",
        f"--port={port}",
        f"--password={PASSWORD}",
    ]
    process = subprocess.Popen([*command, *(f"--chute={chute}" for chute in chutes)])
    try:
        wait_for(port, "/")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def tiny_chute(name: str) -> bytes:
    """Returns the tar of a chute that needs nothing but a tiny image."""
    return _tar(name, IDLE_COMMAND)


def chute_of(name: str, script: str) -> bytes:
    """Returns the tar of a chute that runs a shell script."""
    return _tar(name, json.dumps(["/bin/sh", "-c", script]))


def _tar(name: str, command: str) -> bytes:
    files = {
        "paradrop.yaml": f"name: {name}\nservices:\n  main:\n    type: normal\n",
        "Dockerfile": f"FROM {TINY_IMAGE}\nCMD {command}\n",
    }
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text)
            archive.addfile(member, BytesIO(text.encode()))
    return buffer.getvalue()


def pss_mib(process: psutil.Process) -> float:
    """Returns the proportional memory of a process and its children in MiB."""
    processes = [process, *process.children(recursive=True)]
    return float(sum(each.memory_full_info().pss for each in processes)) / 2**20


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()

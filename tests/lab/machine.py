"""A virtual machine with simulated radios: boots Debian's kernel over the file system of this host.

The machine sees this host's root read only, below a layer in memory, so it has this host's hostapd, dnsmasq,
wpa_supplicant and Python, and the code of this checkout, without an image to build or to keep. All that
happens in it is gone when it ends.
"""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import guest, kernel

SOURCE = Path(__file__).parents[2]
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "hostapd": "hostapd",
    "dnsmasq": "dnsmasq-base",
    "wpa_supplicant": "wpasupplicant",
    "iw": "iw",
    "ip": "iproute2",
    "nft": "nftables",
    "ping": "iputils-ping",
    "openssl": "openssl",
    "pgrep": "procps",
}
"""Program to the Debian package that has it."""
BOOT_TIMEOUT_S = 240
MEMORY_MIB = 1024
GUEST_ADDRESS = "10.0.2.15"


def missing_packages() -> list[str]:
    """Returns the Debian packages that the lab needs and this system lacks."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)})


class LabError(AssertionError):
    """Something in the machine did not go as asked."""


@dataclass(frozen=True)
class Result:
    """How a program in the machine ended."""

    code: int
    output: str


@dataclass
class Machine:
    """A running machine."""

    process: subprocess.Popen[bytes]
    ports: Mapping[int, int]
    """Port in the machine to the port of this host that leads there."""
    shared: Path
    """Folder of this host that the machine sees live, at /run/lab/shared."""
    console: Path
    boot_s: float = 0.0
    _socket: socket.socket | None = field(default=None, repr=False)

    def ask(self, do: str, wait_s: float = 60, **arguments: Any) -> dict[str, Any]:
        """Asks the agent in the machine and returns its reply."""
        with socket.create_connection(("127.0.0.1", self.ports[guest.PORT]), wait_s) as connection:
            connection.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        if not line:
            raise LabError("the machine does not answer")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise LabError(f"{do} {arguments}: {reply['error']}")
        return reply

    def run(self, *argv: str, check: bool = True, timeout_s: float = 30, stdin: str = "") -> Result:
        """Runs a program to its end; unless told not to, raises when it fails."""
        reply = self.ask("run", timeout_s + 30, argv=list(argv), timeout_s=timeout_s, stdin=stdin)
        if check and reply["code"]:
            raise LabError(f"{' '.join(argv)} ended with {reply['code']}: {reply['output']}")
        return Result(reply["code"], reply["output"])

    def spawn(
        self, *argv: str, log: str = "/run/lab/log", environment: Mapping[str, str] | None = None
    ) -> int:
        """Starts a program that goes on running and returns its process id."""
        pid: int = self.ask("spawn", argv=list(argv), log=log, environment=dict(environment or {}))["pid"]
        return pid

    def signal(self, pid: int, number: int) -> None:
        """Signals a process and, if it was spawned here and ends, waits for that."""
        self.ask("signal", pid=pid, number=number)

    def alive(self, pid: int) -> bool:
        """Tells whether a process that was spawned here runs."""
        return bool(self.ask("alive", pid=pid)["alive"])

    def write(self, path: str, content: str | bytes) -> None:
        """Writes a file in the machine."""
        data = content.encode() if isinstance(content, str) else content
        self.ask("write", path=path, content=base64.b64encode(data).decode())

    def read(self, path: str) -> str:
        """Returns what is in a file of the machine."""
        return base64.b64decode(self.ask("read", path=path)["content"]).decode(errors="replace")


@contextmanager
def running(radios: int, ports: Mapping[int, int], *, shared: Path | None = None) -> Iterator[Machine]:
    """Boots a machine for the time of the context; `ports` are those of it that this host wants to reach."""
    booted = kernel.prepare()
    ports = {guest.PORT: _free_port(), **ports}
    with tempfile.TemporaryDirectory(prefix="paradrop-lab-") as temporary:
        shared = shared or Path(temporary) / "shared"
        shared.mkdir(exist_ok=True)
        console = Path(temporary) / "console"
        began = time.monotonic()
        with console.open("wb") as output:
            process = subprocess.Popen(
                _command(booted, radios, ports, shared),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            machine = Machine(process, ports, shared, console)
            _wait_for(machine)
            machine.boot_s = time.monotonic() - began
            yield machine
        finally:
            process.kill()
            process.wait()


def _command(booted: kernel.Kernel, radios: int, ports: Mapping[int, int], shared: Path) -> list[str]:
    forwards = "".join(
        f",hostfwd=tcp:127.0.0.1:{outer}-{GUEST_ADDRESS}:{inner}" for inner, outer in ports.items()
    )
    python = Path(sys.executable).absolute()
    words = (
        *("console=ttyS0", "quiet", "panic=-1", "mitigations=off", "random.trust_cpu=on", "no_timer_check"),
        *(f"lab.radios={radios}", f"lab.python={python}", f"lab.source={SOURCE}"),
    )
    return [
        "qemu-system-x86_64",
        *("-machine", "q35", "-accel", os.environ.get("PARADROP_LAB_ACCEL", "tcg"), "-cpu", "max"),
        *("-smp", "2", "-m", str(MEMORY_MIB)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-kernel", str(booted.image), "-initrd", str(booted.initramfs), "-append", " ".join(words)),
        *("-netdev", f"user,id=net{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
        *("-virtfs", f"local,path={shared},mount_tag=shared,security_model=none,readonly=on"),
        *("-device", "virtio-rng-pci"),
    ]


def _wait_for(machine: Machine) -> None:
    deadline_s = time.monotonic() + BOOT_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if machine.process.poll() is not None:
            break
        # qemu accepts connections before the machine does, and drops them.
        with contextlib.suppress(OSError, LabError):
            machine.ask("clock", 5)
            return
        time.sleep(0.1)
    said = machine.console.read_text(errors="replace")[-4000:]
    raise LabError(f"the machine does not come up: {said}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

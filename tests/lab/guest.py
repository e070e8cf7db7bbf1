"""Runs inside the lab's machine: starts programs for the tests outside and gives back what they say.

One JSON object a line in both directions; each connection serves one request after another. It needs the
standard library alone, so that it answers a moment after the kernel does.
"""

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

PORT = 7000
DEFAULT_TIMEOUT_S = 30
SPAWNED: dict[int, asyncio.subprocess.Process] = {}


async def _run(argv: list[str], timeout_s: float = DEFAULT_TIMEOUT_S, stdin: str = "") -> dict[str, Any]:
    """Runs a program to its end."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment(),
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate(stdin.encode())
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        return {"code": -1, "output": output.decode(errors="replace") + f"\n(no end within {timeout_s} s)"}
    return {"code": process.returncode, "output": output.decode(errors="replace")}


async def _spawn(argv: list[str], log: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Starts a program and leaves it to run."""
    with Path(log).open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**_environment(), **(environment or {})},
            start_new_session=True,
        )
    SPAWNED[process.pid] = process
    return {"pid": process.pid}


async def _signal(pid: int, number: int, wait_s: float = 10) -> dict[str, Any]:
    """Signals a program; one that was spawned here is waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    process = SPAWNED.get(pid)
    if process is None or number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGHUP):
        return {}
    async with asyncio.timeout(wait_s):
        return {"code": await process.wait()}


async def _write(path: str, content: str) -> dict[str, Any]:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(base64.b64decode(content))
    return {}


async def _read(path: str) -> dict[str, Any]:
    return {"content": base64.b64encode(Path(path).read_bytes()).decode()}


async def _alive(pid: int) -> dict[str, Any]:
    """Tells whether a program that was spawned here runs."""
    return {"alive": SPAWNED[pid].returncode is None}


async def _control(path: str, commands: list[str]) -> dict[str, Any]:
    """Sends commands to a control socket of wpa_supplicant, one after another, and returns the replies."""
    loop, own = asyncio.get_running_loop(), f"/run/lab/control-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
        control.setblocking(False)
        control.bind(own)
        try:
            control.connect(path)
            replies = []
            for command in commands:
                await loop.sock_sendall(control, command.encode())
                async with asyncio.timeout(DEFAULT_TIMEOUT_S):
                    replies.append((await loop.sock_recv(control, 65536)).decode(errors="replace"))
        finally:
            os.unlink(own)
    return {"replies": replies}


async def _clock() -> dict[str, Any]:
    return {"time_s": time.time(), "monotonic_s": time.monotonic()}


async def _radio(command: str, radio_id: int = 0, mac: str = "") -> dict[str, Any]:
    """Takes a simulated radio out ("del") or puts one in ("new", with an address)."""
    if command == "del":
        _hwsim(5, _attribute(10, struct.pack("=I", radio_id)))
        return {}
    return {"radio_id": _hwsim(4, _attribute(22, bytes.fromhex(mac.replace(":", ""))))}


def _hwsim(command: int, attributes: bytes) -> int:
    """Sends a command to mac80211_hwsim and returns the number that it answers with."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as netlink:
        netlink.bind((0, 0))
        family = _ask(netlink, 16, 3, _attribute(2, b"MAC80211_HWSIM\0"))
        place = family.index(struct.pack("=HH", 6, 1))
        (number,) = struct.unpack_from("=H", family, place + 4)
        reply = _ask(netlink, number, command, attributes)
        (code,) = struct.unpack_from("=i", reply, 16)
        if code < 0:
            raise OSError(-code, os.strerror(-code))
        return code


def _ask(netlink: socket.socket, family: int, command: int, attributes: bytes) -> bytes:
    body = struct.pack("=BBH", command, 1, 0) + attributes
    # NLM_F_REQUEST | NLM_F_ACK
    netlink.send(struct.pack("=IHHII", 16 + len(body), family, 5, 1, 0) + body)
    return netlink.recv(65536)


def _attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", len(value) + 4, kind) + value
    return data + b"\0" * (-len(data) % 4)


ACTIONS = {
    "run": _run,
    "spawn": _spawn,
    "signal": _signal,
    "write": _write,
    "read": _read,
    "alive": _alive,
    "control": _control,
    "clock": _clock,
    "radio": _radio,
}


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
    }


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            request = json.loads(line)
            try:
                reply = await ACTIONS[request.pop("do")](**request)
            except Exception as error:  # Whatever it is, the test outside is told.
                reply = {"error": repr(error)}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
    writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "0.0.0.0", PORT, limit=64 * 1024 * 1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())

"""The list of 50 stations beside a service that spawns `iw` for each call, and what watching them costs.

Few build machines have radios, so both sides are given what a kernel with 50 stations answers, laid out as it
lays it out: ours the netlink messages, which are decoded anew whenever the service would ask the kernel; the
baseline a program that prints the text of `iw station dump` at once (`cat`, which is faster than iw).
"""

import asyncio
import json
import os
import re
import shutil
import statistics
import struct
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from paradrop.network.v1 import network_pb2 as pb
from paradrop.network.v1 import network_pb2_grpc, wireless_pb2_grpc
from paradrop.network.v1 import wireless_pb2 as wpb

from benchmarks.support import table
from services.common.errors import DomainError
from services.common.identity import TokenVerifier
from services.common.server import serving
from services.network.adapters import nl80211_decode as decode
from services.network.adapters.netlink_attributes import attribute
from services.network.domain.station_book import StationBook
from services.network.domain.station_text import station_texts
from services.network.domain.stations import StationInfo
from services.network.domain.wireless import Target
from services.network.rpc.networks import NetworkParts
from services.network.rpc.servicer import NetworkServicer
from services.network.rpc.wireless import WirelessServicer
from tests.support.network_table import NetworkTable
from tests.support.publisher import Publisher

STATIONS = 50
DURATION_S = 3.0
IDLE_S = 10.0
SUBSCRIBERS = 5
CONNECTIONS = (1, 16)
AIM_RATIO, AIM_P99_MS, AIM_IDLE_PERCENT = 20.0, 20.0, 1.0
CHUTE, NETWORK = "captive-portal", "wifi"
LIST = "/paradrop.network.v1.NetworkService/ListStations"
EMPTY = "/grpc.health.v1.Health/Check"


def _message(number: int, passed: int) -> bytes:
    rate = [
        attribute(5, 1444),
        attribute(1, struct.pack("=H", 1444)),
        attribute(2, b"\x0f"),
        attribute(4, b""),
    ]
    counters = {1: 10 + number, 2: 5000, 3: 7000, 9: 90, 10: 80, 11: 3, 12: 1, 16: 300, 18: 0, 27: 46875}
    return attribute(decode.MAC, bytes([2, 0, 0, 0, 1, number])) + attribute(
        decode.STA_INFO,
        [
            *(attribute(kind, value) for kind, value in counters.items()),
            attribute(23, struct.pack("=Q", 5_000_000_000 + passed)),
            attribute(24, struct.pack("=Q", 7_000_000_000)),
            attribute(7, struct.pack("b", -45)),
            attribute(13, struct.pack("b", -46)),
            attribute(25, [attribute(0, struct.pack("b", -49)), attribute(1, struct.pack("b", -48))]),
            attribute(8, rate),
            attribute(14, rate),
            attribute(15, [attribute(3, b""), attribute(4, b"\x02"), attribute(5, struct.pack("=H", 100))]),
            attribute(17, struct.pack("=II", 0xFE, 0xAA)),
        ],
    )


class _Kernel:
    """Answers each question with 50 messages, which are decoded as those of the kernel are."""

    def __init__(self) -> None:
        self._asked = 0

    async def stations(self, _interface: str) -> list[StationInfo]:
        self._asked += 1
        messages = [_message(number, self._asked if number < 5 else 0) for number in range(STATIONS)]
        return [station for data in messages if (station := decode.station(data)) is not None]


class _Control:
    """Has one access point."""

    def config(self, _interface: str) -> None:
        return None


def main() -> None:
    """Measures lists and idle watching."""
    asyncio.run(_measure())


async def _measure() -> None:
    book = StationBook(_Kernel(), time.time, time.monotonic)  # type: ignore[arg-type]
    networks = NetworkTable()
    networks.set(CHUTE, [NETWORK], Target("vwlan7e1b", None))
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        publisher = Publisher(Path(folder))
        nothing_else = NetworkParts(None, None, None, None)  # type: ignore[arg-type]
        servicer = NetworkServicer(nothing_else, networks, _Control(), book, None)  # type: ignore
        watching = WirelessServicer(networks, _Control(), None, book, None, None)  # type: ignore[arg-type]

        def register(server: grpc.aio.Server) -> None:
            network_pb2_grpc.add_NetworkServiceServicer_to_server(servicer, server)
            wireless_pb2_grpc.add_WirelessServiceServicer_to_server(watching, server)

        address = f"unix:{folder}/network.sock"
        token = publisher.token("owner")
        metadata = (("authorization", f"Bearer {token}"),)
        async with (
            serving(address, [], register, TokenVerifier(Path(folder))),
            grpc.aio.insecure_channel(address) as channel,
        ):
            await _compare(address, token, await _printing(Path(folder)))
            await _idle(wireless_pb2_grpc.WirelessServiceStub(channel), metadata)
    await book.close()


async def _printing(folder: Path) -> list[str]:
    """Returns a command that prints what `iw` would."""
    text = folder / "dump"
    stations = await _Kernel().stations("")
    text.write_text("".join(_printed(station) for station in stations))
    return [shutil.which("cat") or "/bin/cat", str(text)]


def _spawning(command: list[str]) -> Callable[[], Awaitable[None]]:
    """Returns what the original did at each call: spawn, read, parse."""

    async def call() -> None:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        found: list[dict[str, str]] = []
        for line in output.decode().splitlines():
            if match := re.match(r"Station (\S+) ", line):
                found.append({"mac_addr": match[1]})
            elif ":" in line:
                label, _, value = line.strip().partition(":")
                found[-1][re.sub(r"[ /]", "_", label.lower())] = value.strip()
        assert len(found) == STATIONS

    return call


def _printed(station: StationInfo) -> str:
    texts = station_texts(station)
    lines = (f"\t{key.replace('_', ' ')}:\t{value}\n" for key, value in texts.items() if key != "mac_addr")
    return f"Station {station.mac} (on vwlan7e1b)\n{''.join(lines)}"


class Figures(NamedTuple):
    """What a load came to."""

    calls: int
    p99_ms: float
    processor_s: float
    """Of the process that made the calls and of its children."""


async def _compare(address: str, token: str, command: list[str]) -> None:
    found = []
    for connections in CONNECTIONS:
        spawned = await _apart("spawn", str(connections), *command)
        before_s = sum(os.times()[:2])
        called = await _apart("call", str(connections), address, token)
        found.append((connections, spawned, called, sum(os.times()[:2]) - before_s))
    show(found)
    before_s = sum(os.times()[:2])
    empty = await _apart("empty", str(CONNECTIONS[-1]), address, token)
    empty_s = (sum(os.times()[:2]) - before_s) / empty.calls
    spawned_s = found[-1][1].processor_s / found[-1][1].calls
    print(f"\nA call of the same server that answers nothing takes {1000 * empty_s:.2f} ms of its processor:")
    print(f"whatever it does, spawning cannot take more than {spawned_s / empty_s:.1f} times as much.")


def show(found: Sequence[tuple[int, Figures, Figures, float]], where: str = "") -> None:
    """Prints callers, what spawning and the service made, and the processor time that either needs.

    The last of each is the service's processor time in seconds.
    """
    rows = []
    for callers, spawned, called, service_s in found:
        spawn_ms, service_ms = 1000 * spawned.processor_s / spawned.calls, 1000 * service_s / called.calls
        rates = [spawned.calls / DURATION_S, called.calls / DURATION_S, called.calls / spawned.calls]
        numbers = [*rates, called.p99_ms, spawn_ms, service_ms, spawn_ms / service_ms]
        rows.append([str(callers), *(f"{number:.{0 if number > 100 else 2}f}" for number in numbers)])
    aims = f"aims: ratio {AIM_RATIO:.0f}, p99 {AIM_P99_MS:.0f} ms"
    head = ["callers", "spawn and parse, calls/s", "over gRPC, calls/s", "ratio", "p99 ms"]
    head += ["processor ms, spawn", "processor ms, service", "ratio"]
    table(f"Stations list, {STATIONS} stations{where} ({aims})", head, rows)


async def _apart(*words: str) -> Figures:
    """Loads one of the two from a process of its own: in this one it would take the service's time."""
    process = await asyncio.create_subprocess_exec(*loading(*words), stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return read_figures(output.decode())


def loading(*words: str) -> list[str]:
    """Returns what prints figures: `spawn CALLERS COMMAND…`, or `call`/`empty CALLERS ADDRESS TOKEN`."""
    return [sys.executable, "-m", "benchmarks.stations", *words]


def read_figures(output: str) -> Figures:
    """Reads what such a command has printed."""
    return Figures(*json.loads(output))


async def _call(connections: int, address: str, token: str) -> Figures:
    metadata = (("authorization", f"Bearer {token}"),)
    request = pb.ListStationsRequest(chute=CHUTE, network=NETWORK).SerializeToString()
    figures, replies = await _calling(LIST, request, connections, address, metadata)
    for reply in replies:
        assert len(pb.ListStationsResponse.FromString(reply).stations) == STATIONS
    return figures


async def _empty(connections: int, address: str, token: str) -> Figures:
    metadata = (("authorization", f"Bearer {token}"),)
    return (await _calling(EMPTY, b"", connections, address, metadata))[0]


async def _calling(
    name: str, request: bytes, connections: int, address: str, metadata: tuple[tuple[str, str], ...]
) -> tuple[Figures, deque[bytes]]:
    replies: deque[bytes] = deque(maxlen=connections)
    async with grpc.aio.insecure_channel(address) as channel:
        # As bytes: what a caller does with them is not the service's time.
        method: Any = channel.unary_unary(name)

        async def call() -> None:
            replies.append(await method(request, metadata=metadata))

        await call()
        return await _load(call, connections), replies


async def _load(call: Callable[[], Awaitable[None]], connections: int) -> Figures:
    times_s: list[float] = []
    before_s = sum(os.times()[:4])
    end_s = time.monotonic() + DURATION_S

    async def caller() -> None:
        while (began_s := time.monotonic()) < end_s:
            await call()
            times_s.append(time.monotonic() - began_s)

    await asyncio.gather(*(caller() for _ in range(connections)))
    p99_ms = statistics.quantiles(times_s, n=100)[98] * 1000
    return Figures(len(times_s), p99_ms, sum(os.times()[:4]) - before_s)


async def _idle(stub: wireless_pb2_grpc.WirelessServiceStub, metadata: tuple[tuple[str, str], ...]) -> None:
    """Tells what five subscribers cost while five of the stations send; readers are part of the figure."""
    calls = [
        stub.WatchStations(wpb.WatchStationsRequest(chute=CHUTE, network=NETWORK), metadata=metadata)
        for _ in range(SUBSCRIBERS)
    ]

    async def read(call: Any) -> None:
        try:
            async for _ in call:
                pass
        except (grpc.aio.AioRpcError, asyncio.CancelledError, DomainError):
            pass

    readers = [asyncio.create_task(read(call)) for call in calls]
    await asyncio.sleep(1)
    before_s = sum(os.times()[:2])
    await asyncio.sleep(IDLE_S)
    percent = 100 * (sum(os.times()[:2]) - before_s) / IDLE_S
    for call in calls:
        call.cancel()
    await asyncio.gather(*readers)
    aim = f"aim: {AIM_IDLE_PERCENT:.0f} %"
    print(f"\nIdle, {STATIONS} stations and {SUBSCRIBERS} subscribers ({aim}): {percent:.2f} % of a core,")
    print("readers included.")


async def _figures(what: str, connections: int, *words: str) -> Figures:
    if what == "spawn":
        return await _load(_spawning(list(words)), connections)
    return await {"call": _call, "empty": _empty}[what](connections, *words)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_figures(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))))

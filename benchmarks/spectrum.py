"""Fan-out of spectrum samples to many readers."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from paradrop.airshark.v1 import airshark_pb2 as pb
from paradrop.airshark.v1.airshark_pb2_grpc import AirsharkServiceStub

from benchmarks.support import table
from services.airshark.domain import container
from services.airshark.domain.formats import HT20
from tests.support.captures import AR9223, capture
from tests.support.publisher import Publisher
from tests.support.settings import settings_in

READERS = 100
SAMPLES_PER_S = 8700
ROUNDS = 5
ROUND_S = 6.0
IDLE_S = 30.0
SOAK_MINUTES = 10
BLOCKS_PER_S = 10


def main() -> None:
    """Measures idling and fan-out."""
    asyncio.run(_idle())
    asyncio.run(_fan_out())


class _Readers:
    """Counts what readers get, and how old it is."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.dropped = 0
        self.blocks = 0

    def begin(self) -> None:
        """Forgets what was before."""
        self.latencies_ms.clear()
        self.dropped = self.blocks = 0

    def p99_ms(self) -> float:
        """Returns the latency that one in a hundred exceeds."""
        return sorted(self.latencies_ms)[int(len(self.latencies_ms) * 0.99)]

    async def read(self, channel: grpc.aio.Channel, metadata: Any, encoding: int) -> None:
        request = pb.SubscribeSpectrumRequest(
            encoding=encoding,  # type: ignore[arg-type]
            max_blocks_per_s=BLOCKS_PER_S,
        )
        call: Any = channel.unary_stream(
            "/paradrop.airshark.v1.AirsharkService/SubscribeSpectrum",
            request_serializer=pb.SubscribeSpectrumRequest.SerializeToString,
            response_deserializer=None,
        )
        async for message in call(request, metadata=metadata):
            self.blocks += len(message) > 1000
            self.dropped += len(message) > 1000 and message[-2] == 0x78  # The tag of dropped_count.
            # Only some are read: this process shares the machine with the service.
            if len(message) > 1000 and self.blocks % 10 == 0:
                block = pb.SubscribeSpectrumResponse.FromString(message).block
                written_s = block.time.seconds + block.time.nanos / 1e9
                self.latencies_ms.append((time.time() - written_s) * 1000)


@dataclass
class _Service:
    """A running service."""

    process: psutil.Process
    address: str
    metadata: Any


@asynccontextmanager
async def _service() -> AsyncIterator[_Service]:
    with (
        tempfile.TemporaryDirectory(prefix="paradrop-bench-") as folder,
        settings_in(Path(folder)) as settings,
    ):
        settings.prepare()
        publisher = Publisher(settings.public_dir)
        recordings = settings.state_dir("airshark") / "recordings"
        recordings.mkdir()
        (recordings / "steady.pdspec").write_bytes(_steady())
        environment = {
            "PARADROP_HOME": str(settings.home),
            "PARADROP_RUNTIME": str(settings.runtime),
            "PATH": "/usr/bin:/bin",
        }
        command = (Path(sys.executable).with_name("paradrop"), "serve", "airshark", "--log-level", "error")
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        try:
            await asyncio.sleep(4)
            metadata = (("authorization", f"Bearer {publisher.token('admin')}"),)
            yield _Service(psutil.Process(process.pid), settings.addresses["airshark"], metadata)
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def _reading(service: _Service, encoding: int) -> AsyncIterator[tuple[Any, _Readers]]:
    """Has 100 readers read the steady recording."""
    channels = [grpc.aio.insecure_channel(service.address, [("bench", n)]) for n in range(11)]
    stub: Any = AirsharkServiceStub(channels.pop())
    source = pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording="steady", loop=True)
    await stub.SetSource(pb.SetSourceRequest(settings=source), metadata=service.metadata)
    readers = _Readers()
    tasks = [
        asyncio.create_task(readers.read(channels[n % 10], service.metadata, encoding))
        for n in range(READERS)
    ]
    await asyncio.sleep(2)
    readers.begin()
    try:
        yield stub, readers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in channels:
            await channel.close()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _idle() -> None:
    async with _service() as service:
        process = service.process
        cpu_s, io = _cpu_s(process), process.io_counters()
        await asyncio.sleep(IDLE_S)
        used = (_cpu_s(process) - cpu_s) / IDLE_S * 100
        now = process.io_counters()
        table(
            f"Nobody reads and no source is chosen, for {IDLE_S:.0f} s",
            ["core %", "calls of write", "bytes written to the disk"],
            [[f"{used:.2f}", str(now.write_count - io.write_count), str(now.write_bytes - io.write_bytes)]],
        )
        print("Aims: 0.2 % of a core, nothing written.\n")


async def _fan_out() -> None:
    rows = []
    for name, encoding in (("float32", pb.ENCODING_FLOAT32), ("int8", pb.ENCODING_INT8)):
        async with _service() as service, _reading(service, encoding) as (stub, readers):
            p99s: dict[int, list[float]] = {0: [], 1: []}
            used, blocks, dropped = [], 0, 0
            # In turn, so that what else the machine does hits both alike.
            for stalled in (0, 1) * ROUNDS:
                lazy = []
                if stalled:
                    lazy = [stub.SubscribeSpectrum(pb.SubscribeSpectrumRequest(), metadata=service.metadata)]
                    await lazy[0].read()
                    await asyncio.sleep(1)
                readers.begin()
                cpu_s, begin_s = _cpu_s(service.process), time.monotonic()
                await asyncio.sleep(ROUND_S)
                used.append((_cpu_s(service.process) - cpu_s) / (time.monotonic() - begin_s) * 100)
                p99s[stalled].append(readers.p99_ms())
                blocks, dropped = blocks + readers.blocks, dropped + readers.dropped
                for call in lazy:
                    call.cancel()
            alone, beside = (statistics.median(p99s[stalled]) for stalled in (0, 1))
        rows.append(
            [
                name,
                f"{statistics.median(used):.0f}",
                f"{alone:.1f}",
                f"{beside:.1f}",
                f"{beside / alone:.2f}",
                str(blocks),
                str(dropped),
            ]
        )
    table(
        f"{READERS} gRPC readers of decoded blocks, {SAMPLES_PER_S} samples/s in {BLOCKS_PER_S} blocks/s",
        [
            "levels",
            "core of the service %",
            "p99 ms",
            "p99 ms beside a stalled reader",
            "ratio",
            "blocks",
            "lost",
        ],
        rows,
    )
    print("Aims: 60 % of a core, p99 100 ms, nothing lost, p99 at most 1.10 times with a stalled reader.\n")


def soak() -> None:
    """Measures memory over ten minutes of fan-out."""
    asyncio.run(_soak())


async def _soak() -> None:
    async with _service() as service, _reading(service, pb.ENCODING_FLOAT32) as (_, readers):
        rows = []
        for minute in range(SOAK_MINUTES + 1):
            memory = service.process.memory_full_info().pss / 2**20
            rows.append([str(minute), f"{memory:.1f}", str(readers.dropped)])
            if minute < SOAK_MINUTES:
                await asyncio.sleep(60)
    table(f"{READERS} readers for {SOAK_MINUTES} minutes", ["minute", "PSS MiB", "lost"], rows)
    growth = float(rows[-1][1]) / float(rows[1][1])
    print(f"The last minute needs {growth:.3f} times the memory of the first; aim: flat.\n")


def _steady() -> bytes:
    """Returns a recording with as many samples a second as a radio gives at its highest rate."""
    writer = container.Writer()
    samples = capture(AR9223)
    chunk = (samples * 3)[: SAMPLES_PER_S // 10 * HT20.size_bytes]
    data = writer.begin(container.Header("phy0", "recording", "benchmark", 1.0, {}))
    for number in range(100):
        data += writer.chunk(chunk, 1.0 + number / 10)
    return data + writer.end()

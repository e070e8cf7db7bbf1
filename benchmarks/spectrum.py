"""Fan-out of spectrum samples to many readers."""

import asyncio
import sys
import tempfile
import time
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
FAN_OUT_S = 15.0
BLOCKS_PER_S = 10


def main() -> None:
    """Measures fan-out."""
    asyncio.run(_fan_out())


class _Readers:
    """Counts what readers get, and how old it is."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.dropped = 0
        self.blocks = 0

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


async def _fan_out() -> None:
    rows = []
    for name, encoding in (("float32", pb.ENCODING_FLOAT32), ("int8", pb.ENCODING_INT8)):
        for stalled in (0, 1):
            rows.append(await _measured(name, encoding, stalled))
    table(
        f"{READERS} gRPC readers of decoded blocks, {SAMPLES_PER_S} samples/s in {BLOCKS_PER_S} blocks/s",
        [
            "levels",
            "stalled readers",
            "core of the service %",
            "p50 ms",
            "p99 ms",
            "blocks",
            "lost",
            "PSS growth MiB",
        ],
        rows,
    )
    print("Aims: 60 % of a core, p99 100 ms, nothing lost, p99 at most 10 % higher with a stalled reader.\n")


async def _measured(name: str, encoding: int, stalled: int) -> list[str]:
    with (
        tempfile.TemporaryDirectory(prefix="paradrop-bench-") as folder,
        settings_in(Path(folder)) as settings,
    ):
        settings.prepare()
        publisher = Publisher(settings.public_dir)
        metadata = (("authorization", f"Bearer {publisher.token('admin')}"),)
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
            address = settings.addresses["airshark"]
            async with grpc.aio.insecure_channel(address) as channel:
                stub = AirsharkServiceStub(channel)
                await asyncio.sleep(3)
                source = pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording="steady", loop=True)
                await stub.SetSource(pb.SetSourceRequest(settings=source), metadata=metadata)
                readers = _Readers()
                channels = [grpc.aio.insecure_channel(address, [("bench", n)]) for n in range(10)]
                tasks = [
                    asyncio.create_task(readers.read(channels[n % 10], metadata, encoding))
                    for n in range(READERS)
                ]
                lazy = [stub.SubscribeSpectrum(pb.SubscribeSpectrumRequest(), metadata=metadata)] * stalled
                for call in lazy:
                    await call.read()
                await asyncio.sleep(2)
                readers.latencies_ms.clear()
                readers.blocks = readers.dropped = 0
                watched = psutil.Process(process.pid)
                before, begin = watched.cpu_times(), time.monotonic()
                memory = watched.memory_full_info().pss
                await asyncio.sleep(FAN_OUT_S)
                after, seconds = watched.cpu_times(), time.monotonic() - begin
                growth = (watched.memory_full_info().pss - memory) / 2**20
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for other in channels:
                    await other.close()
        finally:
            process.terminate()
            await process.wait()
    used = (after.user + after.system - before.user - before.system) / seconds * 100
    ordered = sorted(readers.latencies_ms)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    return [
        name,
        str(stalled),
        f"{used:.0f}",
        f"{p50:.1f}",
        f"{p99:.1f}",
        str(readers.blocks),
        str(readers.dropped),
        f"{growth:+.1f}",
    ]


def _steady() -> bytes:
    """Returns a recording with as many samples a second as a radio gives at its highest rate."""
    writer = container.Writer()
    samples = capture(AR9223)
    chunk = (samples * 3)[: SAMPLES_PER_S // 10 * HT20.size_bytes]
    data = writer.begin(container.Header("phy0", "recording", "benchmark", 1.0, {}))
    for number in range(100):
        data += writer.chunk(chunk, 1.0 + number / 10)
    return data + writer.end()

"""Decoding and fan-out of spectrum samples, beside the ways in which others would do it."""

import asyncio
import ctypes
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from math import log10
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from paradrop.airshark.v1 import airshark_pb2 as pb
from paradrop.airshark.v1.airshark_pb2_grpc import AirsharkServiceStub

from benchmarks.baseline.spectrum_c import SOURCE
from benchmarks.support import table
from services.airshark.domain import container
from services.airshark.domain.decoder import Decoder
from services.airshark.domain.formats import HT20
from tests.support.captures import AR9223, capture
from tests.support.publisher import Publisher
from tests.support.settings import settings_in

TOTAL_BYTES = 200_000_000
PIECE_BYTES = 1024 * 1024
PLAIN_ROWS = 65536
NAIVE_SAMPLES = 60_000
ROUNDS = 5
SPACING_MHZ = 0.34375

READERS = 100
SAMPLES_PER_S = 8700
FAN_OUT_S = 15.0
BLOCKS_PER_S = 10


def main() -> None:
    """Measures decoding, then fan-out."""
    _decoding()
    asyncio.run(_fan_out())


def _decoding() -> None:
    once = capture(AR9223)
    data = once * (TOTAL_BYTES // len(once))
    samples = len(data) // HT20.size_bytes
    ways: dict[str, tuple[Callable[[bytes], object], bytes]] = {
        "struct loop, log10 per bin": (_struct_loop, data[: NAIVE_SAMPLES * HT20.size_bytes]),
        "structured dtype, float32 log10": (_plain_numpy, data),
        "Paradrop": (_paradrop, data),
    }
    if compiled := _compiled():
        ways["C loop, table of 256"] = (compiled, data)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    # In turn, so that what else the machine does hits all alike.
    for _ in range(ROUNDS):
        for name, (way, content) in ways.items():
            begin = time.perf_counter()
            way(content)
            seconds = time.perf_counter() - begin
            rates[name].append(len(content) / HT20.size_bytes / seconds)
    median = {name: statistics.median(rate) for name, rate in rates.items()}
    rows = [
        [name, f"{rate / 1e6:.2f}", f"{rate * HT20.size_bytes / 1e6:.0f}", f"{median['Paradrop'] / rate:.2f}"]
        for name, rate in median.items()
    ]
    table(
        f"Decoding {samples} samples of HT20 to float32 dBm and frequency (one core)",
        ["way", "M samples/s", "MB/s", "Paradrop is so many times as fast"],
        rows,
    )
    print("Aims: 80 times the struct loop, 1 time plain numpy, 0.5 times C.\n")


def _paradrop(data: bytes) -> None:
    decoder = Decoder("phy0")
    for start in range(0, len(data), PIECE_BYTES):
        for block in decoder.feed(data[start : start + PIECE_BYTES], 0.0):
            _ = block.dbm, block.axes


def _plain_numpy(data: bytes) -> None:
    records = np.frombuffer(data, HT20.dtype)
    offsets = (np.arange(56, dtype=np.float32) - 28) * np.float32(SPACING_MHZ)
    for start in range(0, len(records), PLAIN_ROWS):
        part = records[start : start + PLAIN_ROWS]
        bins = part["bins"].astype(np.float32)
        level = part["noise"].astype(np.float32) + part["rssi"]
        total = 10 * np.log10(np.maximum(np.einsum("ij,ij->i", bins, bins), 1))
        np.log10(np.maximum(bins, 1, out=bins), out=bins)
        bins *= 20
        bins += (level - total)[:, None]
        _ = part["freq"].astype(np.float32) + offsets[0]


def _struct_loop(data: bytes) -> None:
    unpack = struct.Struct(">BHBHbbHBBQ56B").unpack_from
    for start in range(0, len(data), HT20.size_bytes):
        fields = unpack(data, start)
        freq, rssi, noise, bins = fields[3], fields[4], fields[5], fields[10:]
        total = noise + rssi - 10 * log10(max(sum(value * value for value in bins), 1))
        _ = [total + 20 * log10(value or 1) for value in bins]
        _ = [freq + (number - 28) * SPACING_MHZ for number in range(56)]


def _compiled() -> Callable[[bytes], object] | None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        print("No C compiler: the C loop is left out.\n")
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "loop.c", Path(folder) / "loop.so"
        source.write_text(SOURCE)
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-lm"], check=True)
        decode: Any = ctypes.CDLL(str(library)).decode
    decode.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p]
    decode.restype = ctypes.c_size_t

    def run(data: bytes) -> None:
        rows = PLAIN_ROWS
        dbm, frequencies = np.empty((rows, 56), np.float32), np.empty(rows, np.float32)
        for start in range(0, len(data), rows * HT20.size_bytes):
            piece = data[start : start + rows * HT20.size_bytes]
            decode(piece, len(piece) // HT20.size_bytes, dbm.ctypes.data, frequencies.ctypes.data)

    return run


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

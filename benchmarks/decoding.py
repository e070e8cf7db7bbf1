"""Decoding of spectrum samples, beside the ways in which others would do it."""

import ctypes
import os
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
from typing import Any, TypeAlias

import numpy as np

from benchmarks.baseline.spectrum_c import SOURCE
from benchmarks.support import table
from services.airshark.domain.decoder import Decoder
from services.airshark.domain.formats import HT20
from tests.support.captures import AR9223, capture

TOTAL_BYTES = 200_000_000
PIECE_BYTES = 1024 * 13 * HT20.size_bytes
"""A kernel's relay file gives whole samples, 13 in each of its parts of 1024 bytes; the other ways read
all at once."""
PLAIN_ROWS = 65536
SLICE_BYTES = 262144 * HT20.size_bytes
NAIVE_SAMPLES = 5000
ROUNDS = 5
SPACING_MHZ = 0.34375

Ways: TypeAlias = dict[str, tuple[Callable[[list[bytes]], object], int]]
"""By name: what decodes, and how many bytes of a slice it is given at most."""

WITHOUT_AVX512 = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"}
"""The processors of routers have nothing like it, and numpy computes logarithms one by one there."""


def main() -> None:
    """Measures with all that this processor has, and as on one without AVX-512."""
    for environment, words in (({}, "With all of this processor"), (WITHOUT_AVX512, "Without AVX-512")):
        print(f"\n{words}:", flush=True)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.decoding"], env=os.environ | environment, check=True
        )


def _measure() -> None:
    once = capture(AR9223)
    data = once * (TOTAL_BYTES // len(once))
    samples = len(data) // HT20.size_bytes
    ways: Ways = {
        "struct loop, log10 per bin": (_of_whole(_struct_loop), NAIVE_SAMPLES * HT20.size_bytes),
        "structured dtype, float32 log10": (_of_whole(_plain_numpy), SLICE_BYTES),
        "Paradrop": (_paradrop, PIECE_BYTES),
    }
    if compiled := _compiled():
        ways["C loop, table of 256"] = (_of_whole(compiled), SLICE_BYTES)
    spent_s: dict[str, list[float]] = {name: [] for name in ways}
    # In turn and slice by slice, in time of the processor, so that what else the machine does hits all alike.
    slices = [data[start : start + SLICE_BYTES] for start in range(0, len(data), SLICE_BYTES)]
    cut = [_cut_each(ways, whole) for whole in slices]
    warm = _cut_each(ways, data[: PLAIN_ROWS * HT20.size_bytes])
    for _ in range(ROUNDS):
        for pieces in cut:
            for name, (way, _most) in ways.items():
                # The memory that the way before has given back is touched anew before the time is taken.
                way(warm[name])
                begin = time.thread_time()
                way(pieces[name])
                seconds = time.thread_time() - begin
                spent_s[name].append(seconds / (sum(map(len, pieces[name])) / HT20.size_bytes))
    rates = {name: 1 / statistics.median(spent) for name, spent in spent_s.items()}
    rows = [
        [name, f"{rate / 1e6:.2f}", f"{rate * HT20.size_bytes / 1e6:.0f}", f"{rates['Paradrop'] / rate:.2f}"]
        for name, rate in rates.items()
    ]
    table(
        f"Decoding {samples} samples of HT20 to float32 dBm and frequency (time of the processor)",
        ["way", "M samples/s", "MB/s", "Paradrop is so many times as fast"],
        rows,
    )
    print("Aims: 80 times the struct loop, 1 time plain numpy, 0.5 times C.\n")


def _cut_each(ways: Ways, whole: bytes) -> dict[str, list[bytes]]:
    return {name: _cut(whole, way, most_bytes) for name, (way, most_bytes) in ways.items()}


def _cut(whole: bytes, way: object, most_bytes: int) -> list[bytes]:
    """Returns what a way is given: the decoder all of it in pieces, the others so much in one."""
    starts = range(0, len(whole), most_bytes) if way is _paradrop else [0]
    return [whole[start : start + most_bytes] for start in starts]


def _of_whole(way: Callable[[bytes], object]) -> Callable[[list[bytes]], object]:
    return lambda cut: way(cut[0])


def _paradrop(pieces: list[bytes]) -> None:
    decoder = Decoder("phy0")
    for piece in pieces:
        for block in decoder.feed(piece, 0.0):
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


if __name__ == "__main__":
    _measure()

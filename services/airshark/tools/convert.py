"""Turns files of samples into other forms."""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from services.airshark.adapters.files import open_file
from services.airshark.domain import container
from services.airshark.domain.block import ARRAYS, SampleBlock
from services.airshark.tools.reading import Report, read_blocks

MAX_ARRAY_BYTES = 2_000_000_000
COLUMNS = (
    "index",
    "time_s",
    "tsf_us",
    "type",
    "centre_mhz",
    "first_bin_mhz",
    "spacing_mhz",
    "rssi_db",
    "noise_dbm",
    "flags",
    "dbm ...",
)


def to_raw(source: Path, target: Path) -> None:
    """Writes the kernel's bytes alone."""
    _, chunks = open_file(source)
    with _writing(target) as file:
        for chunk in chunks:
            file.write(chunk.data)


def to_recording(source: Path, target: Path) -> None:
    """Writes a recording."""
    contents, chunks = open_file(source)
    writer = container.Writer()
    first = next(chunks, None)
    header = contents.header or container.Header(
        source.stem, "recording", f"converted from {source.name}", first.wall_time_s if first else 0.0, {}
    )
    with _writing(target) as file:
        file.write(writer.begin(header))
        for chunk in (*([first] if first else []), *chunks):
            file.write(writer.chunk(chunk.data, chunk.wall_time_s, int(chunk.was_full)))
        file.write(writer.end())


def to_csv(source: Path, target: Path) -> None:
    """Writes one line for each sample: fields, then the level of each bin in dBm."""
    with _writing(target) as binary:
        lines = io.TextIOWrapper(binary, encoding="ascii", newline="")
        table = csv.writer(lines)
        table.writerow(COLUMNS)
        for block, times in read_blocks(source, Report()):
            for row in range(len(block)):
                table.writerow(_row(block, row, float(times[row])))
        lines.flush()
        lines.detach()


def _row(block: SampleBlock, row: int, time_s: float) -> list[object]:
    return [
        int(block.index[row]),
        f"{time_s:.6f}",
        int(block.tsf_us[row]),
        block.type.name.lower(),
        f"{block.centre_mhz[row]:g}",
        f"{block.first_bin_mhz[row]:.5f}",
        f"{block.spacing_mhz[row]:.5f}",
        int(block.rssi_db[row].max()),
        int(block.noise_dbm[row].max()),
        int(block.flags[row]),
        *(f"{level:.2f}" for level in block.dbm[row]),
    ]


def to_numpy(source: Path, target: Path) -> None:
    """Writes a .npz with the arrays of each kind of sample, named such as "ht20_56_dbm"."""
    found: dict[str, list[SampleBlock]] = {}
    times: dict[str, list[npt.NDArray[np.float64]]] = {}
    size = 0
    for block, taken in read_blocks(source, Report()):
        key = f"{block.type.name.lower()}_{block.bin_count}"
        found.setdefault(key, []).append(block)
        times.setdefault(key, []).append(taken)
        size += block.dbm.nbytes
        if size > MAX_ARRAY_BYTES:
            raise ValueError("The file is too large for one set of arrays; cut it into parts first.")
    arrays = {
        f"{key}_{name}": np.concatenate([getattr(block, name) for block in blocks])
        for key, blocks in found.items()
        for name in (*ARRAYS, "dbm")
    }
    arrays |= {f"{key}_time_s": np.concatenate(parts) for key, parts in times.items()}
    with _writing(target) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


FORMS: dict[str, Callable[[Path, Path], None]] = {
    "raw": to_raw,
    "csv": to_csv,
    "numpy": to_numpy,
    "recording": to_recording,
}
SUFFIXES = {".bin": "raw", ".dump": "raw", ".csv": "csv", ".npz": "numpy", ".pdspec": "recording"}


@contextmanager
def _writing(target: Path) -> Iterator[IO[bytes]]:
    """Opens a new file; "-" is the standard output, and a file that was not finished is removed."""
    if str(target) == "-":
        yield sys.stdout.buffer
        return
    with target.open("xb") as file:
        try:
            yield file
        except BaseException:
            target.unlink()
            raise

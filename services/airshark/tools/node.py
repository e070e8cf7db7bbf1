"""Talks with the node on this machine, as its owner: with the token that its own services use."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from paradrop.airshark.v1 import airshark_pb2 as pb
from paradrop.airshark.v1.airshark_pb2_grpc import AirsharkServiceStub

from services.airshark.adapters.files import FileKind, probe
from services.airshark.adapters.recording_files import SUFFIX
from services.airshark.domain.settings import NAME
from services.airshark.tools.convert import to_recording
from services.airshark.tools.watch import Row
from services.common.channels import service_metadata
from services.common.settings import load_settings
from services.common.tls import blocking_channel

CALL_TIMEOUT_S = 10.0
MAX_COLUMNS, MIN_COLUMNS = 2048, 16
KINDS = {
    pb.SOURCE_KIND_NONE: "none",
    pb.SOURCE_KIND_HARDWARE: "hardware",
    pb.SOURCE_KIND_RECORDING: "recording",
    pb.SOURCE_KIND_SIMULATED: "simulated",
}
STATES = {
    pb.SourceEvent.STATE_IDLE: "idle",
    pb.SourceEvent.STATE_RUNNING: "running",
    pb.SourceEvent.STATE_LOST: "lost",
    pb.SourceEvent.STATE_ENDED: "ended",
}


@contextmanager
def _stub() -> Iterator[tuple[Any, Any]]:
    settings = load_settings()
    with blocking_channel(settings, "airshark") as channel:
        yield AirsharkServiceStub(channel), service_metadata(settings.service_token_file)


def raw_batches() -> Iterator[tuple[pb.SampleBatch | None, str, int]]:
    """Yields batches of kernel bytes, the kind of source and how many batches were lost; None now and
    then. Raises ValueError when no source is chosen, as nothing would ever come."""
    kind = ""
    with _stub() as (stub, metadata):
        for message in stub.SubscribeRaw(pb.SubscribeRawRequest(), metadata=metadata):
            if message.HasField("source"):
                if message.source.kind == pb.SOURCE_KIND_NONE:
                    raise ValueError("No source is chosen; choose one with PUT /api/v1/airshark/source.")
                kind = KINDS.get(message.source.kind, "")
            yield (message.batch if message.HasField("batch") else None), kind, message.dropped_count


def rows(columns: int, low_mhz: float, high_mhz: float) -> Iterator[Row]:
    """Yields rows of a waterfall."""
    wanted = min(max(columns, MIN_COLUMNS), MAX_COLUMNS)
    request = pb.SubscribeWaterfallRequest(
        min_mhz=low_mhz, max_mhz=high_mhz, columns=wanted, rows_per_s=10, rows_per_tile=1
    )
    note = ""
    with _stub() as (stub, metadata):
        for message in stub.SubscribeWaterfall(request, metadata=metadata):
            if message.HasField("source"):
                source = message.source
                note = f"{STATES.get(source.state, '')}: {source.problem or source.description}"
            if not message.HasField("tile"):
                yield Row(np.zeros(0, np.float32), note)
                continue
            pixels = np.frombuffer(message.tile.levels, np.uint8).astype(np.float32)
            yield Row(np.where(pixels == 0, -200, pixels / 2 - 140).astype(np.float32)[:columns], note)


def play(file: Path, *, loop: bool, fast: bool) -> str:
    """Copies a file to the node's recordings and makes it the source; returns its name there."""
    settings = load_settings()
    folder = settings.state_dir("airshark") / "recordings"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = file.stem if NAME.fullmatch(file.stem) else time.strftime("replay-%Y%m%d-%H%M%S")
    target = folder / f"{name}{SUFFIX}"
    if not target.exists():
        if probe(file) is FileKind.RECORDING:
            shutil.copyfile(file, target)
        else:
            to_recording(file, target)
    elif not target.samefile(file):
        raise ValueError(f"The node has a recording {name} already; delete it or rename the file.")
    source = pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording=name, loop=loop, fast=fast)
    with _stub() as (stub, metadata):
        stub.SetSource(pb.SetSourceRequest(settings=source), metadata=metadata, timeout=CALL_TIMEOUT_S)
    return name

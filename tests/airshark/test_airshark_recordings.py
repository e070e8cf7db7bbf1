"""Recordings: begun and ended over the API, whole after a crash, readable while they grow."""

import asyncio
import itertools
import os
import struct
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.adapters import recording_files
from services.airshark.adapters import recordings as module
from services.airshark.adapters.files import FileKind, NoCapture, open_file, probe
from services.airshark.adapters.recorded_source import RecordedSource
from services.airshark.adapters.recording_files import summary
from services.airshark.domain import container
from tests.support import captures
from tests.support.airshark import Home, Shark, running_shark, until
from tests.support.captures import capture, capture_elsewhere, decode, ht20

ROOT = Path(__file__).parents[2]
HEADER = container.Header("phy0", "hardware", "radio phy0", 1000.0, {"period": 18})


def written(chunks: list[bytes], *, end: bool = True) -> bytes:
    writer = container.Writer()
    data = writer.begin(HEADER)
    for number, chunk in enumerate(chunks):
        data += writer.chunk(chunk, 1000.0 + number / 10)
    return data + (writer.end() if end else b"")


def parsed(data: bytes, piece_bytes: int = 10**9) -> tuple[list[container.Frame], int]:
    parser = container.Parser()
    frames = []
    for start in range(0, len(data), piece_bytes):
        frames += list(parser.feed(data[start : start + piece_bytes]))
    return frames, parser.damaged_bytes


CHUNKS = [ht20(tsf=n) * 3 for n in range(50)]


@pytest.mark.parametrize("piece_bytes", [1, 13, 1000, 10**6])
def test_what_was_written_is_read(piece_bytes: int) -> None:
    frames, damaged = parsed(written(CHUNKS), piece_bytes)
    assert damaged == 0
    assert container.to_header(frames[0]) == HEADER
    chunks = [chunk for frame in frames if (chunk := container.to_chunk(frame))]
    assert [chunk.data for chunk in chunks] == CHUNKS
    assert [chunk.wall_time_s for chunk in chunks] == pytest.approx([1000 + n / 10 for n in range(50)])


def test_the_index_leads_to_chunks() -> None:
    data = written(CHUNKS)
    end = data[-container.END_FRAME_BYTES :]
    assert end.startswith(container.SYNC + b"E")
    (offset,) = container.END.unpack(end[-container.END.size :])
    index = next(container.Parser(offset).feed(data[offset:]))
    entries = container.to_index(index)
    assert [time_s for time_s, _ in entries] == pytest.approx([1000, 1001, 1002, 1003, 1004])
    for time_s, at in entries:
        chunk = container.to_chunk(next(container.Parser(at).feed(data[at:])))
        assert chunk is not None
        assert chunk.wall_time_s == pytest.approx(time_s)


def test_a_file_that_was_cut_off_is_read_up_to_there() -> None:
    data = written(CHUNKS, end=False)
    for cut in range(len(data) - 400, len(data)):
        frames, damaged = parsed(data[:cut])
        chunks = [chunk for frame in frames if (chunk := container.to_chunk(frame))]
        assert [chunk.data for chunk in chunks] == CHUNKS[: len(chunks)]
        assert len(chunks) >= 48
        assert damaged == 0


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=40))
def test_damage_costs_the_frames_that_it_hits(position: int, garbage: bytes) -> None:
    data = written(CHUNKS)
    at = len(container.MAGIC) + position % (len(data) - len(container.MAGIC))
    damaged = data[:at] + garbage + data[at + len(garbage) :]
    frames, _ = parsed(damaged, 777)
    chunks = [chunk.data for frame in frames if (chunk := container.to_chunk(frame))]
    assert len(chunks) >= len(CHUNKS) - 3
    assert all(chunk in CHUNKS for chunk in chunks)


@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.integers(1, 100))
def test_any_bytes_can_be_parsed(data: bytes, piece_bytes: int) -> None:
    for prefix in (b"", container.MAGIC, written(CHUNKS[:2])):
        frames, _ = parsed(prefix + data, piece_bytes)
        for frame in frames:
            container.to_header(frame), container.to_chunk(frame), container.to_index(frame)


@pytest.mark.parametrize("document", [b"{}", b"[]", b"\xff", b'{"version": 9}', b"[" * 100_000])
def test_headers_of_others_are_no_headers(document: bytes) -> None:
    assert container.to_header(container.Frame(b"H", document, 0)) is None


def test_files_of_all_kinds_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "file"
    raw = capture(captures.AR9223)
    kinds = {
        FileKind.RAW: raw,
        FileKind.RECORDING: written([raw]),
        FileKind.CHUNKS: b"".join(struct.pack("<I", len(c)) + c for c in (raw[:760], raw[760:])),
    }
    for kind, data in kinds.items():
        path.write_bytes(data)
        contents, chunks = open_file(path)
        assert contents.kind is kind
        found = list(chunks)
        assert b"".join(chunk.data for chunk in found) == raw
        assert all(chunk.wall_time_s for chunk in found)
    for nonsense in (b"", b"hello", bytes(1000), b"\x00" * 3):
        path.write_bytes(nonsense)
        with pytest.raises(NoCapture):
            probe(path)


def test_a_file_of_length_prefixed_chunks_that_may_not_be_copied_here(tmp_path: Path) -> None:
    path = tmp_path / "dump.bin"
    path.write_bytes(capture_elsewhere("rfelten_dump_2017-02-23.bin"))
    contents, chunks = open_file(path)
    found = list(chunks)
    assert contents.kind is FileKind.CHUNKS
    _, counts = decode(b"".join(chunk.data for chunk in found))
    assert counts["samples"] == 3111
    assert found[-1].wall_time_s - found[0].wall_time_s == pytest.approx(5.0, abs=0.4)


async def finished(shark: Shark, name: str) -> pb.Recording:
    async with asyncio.timeout(20):
        while True:
            found = (await shark.call("ListRecordings")).recordings
            ours = [recording for recording in found if recording.name.startswith(name)]
            if ours and not any(recording.active for recording in ours):
                return ours[-1]
            await asyncio.sleep(0.05)


async def contents(shark: Shark, name: str, **range_: int) -> bytes:
    return b"".join([m.data async for m in shark.stream("ReadRecording", name=name, **range_)])


async def test_a_recording_holds_what_the_source_gave(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9223))
    raw = shark.stream("SubscribeRaw")
    await until(raw, lambda m: m.HasField("batch"))
    begun = (await shark.call("StartRecording", name="first")).recording
    assert not begun.HasField("start_time") or begun.start_time.seconds > 1e9
    assert (begun.name, begun.active) == ("first", True)
    # Under load the first stream may still hold batches from before.
    last = (await until(shark.stream("SubscribeRaw"), lambda m: m.HasField("batch")))[-1].batch.sequence
    await until(raw, lambda m: m.batch.sequence >= last + 10)
    ended = (await shark.call("StopRecording", name="first")).recording
    assert not ended.active
    assert ended.chunk_count > 3
    assert ended.source_kind == pb.SOURCE_KIND_RECORDING
    assert (await shark.call("StopRecording", name="first")).recording == ended
    data = await contents(shark, "first")
    assert len(data) == ended.size_bytes
    assert await contents(shark, "first", offset=10, length=7) == data[10:17]
    frames, damaged = parsed(data)
    assert damaged == 0
    _, counts = decode(b"".join(c.data for f in frames if (c := container.to_chunk(f))))
    assert counts["samples"] > 50
    # What was recorded can be the source itself.
    settings = pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording="first", fast=True)
    await shark.call("SetSource", settings=settings)
    await until(shark.stream("SubscribeSpectrum"), lambda m: m.HasField("block"))


async def test_a_recording_can_be_read_while_it_grows(shark: Shark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_INTERVAL_S", 0.1)
    await shark.play("camera", capture(captures.AR9223))
    await shark.call("StartRecording", name="growing")
    async with asyncio.timeout(10):
        while True:
            frames, damaged = parsed(await contents(shark, "growing"))
            if sum(frame.kind == b"C" for frame in frames) > 3:
                break
            await asyncio.sleep(0.05)
    assert damaged == 0
    assert (await shark.call("ListRecordings")).recordings[-1].active
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shark.call("DeleteRecording", name="growing")
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await shark.call("StopRecording", name="growing")
    await shark.call("DeleteRecording", name="growing")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await contents(shark, "growing")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_it_ends_at_its_size(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9550), fast=True)
    await shark.call("StartRecording", name="small", max_bytes=100_000)
    recording = await finished(shark, "small")
    assert 50_000 < recording.size_bytes <= 100_000
    assert parsed(await contents(shark, "small"))[1] == 0


async def test_it_ends_at_its_time(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9223))
    await shark.call("StartRecording", name="short", max_s=0.5)
    assert (await finished(shark, "short")).duration_s < 2


async def test_files_rotate(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9550), fast=True)
    await shark.call("StartRecording", name="ring", max_bytes=100_000, keep_files=3)
    async with asyncio.timeout(20):
        while True:
            names = [r.name for r in (await shark.call("ListRecordings")).recordings if r.name != "camera"]
            if names and names[-1] >= "ring-000006":
                break
            await asyncio.sleep(0.05)
    await shark.call("StopRecording", name="ring")
    left = [r for r in (await shark.call("ListRecordings")).recordings if r.name != "camera"]
    assert 1 < len(left) <= 3
    assert not any(recording.active for recording in left)
    assert all(recording.size_bytes <= 100_000 for recording in left)


async def test_it_ends_well_when_the_service_stops(home: Any) -> None:
    async with running_shark(home) as shark:
        await shark.play("camera", capture(captures.AR9223))
        await shark.call("StartRecording", name="last")
        await asyncio.sleep(0.5)
        path = shark.recordings / "last.pdspec"
    data = await asyncio.to_thread(path.read_bytes)
    assert data[-container.END_FRAME_BYTES :].startswith(container.SYNC + b"E")
    header, _, chunks = await asyncio.to_thread(summary, path)
    assert header is not None
    assert chunks >= 1


@pytest.mark.thorough
async def test_a_service_that_is_killed_leaves_what_it_wrote_and_any_cut_of_it_is_read(home: Home) -> None:
    environment = {
        "PARADROP_HOME": str(home.settings.home),
        "PARADROP_RUNTIME": str(home.settings.runtime),
        "PATH": os.environ["PATH"],
    }
    program = Path(sys.executable).with_name("paradrop")
    address = home.settings.addresses["airshark"]
    process = await asyncio.create_subprocess_exec(
        program, "serve", "airshark", "--log-level", "error", env=environment
    )
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            await asyncio.wait_for(channel.channel_ready(), 30)
            shark = Shark(home.settings, channel, home.publisher)
            await shark.play("camera", capture(captures.AR9223))
            await shark.call("StartRecording", name="killed")
            path = shark.recordings / "killed.pdspec"
            async with asyncio.timeout(20):
                while (await shark.call("ListRecordings")).recordings[1].chunk_count < 12:
                    await asyncio.sleep(0.2)
    finally:
        process.kill()
        await process.wait()
    data = await asyncio.to_thread(path.read_bytes)
    frames, damaged = parsed(data)
    assert damaged == 0
    assert container.to_header(frames[0]) is not None
    chunks = [chunk for frame in frames if (chunk := container.to_chunk(frame))]
    assert len(chunks) >= 12
    # The records of the camera, from the first on and over and over.
    recorded = b"".join(chunk.data for chunk in chunks)
    source = capture(captures.AR9223)
    assert recorded == (source * (len(recorded) // len(source) + 1))[: len(recorded)]
    # What a power cut leaves may end at any byte.
    ends = [after.offset for after in frames[1:]] + [len(data)]
    for cut in range(ends[-4], len(data)):
        found, damaged = parsed(data[:cut])
        assert found == frames[: sum(end <= cut for end in ends)]
        assert damaged == 0
    async with running_shark(home) as shark:
        recording = (await shark.call("ListRecordings")).recordings[1]
        assert (recording.name, recording.active, recording.chunk_count) == ("killed", False, len(chunks))
        await shark.call(
            "SetSource", settings=pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording="killed")
        )
        blocks = await until(shark.stream("SubscribeSpectrum"), lambda m: m.HasField("block"))
        assert blocks[-1].block.sample_count > 0


async def test_what_was_recorded_reaches_the_disk_now_and_then(
    shark: Shark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_INTERVAL_S", 0.1)
    monkeypatch.setattr(module, "SYNC_INTERVAL_S", 0.5)
    synced: list[float] = []
    really = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        synced.append(time.monotonic())
        really(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    await shark.play("camera", capture(captures.AR9223))
    await shark.call("StartRecording", name="made")
    await asyncio.sleep(2.2)
    await shark.call("StopRecording", name="made")
    assert 2 <= len(synced) <= 5
    assert all(later - earlier >= 0.4 for earlier, later in itertools.pairwise(synced))


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"name": "../up"}, "INVALID_ARGUMENT", "name"),
        ({"name": "camera"}, "ALREADY_EXISTS", "camera"),
        ({"max_bytes": 5}, "INVALID_ARGUMENT", "max_bytes"),
        ({"max_bytes": float("inf")}, "INVALID_ARGUMENT", "max_bytes"),
        ({"max_s": float("nan")}, "INVALID_ARGUMENT", "max_s"),
        ({"keep_files": 1}, "INVALID_ARGUMENT", "keep_files"),
    ],
)
async def test_what_cannot_be_recorded_is_refused(
    shark: Shark, fields: dict[str, Any], code: str, word: str
) -> None:
    await shark.play("camera", capture(captures.AR9223))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shark.call("StartRecording", **fields)
    assert refused.value.code().name == code
    assert word in (refused.value.details() or "")
    assert [r.name for r in (await shark.call("ListRecordings")).recordings] == ["camera"]


async def test_a_full_disk_is_told(shark: Shark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_files, "SPARE_BYTES", 2**62)
    await shark.play("camera", capture(captures.AR9223))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shark.call("StartRecording", name="more")
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_recording_from_elsewhere_is_played_beside_a_scenario(home: Home, tmp_path: Path) -> None:
    kitchen = ROOT / "examples" / "airshark" / "kitchen.yaml"
    given = tmp_path / "A camera (1).dump"
    data = capture("ffteval_ar9223_analog_camera_ch1.dump")
    await asyncio.to_thread(given.write_bytes, data)
    settings = replace(home.settings, spectrum_scenario=kitchen, spectrum_recording=given)
    for _ in range(2):  # What is deleted is there again after the next start.
        async with running_shark(replace(home, settings=settings)) as shark:
            found = await shark.call("GetSource")
            assert found.settings.kind == pb.SOURCE_KIND_SIMULATED
            assert [each.settings.recording for each in found.more] == ["A-camera-1"]
            listed = await shark.call("ListRecordings")
            assert [(each.name, each.size_bytes) for each in listed.recordings] == [("A-camera-1", len(data))]
            await until(shark.stream("SubscribeRaw", radio="A-camera-1"), lambda m: m.batch.data)
            await shark.call("DeleteRecording", name="A-camera-1")
            assert not (await shark.call("ListRecordings")).recordings
            assert await asyncio.to_thread(given.read_bytes) == data


async def test_a_short_recording_is_not_played_faster_than_it_was_made(tmp_path: Path) -> None:
    # This one holds a few milliseconds, and is read as one chunk.
    path = tmp_path / "short.pdspec"
    await asyncio.to_thread(path.write_bytes, capture("ffteval_ath10k_80mhz.dump"))
    began_s = time.monotonic()
    source = RecordedSource(path, loop=True)
    async with aclosing(source.chunks()) as chunks:
        for _ in range(5):
            await anext(chunks)
    assert time.monotonic() - began_s > 0.35


async def test_the_list_has_pages(shark: Shark) -> None:
    for name in ("a", "b", "c"):
        await shark.play(name, capture(captures.AR9223))
    first = await shark.call("ListRecordings", page_size=2)
    assert [r.name for r in first.recordings] == ["a", "b"]
    second = await shark.call("ListRecordings", page_size=2, page_token=first.next_page_token)
    assert [r.name for r in second.recordings] == ["c"]
    assert second.next_page_token == ""

"""Streams of a running service, read by real gRPC clients."""

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from grpc_status import rpc_status
from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.app import running
from tests.support import captures
from tests.support.airshark import Home, Shark, running_shark, until
from tests.support.captures import capture, decode
from tests.support.cases import thorough_but
from tests.support.pending import answers, health


async def test_without_a_source_it_says_so(shark: Shark) -> None:
    status = await shark.call("GetStatus", user="user")
    assert (status.hardware_ready, status.software_ready, status.airshark_running) == (False, False, False)
    assert status.source_kind == pb.SOURCE_KIND_NONE
    messages = await until(
        shark.stream("SubscribeRaw"), lambda m: m.source.state == pb.SourceEvent.STATE_LOST
    )
    assert messages[1].HasField("synced")
    assert "PUT /api/v1/airshark/source" in messages[-1].source.problem
    for rpc in ("GetChannelUtilisation", "StartRecording"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await shark.call(rpc)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_raw_bytes_come_as_the_kernel_wrote_them(shark: Shark) -> None:
    data = capture(captures.AR9550)
    stream = shark.stream("SubscribeRaw", user="user")
    await until(stream, lambda m: m.HasField("synced"))
    await shark.play("camera", data, loop=False, fast=True)
    messages = await until(stream, lambda m: m.source.state == pb.SourceEvent.STATE_ENDED)
    batches = [message.batch for message in messages if message.HasField("batch")]
    assert b"".join(batch.data for batch in batches) == data
    assert [batch.sequence for batch in batches] == list(range(len(batches)))
    assert {batch.interface for batch in batches} == {"camera"}
    for batch in batches:
        assert decode(batch.data)[1].keys() <= {"samples", "saturated", "tsf_step"}
    source = await shark.call("GetSource")
    assert source.counts["samples"] == 798
    assert source.state.kind == pb.SOURCE_KIND_RECORDING
    status = await shark.call("GetStatus")
    assert (status.hardware_ready, status.software_ready, status.airshark_running) == (False, True, False)


@pytest.mark.parametrize("encoding", [pb.ENCODING_FLOAT32, pb.ENCODING_INT8, pb.ENCODING_NUMBERS])
async def test_blocks_hold_what_was_decoded(shark: Shark, encoding: int) -> None:
    data = capture(captures.AR9550)
    stream = shark.stream("SubscribeSpectrum", encoding=encoding)
    await until(stream, lambda m: m.HasField("synced"))
    await shark.play("camera", data, loop=False, fast=True)
    messages = await until(stream, lambda m: m.source.state == pb.SourceEvent.STATE_ENDED)
    blocks = [message.block for message in messages if message.HasField("block")]
    assert [block.sequence for block in blocks] == list(range(len(blocks)))
    expected, _ = decode(data)
    for bins in (56, 128):
        theirs = [block for block in blocks if block.bin_count == bins]
        (ours,) = (block for block in expected if block.bin_count == bins)
        if encoding == pb.ENCODING_NUMBERS:
            dbm = np.concatenate([np.array(block.levels).reshape(-1, bins) for block in theirs])
        else:
            dtype = "<f4" if encoding == pb.ENCODING_FLOAT32 else "i1"
            dbm = np.concatenate([np.frombuffer(block.dbm, dtype).reshape(-1, bins) for block in theirs])
        tolerance = {pb.ENCODING_FLOAT32: 0, pb.ENCODING_INT8: 0.5, pb.ENCODING_NUMBERS: 0.006}[encoding]
        wanted = np.clip(ours.dbm, -128, 127) if encoding == pb.ENCODING_INT8 else ours.dbm
        np.testing.assert_allclose(dbm, wanted, rtol=0, atol=tolerance)
        tsf = np.concatenate([np.frombuffer(block.tsf_us, "<u8") for block in theirs])
        assert tsf.tolist() == ours.tsf_us.tolist()
        first = [
            block.axes[number].first_bin_mhz
            for block in theirs
            for number in np.frombuffer(block.axis_index, "<u2")
        ]
        assert first == ours.first_bin_mhz.tolist()
        assert sum(block.sample_count for block in theirs) == len(ours)


async def test_filters(shark: Shark) -> None:
    stream = shark.stream("SubscribeSpectrum", min_mhz=2430, max_mhz=2445, every=2)
    other = shark.stream("SubscribeSpectrum", radio="phy7")
    await until(stream, lambda m: m.HasField("synced"))
    await until(other, lambda m: m.HasField("synced"))
    await shark.play("camera", capture(captures.AR9223), loop=False, fast=True)
    messages = await until(stream, lambda m: m.source.state == pb.SourceEvent.STATE_ENDED)
    (ours,), _ = decode(capture(captures.AR9223))
    wanted = (ours.index % 2 == 0) & (ours.centre_mhz >= 2430) & (ours.centre_mhz <= 2445)
    assert sum(m.block.sample_count for m in messages) == wanted.sum() > 0
    centres = {axis.centre_mhz for m in messages for axis in m.block.axes}
    assert centres == set(ours.centre_mhz[wanted].tolist())
    messages = await until(other, lambda m: m.source.state == pb.SourceEvent.STATE_ENDED)
    assert not any(m.HasField("block") for m in messages)


async def test_several_radios_are_told_apart_filtered_and_recorded(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9223))
    await shark.play("other", capture(captures.AR9280))
    one, other = (
        pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording=name, loop=True)
        for name in ("camera", "other")
    )
    answer = await shark.call("SetSource", settings=one, more=[other])
    stream = shark.stream("SubscribeSpectrum")
    assert [settings.recording for settings in answer.more] == ["other"]
    seen: dict[str, list[int]] = {"camera": [], "other": []}
    async for message in stream:
        if message.HasField("block"):
            seen[message.block.radio].append(message.block.sequence)
        if min(map(len, seen.values())) >= 3:
            break
    for sequences in seen.values():
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))

    only = await until(shark.stream("SubscribeSpectrum", radio="other"), lambda m: m.block.sequence >= 3)
    assert {message.block.radio for message in only if message.HasField("block")} == {"other"}
    assert [message.source.radio for message in only[:2]] == ["camera", "other"]
    raw = await until(shark.stream("SubscribeRaw", radio="other"), lambda m: m.batch.sequence >= 1)
    assert {message.batch.interface for message in raw if message.HasField("batch")} == {"other"}

    source = await shark.call("GetSource")
    assert source.counts["samples"] > 0
    [report] = source.more
    assert (report.settings.recording, report.state.radio) == ("other", "other")
    assert report.counts["samples"] > 0

    await shark.call("StartRecording", name="made", radio="other")
    await asyncio.sleep(1.5)
    made = (await shark.call("StopRecording", name="made")).recording
    assert made.radio == "other"
    assert made.chunk_count > 0
    used = await shark.call("GetChannelUtilisation", window_s=1, radio="other")
    assert used.channels
    for rpc in ("StartRecording", "GetChannelUtilisation"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await shark.call(rpc, radio="none")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    stream.cancel()


async def test_sources_that_make_no_sense_together_change_nothing(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9223))
    camera = pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording="camera", loop=True)
    none = pb.SourceSettings(kind=pb.SOURCE_KIND_NONE)
    wrong = pb.SourceSettings(kind=pb.SOURCE_KIND_HARDWARE, phy="../x")
    for settings, more, field in (
        (camera, [camera], "more"),
        (camera, [none], "more[0].kind"),
        (none, [camera], "settings.kind"),
        (camera, [wrong], "more[0].phy"),
        (camera, [pb.SourceSettings()], "more[0].kind"),
        (camera, [camera] * 8, "more"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await shark.call("SetSource", settings=settings, more=more)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        status = rpc_status.from_call(refused.value)
        assert field in str(status.details), (field, status)
    source = await shark.call("GetSource")
    assert source.settings.recording == "camera"
    assert not source.more


async def test_several_sources_survive_a_restart(home: Home) -> None:
    async with running_shark(home) as shark:
        await shark.play("camera", capture(captures.AR9223))
        camera = pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording="camera", loop=True)
        gone = pb.SourceSettings(kind=pb.SOURCE_KIND_HARDWARE, phy="phy7")
        await shark.call("SetSource", settings=camera, more=[gone])
    async with running_shark(home) as shark:
        source = await shark.call("GetSource")
        assert (source.settings.recording, source.more[0].settings.phy) == ("camera", "phy7")
        status = await shark.call("GetStatus")
        assert (status.hardware_ready, status.software_ready) == (False, True)


STATISTICS = [pb.STATISTIC_MAX, pb.STATISTIC_MEAN, pb.STATISTIC_PERCENTILE]


@pytest.mark.parametrize("statistic", thorough_but(STATISTICS, pb.STATISTIC_PERCENTILE))
async def test_a_sweep_puts_the_band_together(shark: Shark, statistic: int) -> None:
    await shark.play("camera", capture(captures.AR9223))
    stream = shark.stream("SubscribeSweep", rate_hz=1, statistic=statistic, percentile=90)
    sweep = (await until(stream, lambda m: m.HasField("sweep")))[-1].sweep
    levels, counts = np.array(sweep.dbm), np.array(sweep.sample_counts)
    frequencies = sweep.start_mhz + sweep.step_mhz * np.arange(len(levels))
    assert ((levels > -200) == (counts > 0)).all()
    seen = frequencies[counts > 0]
    assert seen.min() < 2404
    assert seen.max() > 2420
    if statistic != pb.STATISTIC_PERCENTILE:
        assert frequencies[levels.argmax()] == pytest.approx(2414.3, abs=1.0)


async def test_waterfall_tiles_show_the_camera(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9223))
    stream = shark.stream(
        "SubscribeWaterfall", min_mhz=2400, max_mhz=2440, columns=80, rows_per_s=5, rows_per_tile=2
    )
    tile = (await until(stream, lambda m: m.HasField("tile")))[-1].tile
    assert (tile.rows, tile.columns, len(tile.levels)) == (2, 80, 160)
    pixels = np.frombuffer(tile.levels, np.uint8).reshape(2, 80)
    column = pixels.max(axis=0).argmax()
    assert tile.min_mhz + (column + 0.5) * 0.5 == pytest.approx(2414.3, abs=1.0)


async def test_utilisation_tells_busy_channels_from_quiet_ones(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9223))
    reply = await shark.call("GetChannelUtilisation", user="user", window_s=1)
    found = {channel.channel: channel for channel in reply.channels}
    assert found[1].busy_share > 0.8
    assert found[1].max_dbm > found[11].max_dbm if 11 in found else True
    for channel in reply.channels:
        assert 0 <= channel.busy_share <= 1
        assert channel.noise_dbm <= channel.max_dbm


async def test_the_analyzer_tells_of_source_and_channels(shark: Shark) -> None:
    stream = shark.stream("SubscribeAnalyzer")
    await until(stream, lambda m: m.HasField("synced"))
    await shark.play("camera", capture(captures.AR9223))
    messages = await until(
        stream, lambda m: m.HasField("detection") and m.detection["event"] == "utilisation"
    )
    events = [json_format.MessageToDict(m.detection) for m in messages if m.HasField("detection")]
    assert {"source", "utilisation"} <= {event["event"] for event in events}
    source = [event for event in events if event["event"] == "source"][-1]
    assert (source["state"], source["source_kind"]) == ("running", "recording")
    assert events[-1]["channels"][0]["channel"] == 1


async def test_a_source_that_is_lost_and_returns_is_told(shark: Shark, tmp_path: Path) -> None:
    await shark.play("camera", capture(captures.AR9223))
    path = shark.recordings / "camera.pdspec"
    await asyncio.to_thread(path.rename, tmp_path / "away")
    stream = shark.stream("SubscribeSpectrum")
    lost = await until(stream, lambda m: m.source.state == pb.SourceEvent.STATE_LOST)
    assert "camera.pdspec" in lost[-1].source.problem
    assert not (await shark.call("GetStatus")).software_ready
    await asyncio.to_thread((tmp_path / "away").rename, path)
    back = await until(stream, lambda m: m.HasField("block"))
    assert any(m.source.state == pb.SourceEvent.STATE_RUNNING for m in back)
    assert (await shark.call("GetStatus")).airshark_running


@pytest.mark.thorough
async def test_a_reader_that_lags_loses_the_oldest_and_is_told(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9550), fast=True)
    slow = shark.stream("SubscribeSpectrum", max_blocks_per_s=20)
    await until(slow, lambda m: m.HasField("block"))
    # Fills the windows of the connection and then the queue.
    await asyncio.sleep(4)
    messages = await until(slow, lambda m: m.dropped_count > 0)
    before = [m.block.sequence for m in messages[:-1] if m.HasField("block")]
    lost = messages[-1]
    assert lost.block.sequence - before[-1] - 1 == lost.dropped_count


async def test_nobody_reading_means_nothing_is_read(shark: Shark) -> None:
    await shark.play("camera", capture(captures.AR9223))
    assert (await shark.call("GetSource")).state.state == pb.SourceEvent.STATE_IDLE
    stream = shark.stream("SubscribeRaw")
    await until(stream, lambda m: m.HasField("batch"))
    assert (await shark.call("GetSource")).reader_count == 1
    stream.cancel()
    async with asyncio.timeout(10):
        while (await shark.call("GetSource")).state.state != pb.SourceEvent.STATE_IDLE:
            await asyncio.sleep(0.02)
    assert (await shark.call("GetSource")).reader_count == 0


async def test_streams_end_in_band_when_the_service_stops(home: Home) -> None:
    async with grpc.aio.insecure_channel(home.settings.addresses["airshark"]) as channel:
        async with running(home.settings):
            shark = Shark(home.settings, channel, home.publisher)
            await shark.play("camera", capture(captures.AR9223))
            stream = shark.stream("SubscribeSpectrum")
            await until(stream, lambda m: m.HasField("block"))
            reading = asyncio.ensure_future(until(stream, lambda m: m.HasField("end")))
        assert (await reading)[-1].end.status.code == 0


@pytest.mark.parametrize(
    ("rpc", "fields", "field"),
    [
        ("SubscribeSpectrum", {"max_blocks_per_s": 21}, "max_blocks_per_s"),
        ("SubscribeSpectrum", {"min_mhz": 3000, "max_mhz": 2000}, "max_mhz"),
        ("SubscribeSweep", {"rate_hz": 50}, "rate_hz"),
        ("SubscribeSweep", {"min_mhz": float("nan")}, "min_mhz"),
        ("SubscribeWaterfall", {"columns": 5000}, "columns"),
        ("SubscribeWaterfall", {"min_mhz": 2400, "max_mhz": 5000}, "max_mhz"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    shark: Shark, rpc: str, fields: dict[str, float], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await until(shark.stream(rpc, **fields), lambda m: True)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (refused.value.details() or "")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "kind"),
        ({"kind": "SOURCE_KIND_HARDWARE", "phy": "../../etc"}, "phy"),
        ({"kind": "SOURCE_KIND_HARDWARE", "phy": "phy0", "hop_mhz": [100]}, "hop_mhz"),
        ({"kind": "SOURCE_KIND_HARDWARE", "phy": "phy0", "spectral_period": 999}, "spectral_period"),
        ({"kind": "SOURCE_KIND_RECORDING", "recording": "../source"}, "recording"),
    ],
)
async def test_a_wrong_source_changes_nothing(shark: Shark, settings: dict[str, str], field: str) -> None:
    await shark.play("camera", capture(captures.AR9223))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shark.call("SetSource", settings=json_format.ParseDict(settings, pb.SourceSettings()))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (refused.value.details() or "")
    assert (await shark.call("GetSource")).settings.recording == "camera"


async def test_the_choice_survives_a_restart(home: Home) -> None:
    async with running_shark(home) as shark:
        await shark.play("camera", capture(captures.AR9223))
    async with running_shark(home) as shark:
        assert (await shark.call("GetSource")).settings.recording == "camera"
        await until(shark.stream("SubscribeRaw"), lambda m: m.HasField("batch"))


@pytest.fixture
def damaged_home(home: Home) -> Home:
    (home.settings.state_dir("airshark") / "source.json").write_text('{"kind": ')
    return home


async def test_a_choice_that_was_damaged_is_no_choice(damaged_home: Home) -> None:
    async with running_shark(damaged_home) as shark:
        assert (await shark.call("GetStatus")).source_kind == pb.SOURCE_KIND_NONE


async def test_every_rpc_needs_a_token_and_the_service_is_healthy(shark: Shark) -> None:
    service = pb.DESCRIPTOR.services_by_name["AirsharkService"]
    address = shark.settings.addresses["airshark"]
    refused = ("UNAUTHENTICATED", "CREDENTIALS_MISSING")
    assert await answers(address, service, None) == {method.name: refused for method in service.methods}
    assert await health(address, service.full_name) == "SERVING"

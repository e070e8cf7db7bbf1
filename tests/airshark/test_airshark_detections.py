"""Detections over gRPC: a running service analyses a simulated radio's bytes, read by real clients."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from paradrop.airshark.v1 import airshark_pb2, detections_pb2
from paradrop.airshark.v1.detections_pb2_grpc import DetectionServiceStub
from paradrop.process.v1 import process_pb2, process_pb2_grpc

from services.airshark.adapters.detection_store import MIGRATIONS, AnalysisSettingsFile, DetectionStore
from services.airshark.analysis.found import Device
from services.airshark.analysis.lifecycle import Track
from services.airshark.domain.air_quality import channels_of, quality_of, recommended, worst_of
from services.airshark.domain.analysis_settings import AnalysisSettings
from services.airshark.domain.detections import Detection
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from services.airshark.simulator.simulate import simulate
from services.common.database import Database
from tests.support.airshark import Home, Shark, running_shark, until

VIDEO = Scenario(2.0, 9001, (DeviceSpec("analog_video", -50.0),))


@pytest.fixture(scope="module")
def video() -> bytes:
    return b"".join(simulate(VIDEO))


@pytest.fixture(scope="module")
def phone() -> bytes:
    return b"".join(simulate(Scenario(2.0, 9002, (DeviceSpec("fhss_phone", -60.0),))))


def rpc(shark: Shark, name: str, user: str = "admin", **fields: Any) -> Any:
    request = getattr(detections_pb2, f"{name}Request")(**fields)
    return getattr(DetectionServiceStub(shark.channel), name)(request, metadata=shark.metadata(user))


async def test_state_then_synced_then_changes_and_history(shark: Shark, video: bytes) -> None:
    first = rpc(shark, "WatchDetections", user="user")
    assert (await until(first, lambda m: m.HasField("synced"))) == [
        detections_pb2.WatchDetectionsResponse(synced={})
    ]
    await shark.play("camera", video)
    seen = await until(first, lambda m: m.HasField("detection"))
    detection = seen[-1].detection
    assert detection.device == detections_pb2.DEVICE_KIND_ANALOG_VIDEO
    assert detection.active
    assert abs(detection.rssi_dbm + 50) < 5
    assert detection.channels
    assert detection.model_version
    # A second reader gets the state before "synced".
    second = rpc(shark, "WatchDetections")
    before = await until(second, lambda m: m.HasField("synced"))
    assert [m.detection.id for m in before[:-1]] == [detection.id]
    listed = await rpc(shark, "ListDetections")
    assert [each.id for each in listed.detections] == [detection.id]
    late = {"start_time": {"seconds": 4_000_000_000}}
    assert not (await rpc(shark, "ListDetections", **late)).detections
    kinds = await rpc(shark, "ListDetections", device=detections_pb2.DEVICE_KIND_ZIGBEE)
    assert not kinds.detections
    quality = await rpc(shark, "GetAirQuality")
    assert len(quality.channels) == 13
    hit = [each for each in quality.channels if each.worst]
    assert {each.channel for each in hit} == set(detection.channels)
    assert all(each.quality < 80 for each in hit)
    assert quality.recommended_channel not in detection.channels
    analysis = await rpc(shark, "GetAnalysis")
    assert analysis.running
    assert analysis.sample_count > 1000


async def test_each_radio_has_an_analyzer_of_its_own(shark: Shark, video: bytes, phone: bytes) -> None:
    await shark.play("one", video)
    await shark.play("two", phone)
    stream = rpc(shark, "WatchDetections")
    sources = [
        airshark_pb2.SourceSettings(kind=airshark_pb2.SOURCE_KIND_RECORDING, recording=name, loop=True)
        for name in ("one", "two")
    ]
    await shark.call("SetSource", settings=sources[0], more=sources[1:])
    heard: dict[str, set[int]] = {"one": set(), "two": set()}
    channels: dict[str, set[int]] = {"one": set(), "two": set()}
    async with asyncio.timeout(20):
        async for message in stream:
            if message.HasField("detection"):
                heard[message.detection.radio].add(message.detection.device)
                channels[message.detection.radio] |= set(message.detection.channels)
            if all(heard.values()):
                break
    assert heard == {
        "one": {detections_pb2.DEVICE_KIND_ANALOG_VIDEO},
        "two": {detections_pb2.DEVICE_KIND_FHSS_PHONE},
    }
    quality = await rpc(shark, "GetAirQuality")
    worst = {each.channel: {device.radio for device in each.worst} for each in quality.channels}
    # Only the camera's channels have it as their worst; everywhere else the phone is what there is.
    assert {channel for channel, radios in worst.items() if radios == {"one"}} == channels["one"]
    assert {channel for channel, radios in worst.items() if radios == {"two"}} == set(
        range(1, 14)
    ) - channels["one"]
    # A radio that is not read any more takes its devices along.
    await shark.call("SetSource", settings=sources[1])
    again = rpc(shark, "WatchDetections")
    known = await until(again, lambda m: m.HasField("synced"))
    assert {m.detection.radio for m in known if m.HasField("detection")} <= {"two"}


@pytest.mark.parametrize("then", ["phone", "camera"])
async def test_what_a_source_gave_that_is_not_read_any_more_is_gone(
    then: str, shark: Shark, video: bytes, phone: bytes
) -> None:
    await rpc(shark, "SetAnalysis", settings={"alarm_severity": 40})
    first = rpc(shark, "WatchDetections")
    await shark.play("camera", video)
    await until(first, lambda m: m.HasField("alarm"))
    first.cancel()
    # Nobody looks while the source changes.
    async with asyncio.timeout(20):
        while (await rpc(shark, "GetAnalysis")).running:
            await asyncio.sleep(0.05)
    await shark.play(then, phone)
    second = rpc(shark, "WatchDetections")
    seen = await until(second, lambda m: m.HasField("detection"))
    assert seen[0].HasField("synced")
    assert seen[-1].detection.radio == then
    assert seen[-1].detection.device == detections_pb2.DEVICE_KIND_FHSS_PHONE


async def test_the_analyzers_json_has_detections(shark: Shark, video: bytes) -> None:
    stream = shark.stream("SubscribeAnalyzer")
    await until(stream, lambda m: m.HasField("synced"))
    await shark.play("camera", video)
    messages = await until(stream, lambda m: m.HasField("detection") and m.detection["event"] == "detection")
    event = json_format.MessageToDict(messages[-1].detection)
    assert event["device"] == "analog_video"
    assert 0 < event["confidence"] <= 1
    assert event["severity"] > 30


async def test_alarms_begin_and_end_by_the_threshold(shark: Shark, video: bytes) -> None:
    await rpc(shark, "SetAnalysis", settings={"alarm_severity": 40})
    stream = rpc(shark, "WatchDetections")
    await until(stream, lambda m: m.HasField("synced"))
    await shark.play("camera", video)
    alarm = (await until(stream, lambda m: m.HasField("alarm")))[-1].alarm
    assert alarm.raised
    assert alarm.threshold == 40
    assert alarm.detection.device == detections_pb2.DEVICE_KIND_ANALOG_VIDEO
    await rpc(shark, "SetAnalysis", settings={"alarm_severity": 0})
    ended = (await until(stream, lambda m: m.HasField("alarm")))[-1].alarm
    assert not ended.raised


async def test_devices_and_channels_are_counted_for_prometheus(shark: Shark, video: bytes) -> None:
    async def read() -> dict[str, dict[str, float]]:
        stub = process_pb2_grpc.ProcessServiceStub(shark.channel)
        answer = await stub.GetMetrics(process_pb2.GetMetricsRequest(), metadata=shark.metadata())
        return {
            family.name.removeprefix("paradrop_airshark_"): {
                next(iter(sample.labels.values()), ""): sample.value for sample in family.samples
            }
            for family in answer.families
        }

    idle = await read()
    assert idle["analysing"][""] == 0
    assert set(idle["active_devices"].values()) == {0.0}
    assert not idle["channel_quality"]
    await rpc(shark, "SetAnalysis", settings={"alarm_severity": 40})
    stream = rpc(shark, "WatchDetections")
    await shark.play("camera", video)
    detection = (await until(stream, lambda m: m.HasField("detection")))[-1].detection
    busy = await read()
    assert busy["analysing"][""] == 1
    assert busy["analysed_samples"][""] > 1000
    assert busy["detections"] == {"analog_video": 1}
    assert busy["active_devices"]["analog_video"] == 1
    assert busy["active_devices"]["zigbee"] == 0
    assert busy["raised_alarms"][""] == 1
    assert len(busy["channel_quality"]) == 13
    hit = {int(channel) for channel, quality in busy["channel_quality"].items() if quality < 80}
    assert hit == set(detection.channels)
    assert busy["interference_duty"][str(detection.channels[0])] > 0.5


async def test_it_analyses_without_readers_only_if_that_was_chosen(shark: Shark, video: bytes) -> None:
    await shark.play("camera", video)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rpc(shark, "GetAirQuality")
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert not (await rpc(shark, "GetAnalysis")).running
    await rpc(shark, "SetAnalysis", settings={"continuous": True})
    async with asyncio.timeout(20):
        while not (await rpc(shark, "ListDetections")).detections:
            await asyncio.sleep(0.2)
    await rpc(shark, "SetAnalysis", settings={"continuous": False})
    assert not (await rpc(shark, "GetAnalysis")).running


async def test_a_simulated_radio_is_a_source_and_is_called_simulated(shark: Shark) -> None:
    scenario = "seconds: 30\nseed: 9001\ndevices: [{device: analog_video, level_dbm: -50}]"
    stream = rpc(shark, "WatchDetections")
    await until(stream, lambda m: m.HasField("synced"))
    settings = airshark_pb2.SourceSettings(kind=airshark_pb2.SOURCE_KIND_SIMULATED, scenario=scenario)
    await shark.call("SetSource", settings=settings)
    seen = await until(stream, lambda m: m.HasField("detection"))
    assert seen[-1].detection.device == detections_pb2.DEVICE_KIND_ANALOG_VIDEO
    assert seen[-1].detection.radio == "simulated"
    status = await shark.call("GetStatus")
    assert status.source_kind == airshark_pb2.SOURCE_KIND_SIMULATED
    assert not status.hardware_ready
    source = await shark.call("GetSource")
    wrong = airshark_pb2.SourceSettings(
        kind=airshark_pb2.SOURCE_KIND_SIMULATED, scenario="devices: [{device: toaster, level_dbm: 1}]"
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shark.call("SetSource", settings=wrong)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "toaster" in refused.value.details()
    assert (await shark.call("GetSource")).settings == source.settings


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("ListDetections", {"page_size": 501}, "PAGE_SIZE_OUT_OF_RANGE"),
        ("ListDetections", {"page_token": "x"}, "PAGE_TOKEN_INVALID"),
        ("ListDetections", {"page_token": "9" * 40}, "PAGE_TOKEN_INVALID"),
        ("ListDetections", {"device": 99}, "DEVICE_UNKNOWN"),
        ("SetAnalysis", {"settings": {"alarm_severity": 101}}, "ALARM_SEVERITY_OUT_OF_RANGE"),
    ],
)
async def test_bad_input_is_refused_and_changes_nothing(
    shark: Shark, name: str, fields: dict[str, Any], reason: str
) -> None:
    before = await rpc(shark, "GetAnalysis")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rpc(shark, name, **fields)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason in str(refused.value.trailing_metadata())
    assert (await rpc(shark, "GetAnalysis")).settings == before.settings


async def test_roles(shark: Shark) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rpc(shark, "SetAnalysis", user="user", settings={"continuous": True})
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert airshark_pb2.DESCRIPTOR.package == detections_pb2.DESCRIPTOR.package


def track(number: int = 1, device: Device = Device.ANALOG_VIDEO, **more: Any) -> Track:
    values: dict[str, Any] = {
        "confidence": 0.9,
        "center_mhz": 2414.0,
        "bandwidth_mhz": 4.0,
        "rssi_dbm": -50.0,
        "duty_cycle": 1.0,
        "first_seen_s": 0.0,
        "last_seen_s": 1.0,
        "tolerance_mhz": 2.0,
        "confirmed": True,
    }
    return Track(number, device, **(values | more))


def detection(number: int, at_s: float, **more: Any) -> Detection:
    return Detection(number, "phy0", track(**more), at_s, at_s + 1, (1, 2), "v")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DetectionStore]:
    with closing(Database(tmp_path / "x.sqlite3", MIGRATIONS)) as database:
        yield DetectionStore(database, max_kept=5)


async def test_the_history_is_bounded_and_read_in_pages(store: DetectionStore) -> None:
    await store.save([detection(number, 100.0 * number) for number in range(1, 10)])
    newest = await store.page(0, 1e12, None, 2**63 - 1, 3)
    assert [each.id for each in newest] == [9, 8, 7]
    rest = await store.page(0, 1e12, None, newest[-1].id, 3)
    assert [each.id for each in rest] == [6, 5]
    within = await store.page(600, 701, None, 2**63 - 1, 9)
    assert [each.id for each in within] == [7, 6]
    assert newest[0] == replace(detection(9, 900.0), channels=(1, 2))


async def test_the_history_is_listed_in_pages_by_time_and_kind(home: Home) -> None:
    path = home.settings.state_dir("airshark") / "detections.sqlite3"
    with closing(await asyncio.to_thread(Database, path, MIGRATIONS)) as database:
        kept = [detection(number, 100.0 * number) for number in range(1, 6)]
        kept[1] = replace(kept[1], track=track(device=Device.ZIGBEE))
        await DetectionStore(database).save(kept)
    async with running_shark(home) as shark:
        pages, token = [], ""
        for _ in range(3):
            page = await rpc(shark, "ListDetections", user="user", page_size=2, page_token=token)
            pages.append([each.id for each in page.detections])
            token = page.next_page_token
        assert pages == [["5", "4"], ["3", "2"], ["1"]]
        assert token == ""
        # Each is heard for a second from its hundred on; a range takes its start in and leaves its end out.
        within = {"start_time": {"seconds": 201}, "end_time": {"seconds": 400}}
        found = await rpc(shark, "ListDetections", **within)
        assert [each.id for each in found.detections] == ["3", "2"]
        zigbee = await rpc(shark, "ListDetections", device=detections_pb2.DEVICE_KIND_ZIGBEE)
        assert [each.id for each in zigbee.detections] == ["2"]
        assert zigbee.detections[0].last_seen.seconds == 201


async def test_a_device_that_changes_is_one_row_and_a_restart_ends_it(store: DetectionStore) -> None:
    await store.save([detection(1, 1.0)])
    await store.save([detection(1, 1.0, rssi_dbm=-40.0)])
    (kept,) = await store.page(0, 1e12, None, 2**63 - 1, 9)
    assert kept.track.rssi_dbm == -40.0
    assert kept.track.active
    assert await store.next_id() == 2
    (ended,) = await store.page(0, 1e12, None, 2**63 - 1, 9)
    assert not ended.track.active


def test_settings_survive_and_nonsense_is_ignored(tmp_path: Path) -> None:
    file = AnalysisSettingsFile(tmp_path / "analysis.json")
    assert file.load() == AnalysisSettings()
    file.save(AnalysisSettings(True, 70))
    assert file.load() == AnalysisSettings(True, 70)
    for text in ("{", "[]", json.dumps({"continuous": True, "alarm_severity": 900})):
        (tmp_path / "analysis.json").write_text(text)
        assert file.load() == AnalysisSettings()


def test_quality_names_what_disturbs_a_channel_and_recommends_another() -> None:
    camera = track(center_mhz=2412.0, bandwidth_mhz=6.0)
    oven = track(2, Device.MICROWAVE, center_mhz=2462.0, bandwidth_mhz=10.0, duty_cycle=0.4, rssi_dbm=-60.0)
    gone = track(3, Device.CW, center_mhz=2437.0, bandwidth_mhz=0.3, active=False)
    qualities = {each.channel: each for each in quality_of([camera, oven, gone])}
    assert qualities[1].worst == (camera,)
    assert qualities[6].quality == 100
    assert qualities[1].quality < qualities[11].quality < 100
    assert recommended(list(qualities.values()), {}) == 6
    assert recommended(list(qualities.values()), {6: 1.0}) == 11
    assert channels_of(gone) == [4, 5, 6, 7, 8]


def test_of_what_several_radios_hear_the_worst_counts_once() -> None:
    near, far = track(rssi_dbm=-50.0), track(2, rssi_dbm=-70.0)
    both = worst_of([quality_of([far]), quality_of([near])])
    assert both == quality_of([near])
    assert both[0].worst == (near,)


def test_severity_grows_with_level_and_airtime_and_hoppers_share_it() -> None:
    near = track(rssi_dbm=-45.0)
    assert near.severity == 100
    assert track(rssi_dbm=-95.0).severity == 0
    headset = track(device=Device.BLUETOOTH, center_mhz=2441.0, bandwidth_mhz=79.0, duty_cycle=0.31)
    assert 5 <= headset.severity < track(duty_cycle=0.31).severity

"""The spectrum through a real Envoy and the bridge: REST, streams of JSON, WebSockets, downloads in
ranges."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from itertools import islice, takewhile
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from services.airshark.app import running
from tests.gateway.conftest import Gateway, make_settings, run_gateway
from tests.support import captures
from tests.support.captures import capture, decode

pytestmark = pytest.mark.gateway
BASE = "/api/v1/airshark"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = make_settings(tmp_path_factory.mktemp("shark"))
    folder = settings.state_dir("airshark") / "recordings"
    folder.mkdir()
    (folder / "camera.pdspec").write_bytes(capture(captures.AR9223))
    yield from run_gateway(settings, {"airshark": running})


@pytest.fixture
def playing(node: Gateway) -> Gateway:
    source = {"kind": "SOURCE_KIND_RECORDING", "recording": "camera", "loop": True}
    answer = node.send_json("PUT", f"{BASE}/source", source)
    assert answer.status == 200, answer.body
    assert answer.json["settings"]["recording"] == "camera"
    return node


def open_socket(node: Gateway, path: str) -> ClientConnection:
    return connect(
        f"ws://{node.address}{path}",
        additional_headers=node.bearer,
        open_timeout=10,
        proxy=None,
        max_size=None,
    )


def lines(node: Gateway, path: str, wanted: str) -> list[dict[str, Any]]:
    """Returns the objects of a stream up to the first that has a key."""
    connection = HTTPConnection(node.address, timeout=30)
    connection.request("GET", path, headers=node.bearer)
    reply = connection.getresponse()
    assert reply.status == 200
    found: list[dict[str, Any]] = []
    while not found or wanted not in found[-1]:
        found.append(json.loads(reply.readline()))
    connection.close()
    return found


def test_the_status_is_as_documented_and_says_what_it_is(playing: Gateway) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        status = playing.request(method, f"{BASE}/status").json
        assert {key: status[key] for key in ("hardware_ready", "software_ready")} == {
            "hardware_ready": False,
            "software_ready": True,
        }
        assert isinstance(status["airshark_running"], bool)
        assert status["source_kind"] == "SOURCE_KIND_RECORDING"


def test_the_source_is_chosen_over_rest(playing: Gateway) -> None:
    wrong = playing.send_json("PUT", f"{BASE}/source", {"kind": "SOURCE_KIND_RECORDING", "recording": "../x"})
    assert (wrong.status, wrong.reason) == (400, "SOURCE_INVALID")
    missing = playing.send_json("PUT", f"{BASE}/source", {"kind": "SOURCE_KIND_RECORDING", "recording": "no"})
    assert (missing.status, missing.reason) == (404, "RECORDING_NOT_FOUND")
    assert playing.request("GET", f"{BASE}/source").json["settings"]["recording"] == "camera"


def test_several_sources_are_chosen_over_rest(playing: Gateway) -> None:
    camera = {"kind": "SOURCE_KIND_RECORDING", "recording": "camera", "loop": True}
    more = {"kind": "SOURCE_KIND_HARDWARE", "phy": "phy7"}
    answer = playing.send_json("PUT", f"{BASE}/sources", {"settings": camera, "more": [more]})
    assert (answer.status, answer.json["more"][0]["phy"]) == (200, "phy7")
    [report] = playing.request("GET", f"{BASE}/source").json["more"]
    assert (report["settings"]["phy"], report["state"]["radio"]) == ("phy7", "phy7")
    wrong = playing.send_json("PUT", f"{BASE}/sources", {"settings": camera, "more": [camera]})
    assert (wrong.status, wrong.reason) == (400, "SOURCE_INVALID")


def test_streams_are_objects_line_by_line(playing: Gateway) -> None:
    block = lines(playing, f"{BASE}/spectrum?encoding=ENCODING_NUMBERS&maxMhz=2420", "block")[-1]["block"]
    assert len(block["levels"]) == block["sampleCount"] * block["binCount"]
    raw = lines(playing, f"{BASE}/raw", "batch")[-1]["batch"]
    assert decode(base64.b64decode(raw["data"]))[1]["samples"] > 0
    sweep = lines(playing, f"{BASE}/sweep?rateHz=5&statistic=STATISTIC_MEAN", "sweep")[-1]["sweep"]
    assert len(sweep["dbm"]) == len(sweep["sampleCounts"]) == 291
    tile = lines(playing, f"{BASE}/waterfall?columns=64&rowsPerTile=2", "tile")[-1]["tile"]
    assert len(base64.b64decode(tile["levels"])) == tile["rows"] * tile["columns"] == 128
    used = playing.request("GET", f"{BASE}/utilisation?windowS=1").json
    assert used["channels"][0]["channel"] == 1


Event = dict[str, str]


@contextmanager
def event_source(node: Gateway, path: str, **headers: str) -> Iterator[tuple[HTTPResponse, Iterator[Event]]]:
    """Reads a stream as a browser does."""
    connection = HTTPConnection(node.address, timeout=30)
    connection.request("GET", path, headers={**node.bearer, "accept": "text/event-stream", **headers})
    reply = connection.getresponse()

    def events() -> Iterator[Event]:
        fields: Event = {}
        while line := reply.readline().decode():
            if line == "\n":
                yield fields
                fields = {}
            else:
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value

    try:
        yield reply, events()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("raw", "batch"),
        ("spectrum?encoding=ENCODING_INT8", "block"),
        ("sweep?rateHz=10", "sweep"),
        ("waterfall?columns=32&rowsPerTile=1", "tile"),
    ],
)
def test_streams_are_events_for_who_asks_for_them(playing: Gateway, path: str, kind: str) -> None:
    with event_source(playing, f"{BASE}/{path}") as (reply, events):
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["cache-control"] == "no-store"
        assert next(events) == {"retry": "2000"}
        assert next(events)["event"] == "source"
        assert next(events)["event"] == "synced"
        found = [event for event in islice(events, 8) if event["event"] == kind][:3]
    numbers = [int(event["id"]) for event in found]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    for event in found:
        assert json.loads(event["data"])[kind].get("sequence", 0) == int(event["id"])


def test_a_quiet_stream_of_events_has_heartbeats(node: Gateway) -> None:
    assert node.send_json("PUT", f"{BASE}/source", {"kind": "SOURCE_KIND_NONE"}).status == 200
    with event_source(node, f"{BASE}/sweep") as (_, events):
        kinds = {
            event.get("event") for event in takewhile(lambda event: "heartbeat" not in event.values(), events)
        }
    assert kinds == {None, "source", "synced"}


def test_what_is_wrong_is_told_instead_of_a_stream_of_events(playing: Gateway) -> None:
    for query, status in (("rateHz=99", 400), ("unknown=1", 400), ("rateHz=x", 400)):
        with event_source(playing, f"{BASE}/sweep?{query}") as (reply, _):
            assert (reply.status, reply.headers["content-type"]) == (status, "application/json")
            assert json.loads(reply.read())["details"][0]["reason"]
    with event_source(playing, f"{BASE}/sweep", authorization="Bearer x") as (reply, _):
        assert reply.status == 401
    posted = playing.request("POST", f"{BASE}/sweep", headers={"accept": "text/event-stream"})
    assert posted.status == 405


def test_a_reader_of_events_that_goes_is_not_served_any_more(playing: Gateway) -> None:
    with event_source(playing, f"{BASE}/spectrum") as (_, events):
        assert len(list(islice(events, 4))) == 4
        assert playing.request("GET", f"{BASE}/source").json["readerCount"] > 0
    until = time.monotonic() + 10
    while playing.request("GET", f"{BASE}/source").json["readerCount"]:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_the_spectrum_socket_gives_the_bytes_of_the_kernel(playing: Gateway) -> None:
    with open_socket(playing, "/ws/airshark/spectrum") as socket:
        frames = [socket.recv(10) for _ in range(3)]
    for frame in frames:
        assert isinstance(frame, bytes)
        _, counts = decode(frame)
        assert counts["samples"] * 76 == len(frame)


def test_the_analyzer_socket_gives_events(playing: Gateway) -> None:
    with open_socket(playing, "/ws/airshark/analyzer") as socket:
        event: dict[str, Any] = {}
        while event.get("event") != "utilisation":
            event = json.loads(socket.recv(10))
    assert event["channels"][0]["channel"] == 1
    assert 0 <= event["channels"][0]["busy_share"] <= 1


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/ws/airshark/blocks?encoding=ENCODING_INT8&every=2", "block"),
        ("/ws/airshark/sweep?rate_hz=5", "sweep"),
        ("/ws/airshark/waterfall?columns=32&rowsPerTile=1", "tile"),
    ],
)
def test_other_streams_are_json_over_websockets(playing: Gateway, path: str, key: str) -> None:
    with open_socket(playing, path) as socket:
        found = [json.loads(socket.recv(10))]
        while key not in found[-1]:
            found.append(json.loads(socket.recv(10)))
    assert "source" in found[0]
    assert "synced" in found[1]
    if key == "block":
        block = found[-1]["block"]
        levels = np.frombuffer(base64.b64decode(block["dbm"]), "i1")
        assert len(levels) == block["sampleCount"] * block["binCount"]


@pytest.mark.parametrize("query", ["rate_hz=x", "unknown=1", "rate_hz=99", "statistic=NO"])
def test_a_wrong_query_is_refused_at_the_handshake(playing: Gateway, query: str) -> None:
    with pytest.raises(InvalidStatus) as raised:
        open_socket(playing, f"/ws/airshark/sweep?{query}").__enter__()
    assert raised.value.response.status_code == 400


def test_recordings_are_made_listed_and_fetched_in_ranges(playing: Gateway) -> None:
    begun = playing.send_json("POST", f"{BASE}/recordings", {"name": "rest", "maxS": 60})
    assert begun.status == 200
    assert begun.json["recording"]["active"] is True
    time.sleep(1.5)
    ended = playing.send_json("POST", f"{BASE}/recordings/rest/stop", {})
    size = ended.json["recording"]["sizeBytes"]
    names = [
        recording["name"] for recording in playing.request("GET", f"{BASE}/recordings").json["recordings"]
    ]
    assert names == ["camera", "rest"]

    path = f"{BASE}/recordings/rest/data"
    whole = playing.request("GET", path)
    assert (whole.status, len(whole.body)) == (200, size)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-disposition"] == 'attachment; filename="rest.pdspec"'
    for asked, start, end in (
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, size - 1),
        ("bytes=-50", size - 50, size - 1),
        ("bytes=10-99999999", 10, size - 1),
    ):
        part = playing.request("GET", path, headers={"range": asked})
        assert part.status == 206
        assert part.body == whole.body[start : end + 1]
        assert part.headers["content-range"] == f"bytes {start}-{end}/{size}"
    head = playing.request("HEAD", path, headers={"range": "bytes=0-9"})
    assert (head.status, head.headers["content-length"], head.body) == (206, "10", b"")
    beyond = playing.request("GET", path, headers={"range": f"bytes={size}-"})
    assert (beyond.status, beyond.reason) == (416, "RANGE_NOT_SATISFIABLE")
    assert beyond.headers["content-range"] == f"bytes */{size}"
    for ignored in ("bytes=5-1", "lines=1-2", "bytes=0-1,4-5", "bytes=-"):
        assert playing.request("GET", path, headers={"range": ignored}).status == 200

    assert playing.request("DELETE", f"{BASE}/recordings/rest").status == 200
    gone = playing.request("GET", path)
    assert (gone.status, gone.reason) == (404, "RECORDING_NOT_FOUND")
    assert playing.request("GET", path, token=False).status == 401
    assert playing.request("POST", path).status == 405


VIDEO = "seconds: 20\nseed: 9001\ndevices: [{device: analog_video, level_dbm: -50}]"


@pytest.fixture
def camera(node: Gateway) -> Gateway:
    source = {"kind": "SOURCE_KIND_SIMULATED", "scenario": VIDEO}
    assert node.send_json("PUT", f"{BASE}/source", source).status == 200
    return node


def test_devices_are_watched_listed_and_judged_over_rest(camera: Gateway) -> None:
    idle = camera.request("GET", f"{BASE}/airQuality")
    assert (idle.status, idle.reason) == (409, "ANALYSIS_NOT_RUNNING")
    wanted = {"continuous": True, "alarm_severity": 30}
    assert camera.send_json("PUT", f"{BASE}/analysis", wanted).json["settings"] == wanted
    try:
        seen = lines(camera, f"{BASE}/detections/watch", "alarm")
        quality = camera.request("GET", f"{BASE}/airQuality").json
        analysis = camera.request("GET", f"{BASE}/analysis").json
        metrics = camera.request("GET", "/metrics").body.decode()
    finally:
        camera.send_json("PUT", f"{BASE}/analysis", {"continuous": False, "alarm_severity": 0})
    found = next(each["detection"] for each in seen if "detection" in each)
    assert (found["device"], found["radio"]) == ("DEVICE_KIND_ANALOG_VIDEO", "simulated")
    assert seen[-1]["alarm"]["detection"]["id"] == found["id"]
    listed = camera.request("GET", f"{BASE}/detections?device=DEVICE_KIND_ANALOG_VIDEO&pageSize=1").json
    assert [each["id"] for each in listed["detections"]] == [found["id"]]
    late = camera.request("GET", f"{BASE}/detections?startTime=2999-01-01T00:00:00Z").json
    assert late["detections"] == []
    assert [each["channel"] for each in quality["channels"]] == [*range(1, 14)]
    hit = {each["channel"] for each in quality["channels"] if each["worst"]}
    assert hit == set(found["channels"])
    assert quality["recommended_channel"] in {1, 6, 11} - hit
    for line in (
        'paradrop_airshark_detections_total{device="analog_video",part="airshark"} ',
        'paradrop_airshark_raised_alarms{part="airshark"} 1',
        'paradrop_airshark_samples_per_second{part="airshark",radio="simulated"} ',
    ):
        assert line in metrics
    assert analysis["running"]
    assert analysis["model_version"] == found["model_version"]
    wrong = camera.send_json("PUT", f"{BASE}/analysis", {"alarm_severity": 101})
    assert (wrong.status, wrong.reason) == (400, "ALARM_SEVERITY_OUT_OF_RANGE")


def test_devices_are_events_for_who_asks_for_them(camera: Gateway) -> None:
    with event_source(camera, f"{BASE}/detections/watch") as (reply, events):
        assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert next(events) == {"retry": "2000"}
        seen: dict[str, Event] = {}
        while not {"synced", "detection"} <= seen.keys():
            event = next(events)
            seen.setdefault(event["event"], event)
    found = json.loads(seen["detection"]["data"])["detection"]
    assert (found["device"], found["active"]) == ("DEVICE_KIND_ANALOG_VIDEO", True)
    with event_source(camera, f"{BASE}/detections/watch?unknown=1") as (reply, _):
        assert (reply.status, json.loads(reply.read())["details"][0]["reason"]) == (400, "QUERY_INVALID")


def test_the_analyzer_socket_gives_devices(camera: Gateway) -> None:
    with open_socket(camera, "/ws/airshark/analyzer") as socket:
        event: dict[str, Any] = {}
        while event.get("event") != "detection":
            event = json.loads(socket.recv(10))
    assert (event["type"], event["device"], event["active"]) == ("detection", "analog_video", True)
    assert event.keys() >= {"confidence", "center_mhz", "bandwidth_mhz", "rssi_dbm", "duty_cycle", "severity"}

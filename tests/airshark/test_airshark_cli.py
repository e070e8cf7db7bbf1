"""The commands about spectrum files, run as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.airshark.analyze import analyze
from services.airshark.simulator.radio import RECORD
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from services.airshark.simulator.simulate import simulate
from tests.support import captures
from tests.support.captures import CAPTURES
from tests.support.cases import thorough_but

SCENARIO = """
seconds: 1.2
seed: 9001
devices: [{device: zigbee, level_dbm: -55}]
plan: {channels_mhz: [2412, 2432, 2452, 2472], dwell_s: 0.1}
"""
QUIET = """
seconds: 2.0
seed: 3
plan: {channels_mhz: [2412, 2437, 2462], dwell_s: 0.2, period: 255}
"""
FIELDS = {
    "device": str,
    "confidence": float,
    "center_mhz": float,
    "bandwidth_mhz": float,
    "rssi_dbm": float,
    "duty_cycle": float,
    "first_seen_s": float,
    "last_seen_s": float,
    "severity": int,
}


def paradrop(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from services.cli import main; main()",
        "airshark",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


@pytest.mark.thorough
def test_what_is_simulated_is_named(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    done = paradrop("simulate", tmp_path / "scenario.yaml", tmp_path / "out.bin")
    assert (done.returncode, done.stderr) == (0, "")
    analysed = paradrop("analyze", tmp_path / "out.bin")
    assert analysed.returncode == 0
    *found, summary = map(json.loads, analysed.stdout.splitlines())
    assert [each["device"] for each in found] == ["zigbee"]
    for name, kind in FIELDS.items():
        assert type(found[0][name]) is kind, name
    assert found[0]["type"] == "detection"
    assert set(found[0]) == {*FIELDS, "type", "active", "model_version", "features"}
    assert found[0]["model_version"] == summary["model_version"]
    assert summary["type"] == "summary"
    assert summary["samples"] == (tmp_path / "out.bin").stat().st_size // 76
    assert summary["samples_per_s"] > 8000
    assert summary["not_judged"] == []


@pytest.mark.thorough
def test_air_without_devices_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "quiet.yaml").write_text(QUIET)
    assert paradrop("simulate", tmp_path / "quiet.yaml", tmp_path / "quiet.bin").returncode == 0
    done = paradrop("analyze", tmp_path / "quiet.bin")
    (summary,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert summary["type"] == "summary"
    assert summary["devices"] == 0
    assert 1.5 < summary["air_time_s"] < 2.0
    assert 600 < summary["samples_per_s"] < 720
    # The driver's own rate is too low for everything that sends bursts.
    missing = {each["device"]: each["reason"] for each in summary["not_judged"]}
    assert set(missing) == {"bluetooth", "ble", "zigbee", "fhss_phone", "xbox"}
    assert all("spectral_period" in reason for reason in missing.values())


def test_the_recorded_camera_is_named() -> None:
    done = paradrop("analyze", CAPTURES / captures.AR9280)
    camera, summary = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, summary["samples"]) == (0, 283)
    assert camera["device"] == "analog_video"
    assert abs(camera["center_mhz"] - 2414.3) < 1


@pytest.mark.thorough
def test_a_device_that_went_long_before_the_end_is_named_too(tmp_path: Path) -> None:
    camera = b"".join(simulate(Scenario(1.5, 9001, (DeviceSpec("analog_video", -50.0),))))
    quiet = np.frombuffer(b"".join(simulate(Scenario(1.5, 9002))), RECORD).copy()
    # Silence of the radio now and then makes 1.5 s of samples last for eight minutes.
    quiet["tsf"] += 1_500_000 + 1_900_000 * (np.arange(len(quiet)) // 50).astype(np.uint64)
    (tmp_path / "file").write_bytes(camera + quiet.tobytes())
    *found, summary = map(json.loads, analyze(tmp_path / "file"))
    assert [each["device"] for each in found] == ["analog_video"]
    assert found[0]["last_seen_s"] < 2
    assert summary["devices"] == 1


@pytest.mark.parametrize(
    "content", thorough_but([b"", b"hello\n" * 100, captures.capture(captures.CRASH), None], b"")
)
def test_what_is_no_capture_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    done = paradrop("analyze", tmp_path / "file")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "text", thorough_but(["devices: [{device: toaster, level_dbm: -50}]", "[", "\udcff"], "[")
)
def test_a_wrong_scenario_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "scenario.yaml").write_bytes(text.encode(errors="surrogateescape"))
    done = paradrop("simulate", tmp_path / "scenario.yaml", tmp_path / "out.bin")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.bin").exists()

"""How far the bins of a radio lie apart is found out from what sends on whole MHz."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.airshark.generators import air_of
from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.found import Device
from services.airshark.analysis.lifecycle import Track
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.scene import describe, observe
from services.airshark.analysis.spacing import measured_spacing, other_spacing
from services.airshark.analyze import analyze
from services.airshark.domain.decoder import Decoder
from services.airshark.simulator.radio import FrontEnd
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from services.airshark.simulator.simulate import simulate
from tests.support.air import analysed, pulses_at

USUAL_MHZ, NARROW_MHZ = 22 / 64, 20 / 64


def _on(grid_mhz: float, first_mhz: float, stretched: float = 1.0, count: int = 200) -> Pulses:
    """Bursts on channels of a grid around 2432 MHz, seen on an axis that may be stretched."""
    rng = np.random.default_rng(7)
    channels = first_mhz + grid_mhz * np.arange(200)
    inside = channels[np.abs(channels - 2432) < 8.5]
    frequency_mhz = rng.choice(inside, count) + rng.normal(0, 0.06, count)
    return pulses_at(2432 + (frequency_mhz - 2432) * stretched, np.full(count, -60.0), 4)


def test_bursts_on_whole_mhz_tell_the_spacing() -> None:
    right = _on(1.0, 2402.0)
    spacing_mhz, known = measured_spacing(right, [], 56, USUAL_MHZ)
    assert (spacing_mhz, known > 0.8) == (USUAL_MHZ, True)
    stretched = _on(1.0, 2402.0, USUAL_MHZ / NARROW_MHZ)
    spacing_mhz, known = measured_spacing(stretched, [], 56, USUAL_MHZ)
    assert (spacing_mhz, known > 0.8) == (NARROW_MHZ, True)
    assert measured_spacing(right, [], 56, NARROW_MHZ)[0] == NARROW_MHZ
    assert measured_spacing(_on(1.0, 2402.0, NARROW_MHZ / USUAL_MHZ), [], 56, NARROW_MHZ)[0] == USUAL_MHZ


def test_what_says_nothing_of_the_spacing_changes_nothing() -> None:
    stretched = USUAL_MHZ / NARROW_MHZ
    for pulses in (
        _on(0.864, 2401.1),
        _on(0.864, 2401.1, stretched),
        _on(1.0, 2402.5),
        _on(1.0, 2402.5, stretched),
        _on(1.0, 2402.0, stretched, 12),
        _on(100.0, 2430.0),
        _on(1.0, 2402.0, stretched).select(np.zeros(200, bool)),
    ):
        spacing_mhz, known = measured_spacing(pulses, [], 56, USUAL_MHZ)
        assert spacing_mhz == USUAL_MHZ
        assert known < 0.5
    # Drivers of other cards say what width their bins span.
    assert measured_spacing(_on(1.0, 2402.0, stretched), [], 64, USUAL_MHZ) == (USUAL_MHZ, 0.0)
    assert measured_spacing(_on(1.0, 2402.0, stretched), [], 56, 0.5) == (0.5, 0.0)
    assert [other_spacing(each) for each in (USUAL_MHZ, NARROW_MHZ, 0.5)] == [NARROW_MHZ, USUAL_MHZ, 0.5]


def _radio(spacing_mhz: float) -> Scenario:
    devices = tuple(
        DeviceSpec(*each) for each in (("bluetooth", -50.0), ("zigbee", -55.0), ("analog_phone", -60.0))
    )
    return Scenario(2.0, 4713, devices, front=FrontEnd(spacing_mhz=spacing_mhz))


@pytest.mark.parametrize("spacing_mhz", [USUAL_MHZ, NARROW_MHZ])
def test_devices_are_found_where_they_are_whatever_the_spacing(spacing_mhz: float) -> None:
    scenario = _radio(spacing_mhz)
    air = air_of([*simulate(scenario)])
    assert air is not None
    observed = observe(air)
    scene = describe(observed)
    assert scene.air.spacing_mhz == spacing_mhz
    # What is known already is not measured again, and a mistake is put right.
    for known_mhz in (spacing_mhz, other_spacing(spacing_mhz)):
        again = describe(observed, known_mhz)
        assert again.air.spacing_mhz == spacing_mhz
        assert [each.frequency_mhz for each in again.carriers] == pytest.approx(
            [each.frequency_mhz for each in scene.carriers], abs=0.02
        )
    found = {track.device: track for track in analysed(simulate(scenario)).devices()}
    assert set(found) == {Device.BLUETOOTH, Device.ZIGBEE, Device.ANALOG_PHONE}
    usual = {track.device: track for track in analysed(simulate(_radio(USUAL_MHZ))).devices()}
    for device in (Device.ZIGBEE, Device.ANALOG_PHONE):
        assert found[device].center_mhz == pytest.approx(usual[device].center_mhz, abs=0.12)


def test_what_was_found_on_a_wrong_axis_is_withdrawn(tmp_path: Path) -> None:
    quiet = replace(_radio(NARROW_MHZ), devices=(DeviceSpec("analog_phone", -60.0),), seconds=1.5)
    file = tmp_path / "changing.bin"
    with file.open("wb") as out:
        # First nothing tells how far its bins lie apart.
        for scenario in (quiet, _radio(NARROW_MHZ)):
            out.writelines(simulate(scenario))
    analyzer = Analyzer()
    changed: list[Track] = []
    for block in Decoder("test").feed(file.read_bytes(), 0.0):
        changed += analyzer.feed(block)
    changed += analyzer.finish()
    gone = {track.id for track in changed if track.withdrawn}
    assert gone
    assert all(not track.active for track in changed if track.withdrawn)
    assert not gone & {track.id for track in analyzer.devices()}
    *lines, summary = (json.loads(line) for line in analyze(file))
    assert len(lines) == summary["devices"] == len({track.id for track in changed} - gone)

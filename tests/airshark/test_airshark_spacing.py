"""How far the bins of a radio lie apart is found out from what sends on whole MHz."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.airshark.generators import air_of
from services.airshark.analysis.air import Air, Floats
from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.carriers import Levels
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


def _measured(
    pulses: Pulses,
    said_mhz: float = USUAL_MHZ,
    bins: int = 56,
    usual_dbm: dict[float, Floats] | None = None,
) -> tuple[float, float]:
    """Returns what is measured on two channels 15 MHz apart."""
    centre_mhz = np.array([2432.0, 2447.0])
    first_mhz = (centre_mhz - (bins - 1) / 2 * said_mhz).astype(np.float32)
    none = np.zeros(2, np.float32)
    air = Air(
        np.arange(2.0), np.arange(2), centre_mhz.astype(np.float32), first_mhz, said_mhz,
        np.zeros((2, bins), np.float32), none, none, 115e-6,
    )  # fmt: skip
    level = {centre: Levels(each, each) for centre, each in (usual_dbm or {}).items()}
    return measured_spacing(air, pulses, [], level)


NONE = _on(1.0, 2402.0).select(np.zeros(200, bool))


def test_bursts_on_whole_mhz_tell_the_spacing() -> None:
    right = _on(1.0, 2402.0)
    spacing_mhz, known = _measured(right)
    assert (spacing_mhz, known > 0.8) == (USUAL_MHZ, True)
    stretched = _on(1.0, 2402.0, USUAL_MHZ / NARROW_MHZ)
    spacing_mhz, known = _measured(stretched)
    assert (spacing_mhz, known > 0.8) == (NARROW_MHZ, True)
    assert _measured(right, NARROW_MHZ)[0] == NARROW_MHZ
    assert _measured(_on(1.0, 2402.0, NARROW_MHZ / USUAL_MHZ), NARROW_MHZ)[0] == USUAL_MHZ


def _network(mhz: float, spread_mhz: float = 0.8, count: int = 30) -> Pulses:
    """Bursts of a network, seen on an axis as much too wide as the usual one may be."""
    seen_mhz = 2432 + (mhz - 2432) * USUAL_MHZ / NARROW_MHZ
    frequency_mhz = seen_mhz + np.random.default_rng(7).normal(0, 0.06, count)
    return pulses_at(frequency_mhz, np.full(count, -60.0), 8, spread_mhz)


def test_a_network_that_stays_is_in_the_middle_of_a_channel_of_zigbee() -> None:
    assert _measured(_network(2435.0)) == (NARROW_MHZ, pytest.approx(1.5))
    assert _measured(_network(2425.0))[0] == NARROW_MHZ
    # Elsewhere it is no ZigBee, what hops is narrower, and few bursts may be there by chance.
    for other in (_network(2436.3), _network(2435.0, 0.4), _network(2435.0, count=5)):
        assert _measured(other) == (USUAL_MHZ, 0.0)
    # At the border of a view, where all that is beyond it seems to be, it says nothing.
    at_border = _network(2440.0)
    assert at_border.frequency_mhz.mean() == pytest.approx(2440.8, abs=0.1)
    assert _measured(at_border) == (USUAL_MHZ, 0.0)
    # Nor does one of many places where something came by.
    anywhere = pulses_at(np.random.default_rng(7).uniform(2424, 2440, 300), np.full(300, -60.0), 8, 0.8)
    assert _measured(anywhere) == (USUAL_MHZ, 0.0)


@pytest.mark.parametrize("spacing_mhz", [USUAL_MHZ, NARROW_MHZ])
def test_two_channels_show_the_same_where_their_views_overlap(spacing_mhz: float) -> None:
    places = (np.arange(56) - 27.5) * spacing_mhz
    rng = np.random.default_rng(7)

    def usual_dbm(top_mhz: float, rises_db: float) -> dict[float, Floats]:
        return {
            centre: (
                -90 + rises_db * np.exp(-(((centre + places - top_mhz) / 1.5) ** 2)) + rng.normal(0, 0.3, 56)
            ).astype(np.float32)
            for centre in (2432.0, 2447.0)
        }

    for said_mhz in (USUAL_MHZ, NARROW_MHZ):
        measured_mhz, known = _measured(NONE, said_mhz, usual_dbm=usual_dbm(2438.5, 30.0))
        assert measured_mhz == spacing_mhz
        assert known > 0.8
        # Where nothing is, nothing tells.
        assert _measured(NONE, said_mhz, usual_dbm=usual_dbm(2438.5, 0.0)) == (said_mhz, 0.0)
        assert _measured(NONE, said_mhz, usual_dbm=usual_dbm(2425.0, 30.0)) == (said_mhz, 0.0)


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
        spacing_mhz, known = _measured(pulses)
        assert spacing_mhz == USUAL_MHZ
        assert known < 0.5
    # Drivers of other cards say what width their bins span.
    assert _measured(_on(1.0, 2402.0, stretched), bins=64) == (USUAL_MHZ, 0.0)
    assert _measured(_on(1.0, 2402.0, stretched), 0.5) == (0.5, 0.0)
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

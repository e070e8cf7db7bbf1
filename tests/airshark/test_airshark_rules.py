"""Rules that keep one thing on the air from being named as another, each by air that it decides about."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.airshark.generators import air_of
from services.airshark.analysis.broadband import find_jammer
from services.airshark.analysis.carrier_kinds import believed
from services.airshark.analysis.found import Device
from services.airshark.analysis.mains import NAMES as MAINS
from services.airshark.analysis.model import load_model
from services.airshark.analysis.pulsed_kinds import find_pulsed_devices
from services.airshark.analysis.scene import Scene, describe, observe
from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.emissions import Bursts, Carrier, Program
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import DeviceSpec, JammerSpec, Scenario
from services.airshark.simulator.simulate import simulate
from services.airshark.simulator.waveforms import Modulation
from tests.support.air import found

MODEL = load_model()
OVEN = dict.fromkeys(MAINS, 0.0) | {
    "field_50_hz": 0.9,
    "field_control": 0.2,
    "burst_ms": 8.0,
    "sweep_mhz": 6.0,
    "power_dbm": -50.0,
}


def scene_of(scenario: Scenario) -> Scene:
    air = air_of([*simulate(scenario)])
    assert air is not None
    return describe(observe(air))


def test_the_skirts_of_a_strong_carrier_are_no_jammer() -> None:
    scene = scene_of(Scenario(1.0, 31, jammers=(JammerSpec(2440, 60, -55.0),)))
    (jammer,) = find_jammer(scene)
    assert jammer.center_mhz == 2432.0
    carrier = believed(scene_of(Scenario(1.0, 9001, (DeviceSpec("cw", -30.0),))))[0]
    # Between the channels at 2432 and 2452 MHz a carrier may fill both of them: one is left.
    beside = replace(carrier, frequency_mhz=2442.0, centre_mhz=2432.0, power_dbm=jammer.rssi_dbm - 3)
    (left,) = find_jammer(replace(scene, carriers=[beside]))
    assert left.center_mhz == 2412.0
    on = [replace(beside, frequency_mhz=mhz, centre_mhz=mhz) for mhz in (2412.0, 2432.0, 2452.0)]
    assert not find_jammer(replace(scene, carriers=on))


def test_zigbee_beside_an_oven_is_found_and_one_that_keeps_to_the_mains_by_chance_is_no_oven() -> None:
    scene = scene_of(Scenario(1.5, 9001, (DeviceSpec("zigbee", -50.0),)))
    quiet = find_pulsed_devices(replace(scene, mains=dict.fromkeys(MAINS, 0.0)), MODEL)
    (zigbee,) = quiet
    assert (zigbee.device, zigbee.certain) == (Device.ZIGBEE, True)

    def kinds(middle_mhz: float, sweep_mhz: float) -> set[Device]:
        mains = OVEN | {"middle_mhz": middle_mhz, "sweep_mhz": sweep_mhz}
        return {each.device for each in find_pulsed_devices(replace(scene, mains=mains), MODEL)}

    # What stays where the network is, is the network; what sweeps or is elsewhere is an oven beside it.
    assert kinds(zigbee.center_mhz, 1.2) == {Device.ZIGBEE}
    assert kinds(zigbee.center_mhz, 6.0) == {Device.ZIGBEE, Device.MICROWAVE}
    assert kinds(zigbee.center_mhz + 20, 1.2) == {Device.ZIGBEE, Device.MICROWAVE}


def test_where_an_oven_dwells_is_no_network() -> None:
    for seed in (9001, 9002):
        assert set(found(Scenario(1.5, seed, (DeviceSpec("microwave", -45.0),)))) == {"microwave"}


def test_bluetooth_le_is_named_only_where_little_else_can_be() -> None:
    # Controllers and piconets send bursts as short, and as unlike a grid, now and then.
    assert MODEL.decisions["ble"].least >= 0.9
    assert MODEL.decisions["ble_advertising"].least >= 0.85
    for device in ("xbox", "bluetooth"):
        for seed in (9001, 9002):
            assert "ble" not in found(Scenario(1.2, seed, (DeviceSpec(device, -55.0),)))


def _telemetry(frequency_mhz: float) -> Bursts:
    """Returns a frame of 5 ms each 12.4 ms, longer than any of ZigBee, off the channels of ZigBee."""
    start = np.arange(0, 2, 12.4e-3)
    return Bursts(
        start, start + 5e-3, np.full(len(start), frequency_mhz), np.zeros(len(start)), Modulation.GFSK_BASIC
    )


def test_steady_bursts_that_nothing_explains_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAKERS, "zigbee", lambda seconds, rng: [_telemetry(2437.6)])
    scene = scene_of(Scenario(1.2, 3, (DeviceSpec("zigbee", -50.0),)))
    (group,) = scene.fixed
    strange = group.features | {"count": 45.0}

    def kinds(**other: float) -> set[Device]:
        changed = replace(scene, fixed=[replace(group, features=strange | other)])
        return {each.device for each in find_pulsed_devices(changed, MODEL)}

    assert kinds() == {Device.UNKNOWN}
    for other in (
        {"count": 39.0},
        {"duty": 0.01},
        {"over_neighbours": 7.0},
        {"over_db": 15.0},
        {"power_scatter_db": 3.5},
        {"whole_share": 0.7},
        {"tiny_share": 0.4},
        {"scatter_mhz": 0.4},
    ):
        assert kinds(**other) == set(), other


def test_a_carrier_is_placed_and_told_apart_in_the_bin_that_the_driver_makes_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for frequency_mhz in (2431.75, 2431.9, 2432.1, 2432.3):
        carrier = Carrier(frequency_mhz, Modulation.TONE)
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng, carrier=carrier: [carrier])
        (seen,) = believed(scene_of(Scenario(0.6, 5, (DeviceSpec("cw", -50.0),))))
        assert abs(seen.frequency_mhz - frequency_mhz) < 0.03
        assert seen.wander_mhz < 0.03


@pytest.mark.parametrize(
    ("front", "off_mhz"),
    [
        (FrontEnd(), 0.0),
        (FrontEnd(), 0.08),
        (FrontEnd(spacing_mhz=0.3125), 0.15),
        # In the very middle of a bin, wide skirts hide most of it.
        (FrontEnd(skirt_db=8.0), 0.08),
        (FrontEnd(skirt_db=8.0), 0.17),
    ],
)
def test_music_moves_a_carrier_more_than_any_card_seems_to(
    front: FrontEnd, off_mhz: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = 2432.0 + 10 * front.spacing_mhz + off_mhz
    music = Program(np.array([400.0, 1100.0]), np.array([0.05, 0.03]), np.zeros(2))
    moves = []
    for program in (None, music):
        carrier = Carrier(place, Modulation.TONE, program=program)
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng, carrier=carrier: [carrier])
        plan = Plan((2432,), 0.3)
        (seen,) = believed(scene_of(Scenario(0.3, 5, (DeviceSpec("cw", -50.0),), plan=plan, front=front)))
        moves.append((seen.still_mhz, seen.smooth_mhz))
    (bare, bare_smooth), (sung, sung_smooth) = moves
    assert bare < 0.016
    assert bare_smooth < 0.006
    assert sung > 0.02
    assert sung_smooth > 0.015


@pytest.mark.parametrize("handset", [True, False])
def test_a_phone_of_which_one_carrier_lies_between_two_channels_is_a_phone(
    handset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 2412 MHz shows what lies below 2421.6 MHz, 2432 MHz what lies above 2422.4 MHz.
    carriers = [Carrier(2440.6, Modulation.TONE), Carrier(2422.0, Modulation.TONE, gain_db=-5.0)]
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: carriers if handset else carriers[:1])
    assert set(found(Scenario(1.2, 9001, (DeviceSpec("cw", -50.0),)))) == {
        "analog_phone" if handset else "cw"
    }

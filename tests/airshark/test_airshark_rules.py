"""Rules that keep one thing on the air from being named as another, each by air that it decides about."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from benchmarks.airshark.generators import air_of
from services.airshark.analysis import analyzer
from services.airshark.analysis.bands import FAR_OFF_MHZ
from services.airshark.analysis.broadband import find_jammer
from services.airshark.analysis.carrier_kinds import believed, find_carrier_devices, kind_features
from services.airshark.analysis.found import Device
from services.airshark.analysis.lifecycle import Lifecycle
from services.airshark.analysis.mains import NAMES as MAINS
from services.airshark.analysis.model import Model, Trees, load_model
from services.airshark.analysis.pulsed_kinds import find_pulsed_devices, twice_if_image
from services.airshark.analysis.scene import Scene, describe, observe
from services.airshark.analysis.slots import without
from services.airshark.analysis.spacing import SPACINGS_MHZ
from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.emissions import (
    Bursts,
    Carrier,
    Floats,
    Oven,
    Program,
    Seen,
    Transmitter,
)
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import DeviceSpec, JammerSpec, Scenario
from services.airshark.simulator.simulate import simulate
from services.airshark.simulator.waveforms import Modulation
from tests.support.air import found
from tests.support.cases import thorough_but

MODEL = load_model()
NO_OVEN = dict.fromkeys(MAINS, 0.0) | {"picture_off_mhz": FAR_OFF_MHZ}
OVEN = NO_OVEN | {
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
    quiet = find_pulsed_devices(replace(scene, mains=NO_OVEN), MODEL)
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


def test_where_an_oven_passes_the_border_of_a_view_is_no_network() -> None:
    scene = scene_of(Scenario(1.5, 9001, (DeviceSpec("zigbee", -60.0),)))
    (group, *_) = scene.fixed
    sure = _sure_of({"zigbee": 0.8, "microwave": 0.95})

    def kinds(power_dbm: float = -45.0, **changed: float) -> set[Device]:
        passing = {"grid_mains": 0.7, "edge_mhz": 1.0, "count": 30.0, "axis_known": 0.0}
        fixed = [replace(group, features=group.features | passing | changed)]
        mains = OVEN | {"middle_mhz": group.frequency_mhz + 25, "power_dbm": power_dbm}
        return {each.device for each in find_pulsed_devices(replace(scene, fixed=fixed, mains=mains), sure)}

    assert kinds() == {Device.MICROWAVE}
    both = {Device.MICROWAVE, Device.ZIGBEE}
    # In the middle of a view, at any times, too few to say, or stronger than the oven: a network.
    assert kinds(edge_mhz=5.0) == kinds(grid_mains=0.3) == kinds(count=6.0) == kinds(-80.0) == both
    # In the middle of a channel, where an oven would be by chance alone, it may be nearer to the border.
    assert kinds(edge_mhz=1.7) == kinds(edge_mhz=1.7, zigbee_off_mhz=0.6, other_off_mhz=0.1) == both
    assert kinds(edge_mhz=1.7, zigbee_off_mhz=0.6, other_off_mhz=0.6) == {Device.MICROWAVE}
    known = {"zigbee_off_mhz": 0.6, "other_off_mhz": 0.1, "axis_known": 1.3}
    assert kinds(edge_mhz=1.7, **known) == {Device.MICROWAVE}


def test_a_transfer_that_hardly_pauses_is_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    start = np.arange(0.0, 1.5, 5.3e-3)
    frames = Bursts(
        start, start + 4.256e-3, np.full(len(start), 2440.0), np.zeros(len(start)), Modulation.OQPSK
    )
    monkeypatch.setitem(MAKERS, "zigbee", lambda seconds, rng: [frames])
    tracks = found(Scenario(1.5, 9001, (DeviceSpec("zigbee", -60.0),)))
    assert set(tracks) == {"zigbee"}
    assert tracks["zigbee"].duty_cycle > 0.7


def test_a_carrier_that_shows_at_times_is_no_network() -> None:
    scene = scene_of(Scenario(1.5, 9001, (DeviceSpec("zigbee", -60.0),)))
    (group, *_) = scene.fixed
    assert group.features["quiet_over_db"] < 2

    def kinds(**changed: float) -> list[Device]:
        fixed = [replace(group, features=group.features | changed)]
        return [each.device for each in find_pulsed_devices(replace(scene, fixed=fixed), _sure_of(likely))]

    likely = {"zigbee": 0.9}
    # Near the noise, and stronger than what is beside it all the time.
    assert kinds(over_db=12.0, quiet_over_db=8.0) == []
    assert kinds(over_db=12.0) == kinds(over_db=25.0, quiet_over_db=8.0) == [Device.ZIGBEE]
    # One that is beyond doubt may be beside a stronger carrier, whose skirt ends there.
    likely = {"zigbee": 0.97}
    assert kinds(over_db=12.0, quiet_over_db=8.0) == [Device.ZIGBEE]


def test_what_shows_only_as_the_radio_comes_to_a_channel_is_nothing() -> None:
    scene = scene_of(Scenario(1.5, 9001, (DeviceSpec("zigbee", -60.0),)))
    (group, *_) = scene.fixed
    came_s = scene.air.time_s[np.searchsorted(scene.air.visit, scene.pulses.visit)]

    def kinds(share: float) -> list[Device]:
        early = np.arange(len(scene.pulses)) % 10 < 10 * share
        pulses = replace(scene.pulses, start_s=np.where(early, came_s, scene.pulses.start_s))
        changed = replace(scene, pulses=pulses, fixed=[group])
        return [each.device for each in find_pulsed_devices(changed, _sure_of({"zigbee": 0.95}))]

    assert kinds(0.3) == [Device.ZIGBEE]
    assert kinds(1.0) == []


@pytest.mark.thorough
def test_bluetooth_le_is_named_only_where_little_else_can_be() -> None:
    # Controllers and piconets send bursts as short, and as unlike a grid, now and then.
    assert MODEL.decisions["ble"].least >= 0.9
    assert MODEL.decisions["ble_advertising"].least >= 0.85
    for device in ("xbox", "bluetooth"):
        for seed in (9001, 9002):
            assert "ble" not in found(Scenario(1.2, seed, (DeviceSpec(device, -55.0),)))


def test_an_advertiser_on_two_of_its_channels_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def kinds(*places: tuple[float, float, int]) -> set[Device]:
        """Of bursts of 0.35 ms: on what frequency, how strong, and how many."""

        def bursts(mhz: float, gain_db: float, count: int) -> Bursts:
            start = np.linspace(0.003, 1.97, count)
            return Bursts(
                start, start + 350e-6, np.full(count, mhz), np.full(count, gain_db), Modulation.GFSK_BASIC
            )

        transmitters = [bursts(*each) for each in places]
        monkeypatch.setitem(MAKERS, "ble", lambda seconds, rng: list(transmitters))
        scene = scene_of(Scenario(2.0, 9001, (DeviceSpec("ble", -50.0),), plan=Plan((2426, 2472), 0.1)))
        unsure = _sure_of({"ble_advertising": 0.6, "zigbee": 0.8})
        return {each.device for each in find_pulsed_devices(scene, unsure)}

    assert kinds((2426.0, 0.0, 60), (2480.0, -1.0, 60)) == {Device.BLE}
    for network in ((2480.0, -12.0, 60), (2480.0, 0.0, 400), (2475.0, 0.0, 60)):
        assert Device.ZIGBEE in kinds((2426.0, 0.0, 60), network)


def _sure_of(chances: dict[str, float], least: float = 0.75) -> Model:
    """Returns a model that gives some answers whatever was measured, and no to everything else."""

    def always(chance: float) -> Trees:
        none = np.zeros((1, 1), np.int16)
        value = np.zeros((1, 1), np.float32)
        return Trees((), float(np.log(chance / (1 - chance))), none, value, none, none, value, 0, least)

    return Model("test", {name: always(chances.get(name, 0.01)) for name in MODEL.decisions})


def _by_movement(still: float, moving: float) -> Trees:
    """Returns what is so likely for carriers that hardly move, and for others."""
    return _by("wander_mhz", 0.012, still, moving, 0.4)


def _by(name: str, bound: float, less: float, more: float, least: float) -> Trees:
    """Returns what is so likely where something is measured as less than a bound, and where as more."""
    feature, below, above = (np.array([each], np.int16) for each in ([0, 0, 0], [1, 1, 2], [2, 1, 2]))
    threshold = np.array([[bound, 0, 0]], np.float32)
    value = np.array([[0.0, *(np.log(each / (1 - each)) for each in (less, more))]], np.float32)
    return Trees((name,), 0.0, feature, threshold, below, above, value, 1, least)


def test_what_is_likelier_another_kind_of_hopper_must_be_seen_twice() -> None:
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("xbox", -55.0),)))

    def certain(**chances: float) -> dict[Device, bool]:
        return {each.device: each.certain for each in find_pulsed_devices(scene, _sure_of(chances))}

    assert certain(xbox=0.93) == {Device.XBOX: True}
    assert certain(xbox=0.93, ble=0.95) == {Device.XBOX: False, Device.BLE: True}
    lifecycle = Lifecycle()
    found_now = find_pulsed_devices(scene, _sure_of({"xbox": 0.93, "ble": 0.95}))
    assert {each.device for each in lifecycle.update(found_now, 1.0)} == {Device.BLE}
    assert {each.device for each in lifecycle.update(found_now, 2.0)} == {Device.BLE, Device.XBOX}


def test_what_may_be_the_image_of_a_far_stronger_hopper_must_be_seen_twice() -> None:
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("xbox", -55.0),)))
    (strong,) = find_pulsed_devices(scene, _sure_of({"xbox": 0.93}))
    for device, level_dbm, sure, certain in (
        (Device.BLE, strong.rssi_dbm - 30, True, False),
        (Device.BLE, strong.rssi_dbm - 10, True, True),
        (Device.BLE, strong.rssi_dbm - 30, False, True),
        (Device.FHSS_PHONE, strong.rssi_dbm - 30, True, True),
    ):
        weak = replace(strong, device=device, rssi_dbm=level_dbm, certain=True)
        hoppers = [replace(strong, certain=sure), weak]
        assert twice_if_image(weak, hoppers).certain is certain


def test_the_stronger_of_two_of_a_kind_stays_the_one_that_was_found_first() -> None:
    scene = scene_of(Scenario(1.0, 9001, (DeviceSpec("bluetooth", -50.0),)))
    (one,) = find_pulsed_devices(scene, MODEL)
    strong, weak = (replace(one, rssi_dbm=level_dbm) for level_dbm in (-45.0, -65.0))
    for second in ([weak, replace(strong, another=True)], [strong, replace(weak, another=True)]):
        lifecycle = Lifecycle()
        lifecycle.update([strong], 1.0)
        lifecycle.update(second, 2.0)
        assert [round(track.rssi_dbm) for track in lifecycle.confirmed()] == [-45, -65]
        withdrawn = lifecycle.withdraw()
        assert [(each.withdrawn, each.active) for each in withdrawn] == [(True, False)] * 2
        assert lifecycle.confirmed() == []


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
        {"below_carrier_db": 21.0},
        {"duty": 0.01},
        {"over_neighbours": 7.0},
        {"over_db": 15.0},
        {"power_scatter_db": 3.5},
        {"whole_share": 0.7},
        {"tiny_share": 0.4},
        {"scatter_mhz": 0.4},
        {"grid_mains": 0.5},
    ):
        assert kinds(**other) == set(), other

    # Where an oven dwells at the end of its sweep, it would look the same.
    def beside_oven(middle_mhz: float) -> set[Device]:
        mains = OVEN | {"middle_mhz": middle_mhz}
        changed = replace(scene, fixed=[replace(group, features=strange)], mains=mains)
        return {each.device for each in find_pulsed_devices(changed, MODEL)}

    assert beside_oven(group.frequency_mhz + 4.5) == {Device.MICROWAVE}
    assert beside_oven(group.frequency_mhz + 5.5) == {Device.MICROWAVE, Device.UNKNOWN}


def test_a_carrier_is_placed_and_told_apart_in_the_bin_that_the_driver_makes_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for frequency_mhz in (2431.75, 2431.9, 2432.1, 2432.3):
        carrier = Carrier(frequency_mhz, Modulation.TONE)
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng, carrier=carrier: [carrier])
        (seen,) = believed(scene_of(Scenario(0.6, 5, (DeviceSpec("cw", -50.0),))))
        assert abs(seen.frequency_mhz - frequency_mhz) < 0.03
        assert seen.wander_mhz < 0.03


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_the_synchronisation_of_a_picture_is_told_from_what_else_passes_a_carrier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A line of 64 microseconds begins with 4.7 on the frequency of its synchronisation.
    lines = np.arange(0, 1.2, 64e-6)
    begins = np.stack((lines, lines + 4.7e-6), axis=1).reshape(-1)
    places = np.tile([2436.3, 2435.4], len(lines))
    ends, level = np.append(begins[1:], begins[-1] + 59e-6), np.zeros(len(begins))
    still_picture = Bursts(begins, ends, places, level, Modulation.TONE)
    shares = []
    for transmitter in (still_picture, Carrier(2435.4, Modulation.TONE)):
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng, transmitter=transmitter: [transmitter])
        both = (DeviceSpec("cw", -50.0), DeviceSpec("bluetooth", -50.0))
        (seen,) = believed(scene_of(Scenario(1.2, 9001, both)))
        shares.append((seen.tip_share, seen.other_tip_share))
    (picture, beside_picture), (bare, _) = shares
    assert 0.05 < picture < 0.1
    assert beside_picture < 0.01
    assert bare < 0.01


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [9002, 9003, 9004])
def test_something_far_stronger_does_not_hide_the_rhythm_of_an_oven_nor_has_one(seed: int) -> None:
    both = (DeviceSpec("microwave", -66.0), DeviceSpec("bluetooth", -30.0))
    mains = scene_of(Scenario(2.0, seed, both)).mains
    assert max(mains["field_50_hz"], mains["field_60_hz"]) > 2.2 * mains["field_control"]

    def keeps(mains: dict[str, float]) -> bool:
        return max(mains["on_50_hz"], mains["on_60_hz"]) > max(0.35, 2.4 * mains["on_control"])

    assert keeps(mains)
    for device in ("bluetooth", "fhss_phone", "xbox", "zigbee", "analog_video"):
        assert not keeps(scene_of(Scenario(2.0, seed, (DeviceSpec(device, -50.0),))).mains)


def test_an_oven_that_its_inverter_shakes_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    # Always on, it moves as unsteadily as a picture, but its power has a ripple.
    oven = Oven(50.0, 0.2, 2459.0, 3.0, 1.0, inverter=True, least=0.5, shakes_mhz=2.5)
    monkeypatch.setitem(MAKERS, "inverter_microwave", lambda seconds, rng: [oven])
    assert set(found(Scenario(1.5, 9001, (DeviceSpec("inverter_microwave", -50.0),)))) == {"microwave"}


def test_an_oven_that_something_hides_is_where_a_part_of_a_view_follows_the_mains() -> None:
    scene = scene_of(Scenario(0.5, 5))
    hopper = NO_OVEN | {"middle_mhz": 2440.0, "power_dbm": -40.0, "band_middle_mhz": 2453.0}
    centre_mhz = max(scene.level)

    def where(**changed: float) -> tuple[float, float]:
        mains = hopper | {"on_over_control": 1.2, "band_over_control": 9.0} | changed
        (oven,) = find_pulsed_devices(replace(scene, mains=mains), _sure_of({"microwave": 0.95}))
        return oven.center_mhz, oven.rssi_dbm

    middle_mhz, power_dbm = where()
    assert middle_mhz == 2453.0
    assert power_dbm < -85.0  # No more than what is there.
    assert where(power_dbm=-120.0) == (2453.0, -120.0)
    # What follows the mains itself, or better than any part of a view, says where the oven is.
    assert where(on_over_control=2.0) == where(band_over_control=1.3) == (2440.0, -40.0)
    assert where(band_middle_mhz=centre_mhz - 3.0)[0] == centre_mhz - 3.0


def test_a_doubtful_oven_takes_nothing_for_a_part_of_itself() -> None:
    scene = scene_of(Scenario(1.5, 9001, (DeviceSpec("zigbee", -60.0),)))
    (group, *_) = scene.fixed
    mains = NO_OVEN | {"middle_mhz": group.frequency_mhz, "power_dbm": -45.0, "sweep_mhz": 6.0}

    def kinds(chance: float) -> dict[Device, bool]:
        sure = _sure_of({"zigbee": 0.8, "microwave": chance})
        return {each.device: each.doubtful for each in find_pulsed_devices(replace(scene, mains=mains), sure)}

    assert kinds(0.95) == {Device.MICROWAVE: False}
    assert kinds(0.6) == {Device.ZIGBEE: False, Device.MICROWAVE: True}
    assert kinds(0.4) == {Device.ZIGBEE: False}


def test_bins_that_light_up_with_the_mains_are_an_oven() -> None:
    scene = scene_of(Scenario(0.5, 5))
    lit = NO_OVEN | {"lit_60_hz": 0.5, "middle_mhz": 2457.0, "power_dbm": -45.0}

    def kinds(**changed: float) -> list[tuple[Device, bool]]:
        hidden = replace(scene, mains=lit | changed)
        return [(each.device, each.certain) for each in find_pulsed_devices(hidden, _sure_of({}))]

    assert kinds(lit_control=0.1) == [(Device.MICROWAVE, False)]
    assert kinds(lit_control=0.3) == kinds(lit_60_hz=0.2) == kinds(middle_mhz=0.0) == []


def test_a_picture_that_begins_anew_with_the_mains_is_no_oven() -> None:
    scene = scene_of(Scenario(0.5, 5))
    broken = NO_OVEN | {"on_60_hz": 0.6, "on_control": 0.2, "middle_mhz": 2451.0, "power_dbm": -50.0}

    def kinds(likely: float, **beside: float) -> list[Device]:
        changed = replace(scene, mains=broken | beside)
        return [each.device for each in find_pulsed_devices(changed, _sure_of({"microwave": likely}))]

    oven = [Device.MICROWAVE]
    assert kinds(0.95) == oven
    # As strong as the picture, on its place: its own parts, unless it is an oven beyond doubt.
    assert kinds(0.96, picture_off_mhz=1.5, picture_over_db=-1.0) == []
    assert kinds(0.95, picture_off_mhz=1.5, picture_over_db=15.0) == []
    assert kinds(0.99, picture_off_mhz=1.5, picture_over_db=-1.0) == oven
    # What is nearly so is doubtful: believed among several others.
    beside = replace(scene, mains=broken | {"picture_off_mhz": 1.5, "picture_over_db": -1.0})
    for chance, doubtful in ((0.97, True), (0.99, False)):
        (found_now,) = find_pulsed_devices(beside, _sure_of({"microwave": chance}))
        assert found_now.doubtful is doubtful
    # Far stronger, or elsewhere, it is something else.
    assert kinds(0.95, picture_off_mhz=1.5, picture_over_db=-12.0) == oven
    assert kinds(0.8, picture_off_mhz=1.5, picture_over_db=-12.0) == []
    assert kinds(0.8, picture_off_mhz=7.0, picture_over_db=-1.0) == oven
    # Its sound is far weaker, or comes in bursts as short as parts of its lines.
    assert kinds(0.95, picture_off_mhz=7.0, picture_over_db=22.0) == []
    assert kinds(0.95, picture_off_mhz=6.0, picture_over_db=9.0, burst_ms=3.6) == []
    long = {"picture_off_mhz": 6.0, "picture_over_db": 9.0, "burst_ms": 8.0}
    assert kinds(0.95, **long) == kinds(0.95, **long, field_60_hz=0.3) == []
    assert kinds(0.95, **long, field_60_hz=0.4) == oven
    assert kinds(0.95, picture_off_mhz=10.0, picture_over_db=22.0) == oven
    # What is hardly there beside one is no oven, wherever it is, unless it keeps to the mains well.
    hardly = {"picture_off_mhz": 20.0, "picture_over_db": 40.0}
    assert kinds(0.95, **hardly) == []
    assert kinds(0.95, **hardly, field_over_control=3.3) == oven
    # Nothing of a picture keeps to the mains so well in long bursts, nor lights views up that do not show it.
    near = {"picture_off_mhz": 1.5, "picture_over_db": 2.0}
    assert kinds(0.95, **near, on_60_hz=0.8, burst_ms=4.0) == oven
    assert kinds(0.95, **near, on_60_hz=0.8) == []
    assert kinds(0.95, **near, long_60_hz=0.9, long_control=0.2) == oven
    assert kinds(0.95, **near, long_60_hz=0.9, long_control=0.4) == []
    assert kinds(0.95, **near, lit_60_hz=0.4, lit_control=0.1) == oven
    clear = replace(scene, mains=OVEN | {"middle_mhz": 2451.0, "picture_off_mhz": 1.0})
    assert [each.device for each in find_pulsed_devices(clear, _sure_of({}))] == oven


@pytest.mark.parametrize(
    ("centre_mhz", "power_dbm", "named"),
    [(2452.0, -75.0, []), (2452.0, -60.0, [Device.MICROWAVE]), (2442.0, -75.0, [Device.MICROWAVE])],
    ids=["folded", "too strong", "too far off"],
)
def test_a_picture_folded_into_the_next_view_is_no_oven(
    centre_mhz: float, power_dbm: float, named: list[Device]
) -> None:
    scene = scene_of(
        Scenario(0.5, 5, (DeviceSpec("analog_video", -50.0),), plan=Plan((int(centre_mhz), 2472), 0.1))
    )
    picture = next(each for each in scene.carriers if each.is_picture)
    picture = replace(picture, frequency_mhz=2466.0, power_dbm=-50.0)
    mains = NO_OVEN | {"on_60_hz": 0.6, "on_control": 0.2, "middle_mhz": 2443.5, "power_dbm": power_dbm}
    changed = replace(
        scene, mains=mains, carriers=[picture], pulses=scene.pulses.select(slice(0, 0)), fixed=[]
    )
    found_now = find_pulsed_devices(changed, _sure_of({"microwave": 0.93}))
    assert [each.device for each in found_now] == named


@pytest.mark.parametrize("seed", thorough_but([9001, 9002, 9009], 9001))
def test_a_hopper_below_a_piconet_of_its_strength_is_found_in_what_that_leaves(seed: int) -> None:
    both = (DeviceSpec("bluetooth", -50.0), DeviceSpec("xbox", -51.0))
    scene = scene_of(Scenario(1.5, seed, both))
    devices = {each.device: each.certain for each in find_pulsed_devices(scene, MODEL)}
    assert devices.keys() == {Device.BLUETOOTH, Device.XBOX}
    assert devices[Device.BLUETOOTH]
    alone = scene_of(Scenario(1.5, seed, both[:1])).pulses
    assert len(without(alone, [Device.BLUETOOTH])) < 0.15 * len(alone)


@pytest.mark.parametrize(
    ("level_dbm", "xbox", "others", "expected"),
    [
        (-50.0, 0.8, 0, {Device.BLUETOOTH}),
        (-50.0, 0.8, 1, {Device.BLUETOOTH, Device.XBOX}),
        (-93.0, 0.8, 1, {Device.BLUETOOTH}),
        (-93.0, 0.95, 1, {Device.BLUETOOTH, Device.XBOX}),
    ],
)
def test_what_is_beside_a_certain_network_must_be_there_without_its_pulses(
    level_dbm: float, xbox: float, others: int, expected: set[Device]
) -> None:
    both = (DeviceSpec("bluetooth", level_dbm), DeviceSpec("xbox", level_dbm))
    scene = scene_of(Scenario(1.5, 9002, both[: 1 + others]))
    devices = find_pulsed_devices(scene, _sure_of({"bluetooth": 0.99, "xbox": xbox}))
    assert {each.device for each in devices} == expected


@pytest.mark.parametrize("seed", thorough_but([9001, 9002, 9005, 9009, 9013], 9009))
def test_the_frames_of_a_console_are_told_from_what_begins_at_any_time(seed: int) -> None:
    pulses = scene_of(Scenario(1.5, seed, (DeviceSpec("xbox", -50.0),))).pulses
    assert len(without(pulses, [Device.XBOX])) < 0.5 * len(pulses)
    random = replace(pulses, start_s=np.sort(np.random.default_rng(seed).uniform(0, 1.5, len(pulses))))
    if len(pulses) < 200:  # More come together by chance.
        assert len(without(random, [Device.XBOX])) > 0.6 * len(pulses)
    assert len(without(pulses.select(slice(0, 8)), [Device.XBOX])) == 0


def test_what_is_doubtful_is_believed_only_among_several_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("xbox", -55.0),)))
    (sure,) = find_pulsed_devices(scene, _sure_of({"xbox": 0.93}))
    (doubtful,) = find_pulsed_devices(scene, _sure_of({"xbox": 0.6}))
    assert (sure.doubtful, doubtful.doubtful) == (False, True)
    assert find_pulsed_devices(scene, _sure_of({"xbox": 0.4})) == []

    def decided(*others: tuple[Device, bool]) -> bool:
        carriers = [replace(sure, device=device, certain=certain) for device, certain in others]
        monkeypatch.setattr(analyzer, "find_carrier_devices", lambda scene, model: carriers)
        found_now = analyzer.decide(scene, _sure_of({"xbox": 0.6}))
        assert all(each in found_now for each in carriers)
        return any(each.doubtful for each in found_now)

    phone, picture = (Device.ANALOG_PHONE, True), (Device.ANALOG_VIDEO, True)
    assert decided(phone, picture)
    assert not decided()
    assert not decided(phone)
    assert not decided(phone, phone)
    assert not decided(phone, (Device.ANALOG_VIDEO, False))
    assert not decided(phone, (Device.XBOX, True))


def test_a_doubtful_hopper_as_strong_as_a_likelier_one_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("xbox", -55.0),)))
    (sure,) = find_pulsed_devices(scene, _sure_of({"xbox": 0.93}))
    several = [replace(sure, device=each) for each in (Device.ANALOG_PHONE, Device.ANALOG_VIDEO)]
    for device, stronger_db, confidence, named in (
        (Device.BLUETOOTH, 0.0, 0.93, False),
        (Device.BLUETOOTH, -10.0, 0.93, True),
        (Device.BLUETOOTH, 0.0, 0.5, True),
        (Device.ZIGBEE, 0.0, 0.93, True),
    ):
        other = replace(sure, device=device, rssi_dbm=sure.rssi_dbm + stronger_db, confidence=confidence)
        monkeypatch.setattr(
            analyzer, "find_carrier_devices", lambda scene, model, other=other: [*several, other]
        )
        found_now = analyzer.decide(scene, _sure_of({"xbox": 0.6}))
        assert any(each.device is Device.XBOX for each in found_now) is named


def test_a_network_that_is_doubtful_keeps_no_pulses_to_itself() -> None:
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("zigbee", -55.0),)))
    for chance, doubtful in ((0.6, True), (0.8, False)):
        kinds = {
            each.device: each.doubtful
            for each in find_pulsed_devices(scene, _sure_of({"zigbee": chance, "xbox": 0.93}))
        }
        assert kinds[Device.ZIGBEE] is doubtful
        assert (Device.XBOX in kinds) is doubtful


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


def _carriers(monkeypatch: pytest.MonkeyPatch, *carriers: Carrier) -> set[Device]:
    """Returns what some carriers are taken for."""
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: list(carriers))
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -50.0),)))
    return {each.device for each in find_carrier_devices(scene, MODEL)}


def test_music_beside_a_phone_is_no_third_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = Program(np.array([300.0, 900.0]), np.array([0.004, 0.002]), np.zeros(2))
    base, handset = (
        Carrier(mhz, Modulation.TONE, program=speech, gain_db=gain_db)
        for mhz, gain_db in ((2408.3, 0.0), (2429.7, -3.0))
    )
    music = Carrier(2456.4, Modulation.TONE, 0.03, gain_db=-2.0)
    assert _carriers(monkeypatch, base, handset) == {Device.ANALOG_PHONE}
    assert _carriers(monkeypatch, base, handset, music) == {Device.ANALOG_PHONE, Device.ANALOG_AUDIO}


@pytest.mark.parametrize("frequency_mhz", thorough_but([2442.3, 2442.4, 2442.6, 2421.2], 2421.2))
def test_music_at_the_border_of_a_channel_is_found(
    frequency_mhz: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 2452 MHz shows what lies above 2442.4 MHz, 2412 MHz what lies below 2421.3 MHz.
    music = Program(np.array([300.0, 1700.0]), np.array([0.05, 0.03]), np.zeros(2))
    found_there = _carriers(monkeypatch, Carrier(frequency_mhz, Modulation.TONE, program=music))
    assert found_there == {Device.ANALOG_AUDIO}
    assert Device.ANALOG_AUDIO not in _carriers(monkeypatch, Carrier(frequency_mhz, Modulation.TONE))


def test_what_moves_between_two_channels_is_the_other_carrier_of_a_phone_that_shows_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speech = Program(np.array([300.0, 1700.0]), np.array([0.05, 0.03]), np.zeros(2))
    between = Carrier(2421.2, Modulation.TONE, program=speech)
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [between, Carrier(2456.4, Modulation.TONE)])
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -50.0),)))

    def kinds(likeliest: str) -> list[Device]:
        return sorted(each.device for each in find_carrier_devices(scene, _sure_of({likeliest: 0.9})))

    assert kinds("carrier_analog_phone") == [Device.ANALOG_PHONE]
    assert kinds("carrier_cw") == [Device.ANALOG_AUDIO, Device.CW]


def test_beside_a_phone_with_both_its_carriers_a_third_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    base, handset, other = (Carrier(mhz, Modulation.TONE) for mhz in (2408.3, 2429.7, 2456.4))
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [base, handset, other])
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -50.0),)))
    sure = _sure_of({"carrier_analog_phone": 0.9, "carrier_analog_audio": 0.6})
    kinds = sorted(each.device for each in find_carrier_devices(scene, sure))
    assert kinds == [Device.ANALOG_AUDIO, Device.ANALOG_PHONE]
    two = replace(scene, carriers=scene.carriers[:2])
    assert [each.device for each in find_carrier_devices(two, sure)] == [Device.ANALOG_PHONE]


def _kinds_of_two(
    monkeypatch: pytest.MonkeyPatch, weaker_db: float, phone: Trees, music_mhz: float = 2429.7
) -> list[Device]:
    """Returns what is named of two carriers, of which the weaker one moves more and may be music."""
    pair = [
        Carrier(
            mhz,
            Modulation.TONE,
            program=Program(np.array([400.0]), np.array([moves_mhz]), np.zeros(1)),
            gain_db=gain_db,
        )
        for mhz, moves_mhz, gain_db in ((2408.3, 0.004, 0.0), (music_mhz, 0.04, -weaker_db))
    ]
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: pair)
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -50.0),)))
    forests = {"carrier_analog_phone": phone, "carrier_analog_audio": _by_movement(0.01, 0.6)}
    model = Model("test", _sure_of({}).decisions | forests)
    return sorted(each.device for each in find_carrier_devices(scene, model))


@pytest.mark.parametrize(
    ("phone", "weaker_db", "named"),
    [
        (0.3, 0.0, [Device.ANALOG_PHONE]),
        (0.3, 18.0, [Device.ANALOG_PHONE]),
        (0.3, 24.0, [Device.ANALOG_AUDIO, Device.ANALOG_PHONE]),
        (0.1, 0.0, [Device.ANALOG_AUDIO, Device.ANALOG_PHONE]),
    ],
)
def test_a_phone_with_one_carrier_has_what_may_be_its_other_one(
    phone: float, weaker_db: float, named: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _kinds_of_two(monkeypatch, weaker_db, _by_movement(0.9, phone)) == named


@pytest.mark.parametrize(
    ("phone", "named"),
    [(0.1, [Device.ANALOG_PHONE]), (0.03, [Device.ANALOG_AUDIO, Device.ANALOG_PHONE])],
    ids=["may be", "clear music"],
)
def test_in_the_very_middle_of_a_view_what_may_be_the_other_carrier_of_a_phone_need_not_be_as_likely(
    phone: float, named: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _kinds_of_two(monkeypatch, 0.0, _by_movement(0.9, phone), music_mhz=2432.2) == named


@pytest.mark.parametrize(
    ("phone", "weaker_db", "named"),
    [
        (0.7, 24.0, [Device.ANALOG_AUDIO, Device.ANALOG_PHONE]),
        (0.95, 24.0, [Device.ANALOG_PHONE, Device.ANALOG_PHONE]),
        (0.7, 0.0, [Device.ANALOG_PHONE]),
    ],
    ids=["unlike", "unlike but sure", "alike"],
)
def test_the_less_likely_one_of_two_carriers_too_unlike_for_one_phone_is_something_else(
    phone: float, weaker_db: float, named: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _kinds_of_two(monkeypatch, weaker_db, _by_movement(0.97, phone)) == named


def test_of_two_views_of_a_carrier_the_one_where_it_stands_out_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [Carrier(2449.4, Modulation.TONE)])
    plan = Plan((2442, 2457), 0.1)
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -45.0),), plan=plan))
    lower, upper = sorted(scene.carriers, key=lambda each: each.centre_mhz)
    # The skirt of something else makes it stronger.
    hidden = replace(lower, in_skirt=True, power_dbm=lower.power_dbm + 1.0)
    (kept,) = believed(replace(scene, carriers=[hidden, upper]))
    assert kept is upper
    (kept,) = believed(replace(scene, carriers=[replace(hidden, in_skirt=False), upper]))
    assert kept.centre_mhz == lower.centre_mhz


def test_what_clearly_moves_is_no_bare_carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    music = Program(np.array([700.0]), np.array([0.02]), np.zeros(1))
    for program, named in ((music, Device.ANALOG_AUDIO), (None, Device.CW)):
        carrier = Carrier(2408.3, Modulation.TONE, program=program)
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng, one=carrier: [one])
        scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -50.0),)))
        (device,) = find_carrier_devices(scene, _sure_of({"carrier_cw": 0.9}))
        assert device.device is named
        weak = replace(scene, carriers=[replace(each, over_db=19.0) for each in scene.carriers])
        (device,) = find_carrier_devices(weak, _sure_of({"carrier_cw": 0.9}))
        assert device.device is Device.CW


def test_near_the_noise_a_carrier_is_named_only_if_it_is_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [Carrier(2408.3, Modulation.TONE)])
    for level_dbm, likely, named in ((-94.0, 0.7, 0), (-94.0, 0.9, 1), (-60.0, 0.8, 1)):
        scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", level_dbm),)))
        assert len(believed(scene)) == 1
        assert len(find_carrier_devices(scene, _sure_of({"carrier_cw": likely}))) == named


def test_what_stands_out_little_of_the_skirt_of_another_is_not_near_the_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [Carrier(2408.3, Modulation.TONE)])
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -60.0),)))
    (carrier,) = believed(scene)
    beside = replace(scene, carriers=[replace(carrier, over_db=15.0)])
    likely = _sure_of({"carrier_cw": 0.7}, least=0.4)
    assert len(find_carrier_devices(beside, likely)) == 1
    loud = replace(beside, floors_dbm=np.full(len(scene.floors_dbm), carrier.power_dbm - 15))
    assert not find_carrier_devices(loud, likely)


@pytest.mark.parametrize(
    ("phone", "weaker_db", "named"),
    [
        (0.4, 3.0, [Device.ANALOG_PHONE]),
        (0.1, 3.0, [Device.CW, Device.CW]),
        (0.4, 20.0, [Device.CW, Device.CW]),
    ],
    ids=["base and handset", "unlikely", "too unlike"],
)
def test_two_bare_carriers_may_be_a_phone_on_which_nobody_speaks(
    phone: float, weaker_db: float, named: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = [Carrier(2408.3, Modulation.TONE), Carrier(2449.7, Modulation.TONE, gain_db=-weaker_db)]
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: list(pair))
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -45.0),)))
    likely = _sure_of({"carrier_cw": 0.8, "carrier_analog_phone": phone})
    assert [each.device for each in find_carrier_devices(scene, likely)] == named


def test_what_is_no_third_part_of_a_phone_but_moves_is_music(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = Program(np.array([300.0, 900.0]), np.array([0.008, 0.004]), np.zeros(2))
    sure = _sure_of({"carrier_analog_phone": 0.9, "carrier_cw": 0.6})
    for program, third in ((speech, Device.ANALOG_AUDIO), (None, Device.CW)):
        base, handset = (Carrier(mhz, Modulation.TONE, program=speech) for mhz in (2408.3, 2429.7))
        other = Carrier(2468.4, Modulation.TONE, program=program, gain_db=-12.5)
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng, all_of=[base, handset, other]: all_of)
        scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -45.0),)))
        kinds = {each.device for each in find_carrier_devices(scene, sure)}
        assert kinds == {Device.ANALOG_PHONE, third}


def test_how_much_of_the_band_shows_no_other_carrier_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    base, handset = (Carrier(mhz, Modulation.TONE) for mhz in (2408.3, 2429.7))
    whole = Plan((2412, 2427, 2442, 2457, 2472), 0.1)

    def unpaired(plan: Plan, *carriers: Carrier, louder_db: float = 0.0) -> float:
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: list(carriers))
        scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -50.0),), plan=plan))
        seen = believed(scene)
        loud = replace(scene, floors_dbm=scene.floors_dbm + louder_db)
        return kind_features(seen[0], seen, loud)["unpaired_share"]

    assert unpaired(whole, base) > 0.98
    assert unpaired(whole, base, handset) == 0.0
    assert unpaired(Plan((2412,), 0.1), base) == pytest.approx(19.25 / 78, abs=0.03)
    # Where it is so loud that another one would not be seen.
    assert unpaired(whole, base, louder_db=60.0) == 0.0


def test_what_is_only_more_of_a_stronger_carrier_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [Carrier(2467.4, Modulation.TONE)])
    plan = Plan((2457, 2472), 0.1)
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -40.0),), plan=plan))
    (strong,) = believed(scene)
    assert strong.centre_mhz == 2472.0
    cut = {"cut_share": 1.0, "edge_mhz": 0.4}

    def devices(off_mhz: float, weaker_db: float, centre_mhz: float, **more: float) -> int:
        other = replace(
            strong,
            frequency_mhz=strong.frequency_mhz + off_mhz,
            power_dbm=strong.power_dbm - weaker_db,
            centre_mhz=centre_mhz,
            **more,
        )
        both = replace(scene, carriers=[strong, other])
        return len(find_carrier_devices(both, _sure_of({"carrier_cw": 0.9})))

    # Its skirt at the border of the next view, unless it is far from it, or nearly as strong.
    assert devices(-1.6, 25.0, 2457.0, **cut) == 1
    assert devices(-4.0, 25.0, 2457.0, **cut) == devices(-1.6, 9.0, 2457.0, **cut) == 2
    # Products of the radio beside it.
    assert devices(3.0, 28.0, 2472.0) == 1
    assert devices(3.0, 20.0, 2472.0) == devices(5.0, 28.0, 2472.0) == 2
    # Itself, with bins less far apart than they seem to be.
    narrow = SPACINGS_MHZ[1] / SPACINGS_MHZ[0]
    place_mhz = 2472 + (strong.frequency_mhz - 2472) * narrow
    again_mhz = 2457 + (place_mhz - 2457) / narrow
    assert devices(again_mhz - strong.frequency_mhz, 6.0, 2457.0) == 1
    assert devices(again_mhz - strong.frequency_mhz + 0.5, 6.0, 2457.0) == 2


def test_one_carrier_in_two_views_is_one_on_either_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2442 and 2457 MHz both show it; with bins less far apart than they seem to be, in two places.
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [Carrier(2448.6, Modulation.TONE)])
    plan = Plan((2442, 2457), 0.1)
    for spacing_mhz in SPACINGS_MHZ:
        front = FrontEnd(spacing_mhz=spacing_mhz)
        scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -45.0),), plan=plan, front=front))
        assert len({each.centre_mhz for each in scene.carriers}) == 2
        assert len(believed(scene)) == 1


def test_a_carrier_on_the_bin_beside_the_middle_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its neighbours are empty: what little they hold says on which side of that bin it lies, or the other.
    moves = []
    for program in (None, Program(np.array([400.0]), np.array([0.09]), np.zeros(1))):
        carrier = Carrier(2432.0 + 1.05 * 22 / 64, Modulation.TONE, program=program)
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng, carrier=carrier: [carrier])
        plan = Plan((2432,), 0.3)
        (seen,) = believed(scene_of(Scenario(0.3, 5, (DeviceSpec("cw", -50.0),), plan=plan)))
        moves.append(seen.still_mhz)
    assert moves[0] < 0.008
    assert moves[1] > 0.02


def test_a_carrier_counts_as_absent_only_where_it_could_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    start = np.arange(0, 1.2, 20e-3)
    stronger = Bursts(
        start,
        start + 10e-3,
        np.full(len(start), 2432.0 + 8.2),
        np.full(len(start), 16.0),
        Modulation.MAGNETRON,
    )
    carrier = Carrier(2439.0, Modulation.TONE)
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [carrier, stronger])
    scene = scene_of(Scenario(1.2, 5, (DeviceSpec("cw", -65.0),), plan=Plan((2432,), 0.3)))
    (seen,) = [each for each in scene.carriers if abs(each.frequency_mhz - 2439.0) < 0.2]
    assert seen.samples < 0.75 * len(scene.air)
    assert seen.presence > 0.9


def test_a_carrier_is_measured_where_nothing_disturbs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    start = np.arange(0, 1.2, 10e-3)
    stronger = Bursts(
        start, start + 3e-3, np.full(len(start), 2436.0), np.full(len(start), 30.0), Modulation.GFSK_PHONE
    )
    carrier = Carrier(2439.0, Modulation.TONE)
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [carrier, stronger])
    scene = scene_of(Scenario(1.2, 5, (DeviceSpec("cw", -70.0),), plan=Plan((2432,), 0.3)))
    (seen,) = [each for each in believed(scene) if abs(each.frequency_mhz - 2439.0) < 0.2]
    assert seen.presence > 0.98
    assert seen.power_swing_db < 5


@dataclass(frozen=True)
class _Fading:
    """A carrier that fades once a second."""

    depth_db: float

    def seen(self, time_s: Floats, rng: np.random.Generator) -> list[Seen]:
        gain_db = self.depth_db * np.sin(2 * np.pi * time_s)
        return [Seen(np.arange(len(time_s)), np.full(len(time_s), 2439.0), gain_db, Modulation.TONE)]


def test_a_carrier_that_fades_slowly_is_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [_Fading(7.0)])
    scene = scene_of(Scenario(2.0, 5, (DeviceSpec("cw", -60.0),), plan=Plan((2432, 2452), 0.05)))
    (seen,) = believed(scene)
    assert abs(seen.frequency_mhz - 2439.0) < 0.1


def test_a_network_is_as_strong_as_the_nearest_of_its_stations(monkeypatch: pytest.MonkeyPatch) -> None:
    start = np.arange(0, 1.5, 10 * 625e-6)
    rng = np.random.default_rng(4)
    stations: list[Transmitter] = []
    for late_s, gain_db in ((0.0, -14.0), (625e-6, 0.0)):
        hops, gain = 2402.0 + rng.integers(0, 79, len(start)), np.full(len(start), gain_db)
        stations.append(Bursts(start + late_s, start + late_s + 366e-6, hops, gain, Modulation.GFSK_BASIC))
    monkeypatch.setitem(MAKERS, "bluetooth", lambda seconds, rng: stations)
    scene = scene_of(Scenario(1.5, 9001, (DeviceSpec("bluetooth", -50.0),)))
    (found_here,) = find_pulsed_devices(scene, _sure_of({"bluetooth": 0.93}))
    assert abs(found_here.rssi_dbm + 50) < 3
    assert 0.08 < found_here.duty_cycle < 0.16
    alone = replace(scene, pulses=scene.pulses.select(scene.pulses.power_dbm > -57))
    (one_side,) = find_pulsed_devices(alone, _sure_of({"bluetooth": 0.93}))
    assert one_side.duty_cycle < 0.7 * found_here.duty_cycle


def test_data_and_acknowledgements_of_different_strength_are_one_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = np.arange(0, 1.5, 11e-3)
    place, level = np.full(len(start), 2425.0), np.zeros(len(start))
    data = Bursts(start, start + 2.4e-3, place, level, Modulation.OQPSK)
    acknowledged = start + 2.4e-3 + 192e-6
    answers = Bursts(acknowledged, acknowledged + 352e-6, place, level - 12.0, Modulation.OQPSK)
    monkeypatch.setitem(MAKERS, "zigbee", lambda seconds, rng: [data, answers])
    scene = scene_of(Scenario(1.5, 9001, (DeviceSpec("zigbee", -50.0),)))
    assert len([each for each in scene.fixed if abs(each.frequency_mhz - 2425.0) < 0.5]) >= 2
    (network,) = find_pulsed_devices(scene, _sure_of({"zigbee": 0.95}))
    assert abs(network.rssi_dbm + 50) < 3
    assert network.duty_cycle > 0.2
    # Beside a station that is sure, the stronger one needs hardly be likely: it makes nothing doubtful.
    for data_chance in (0.32, 0.5):
        by_length = _by("duration_p50_ms", 1.0, 0.95, data_chance, 0.6)
        model = Model("test", _sure_of({"xbox": 0.93}).decisions | {"zigbee": by_length})
        (network,) = find_pulsed_devices(scene, model)
        assert (network.device, network.certain, network.doubtful) == (Device.ZIGBEE, True, False)
        assert abs(network.rssi_dbm + 50) < 3
        assert network.duty_cycle > 0.2


def test_the_sound_of_a_camera_and_its_overtone_are_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def pictures(*places: tuple[float, float]) -> list[float]:
        carriers = [Carrier(mhz, Modulation.TONE, gain_db=gain_db) for mhz, gain_db in places]
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: carriers)
        scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -40.0),)))
        named = find_carrier_devices(scene, _sure_of({"carrier_analog_video": 0.9}))
        return sorted(round(each.center_mhz) for each in named if each.device is Device.ANALOG_VIDEO)

    sound = [(2450.0 + off, -17.0) for off in (-5.9, 5.9)]
    overtone = [(2450.0 + off, -30.0) for off in (-13.0, 13.0)]
    assert pictures((2450.0, 0.0), *sound, *overtone) == [2450]
    # Sound is on both sides.
    assert pictures((2450.0, 0.0), sound[1]) == [2450, 2456]
    assert pictures((2450.0, 0.0), (2468.0, -17.0)) == [2450, 2468]


def test_the_colour_of_a_camera_is_no_device_and_what_is_as_strong_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model(
        "test",
        _sure_of({}).decisions
        | {
            "carrier_analog_video": _by_movement(0.01, 0.9),
            "carrier_cw": _by_movement(0.9, 0.01),
        },
    )
    for gain_db, others in ((-20.0, 0), (-8.0, 1)):
        picture = Carrier(2450.0, Modulation.TONE, 0.1)
        colour = Carrier(2454.4, Modulation.TONE, gain_db=gain_db)
        monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng, both=(picture, colour): list(both))
        scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -40.0),)))
        places = sorted(each.center_mhz for each in find_carrier_devices(scene, model))
        assert places == pytest.approx([2450.0, 2454.4][: 1 + others], abs=0.3)


def test_two_bare_carriers_between_channels_are_base_and_handset(monkeypatch: pytest.MonkeyPatch) -> None:
    base, handset = Carrier(2422.0, Modulation.TONE), Carrier(2442.0, Modulation.TONE, gain_db=-4.0)
    assert _carriers(monkeypatch, base, handset) == {Device.ANALOG_PHONE}
    assert _carriers(monkeypatch, base) == {Device.CW}


@pytest.mark.parametrize(("moves_mhz", "named"), [(0.08, {Device.ANALOG_AUDIO}), (0.0, set())])
def test_one_skirt_that_swings_is_music(
    moves_mhz: float, named: set[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With these bins 2412 MHz shows what lies below 2420.6 MHz, and 2432 MHz nothing of this.
    program = Program(np.array([700.0]), np.array([moves_mhz * 2**0.5]), np.zeros(1))
    carrier = Carrier(2421.0, Modulation.TONE, program=program)
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [carrier])
    front = FrontEnd(spacing_mhz=0.3125)
    scene = scene_of(Scenario(1.2, 9001, (DeviceSpec("cw", -60.0),), front=front))
    assert {each.centre_mhz for each in scene.carriers} == {2412.0}
    assert {each.device for each in find_carrier_devices(scene, MODEL)} - {Device.CW} == named

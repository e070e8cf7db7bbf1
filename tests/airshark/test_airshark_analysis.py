"""Devices are found in simulated air and in real recordings."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.airshark.analysis.air import Timeline
from services.airshark.analysis.carrier_kinds import KINDS as KINDS_OF_CARRIERS
from services.airshark.analysis.carriers import levels
from services.airshark.analysis.fixed import find_fixed
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.lifecycle import INACTIVE_AFTER_S, Lifecycle
from services.airshark.analysis.mains import NAMES as MAINS
from services.airshark.analysis.mains import is_oven
from services.airshark.analysis.model import load_model
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.rhythm import grid_strength, stretches
from services.airshark.analysis.scene import observe
from services.airshark.domain.decoder import Decoder
from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.emissions import Carrier, Program
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import DeviceSpec, JammerSpec, Scenario, WifiSpec
from services.airshark.simulator.simulate import simulate
from services.airshark.simulator.waveforms import Modulation
from tests.support import captures
from tests.support.air import alone, analysed, found
from tests.support.captures import capture, capture_elsewhere
from tests.support.cases import thorough_but

KINDS = {
    "analog_audio": "analog_audio",
    "analog_phone": "analog_phone",
    "analog_video": "analog_video",
    "bluetooth": "bluetooth",
    "cw": "cw",
    "fhss_phone": "fhss_phone",
    "inverter_microwave": "microwave",
    "microwave": "microwave",
    "zigbee": "zigbee",
}
SEEDS = (9001, 9002, 9003)
QUIET_AIR = b"".join(simulate(Scenario(0.05, 5, plan=Plan((2412,), 0.05))))


@pytest.mark.parametrize("device", thorough_but(KINDS, "bluetooth", "zigbee"))
def test_a_device_alone_is_found_and_nothing_else_is(device: str) -> None:
    hits = 0
    for seed in SEEDS:
        tracks = found(alone(device, -65.0, seed, 1.2))
        hits += KINDS[device] in tracks
        assert len(tracks) <= 2
        if KINDS[device] in tracks:
            assert abs(tracks[KINDS[device]].rssi_dbm + 65) < 8
    assert hits >= 2


@pytest.mark.thorough
def test_four_devices_at_once_are_found() -> None:
    names = ("bluetooth", "fhss_phone", "analog_video", "zigbee")
    wanted = hits = 0
    for seed in range(9001, 9007):
        scenario = Scenario(
            1.5, seed, tuple(DeviceSpec(name, -45.0 - 6 * number) for number, name in enumerate(names))
        )
        wanted += len(names)
        hits += len(set(names) & set(found(scenario)))
    assert hits >= 0.85 * wanted


@pytest.mark.parametrize("load", thorough_but([0.05, 0.5, 0.9], 0.5))
@pytest.mark.parametrize("width_mhz", [20.0, 40.0])
def test_wifi_is_no_device(load: float, width_mhz: float) -> None:
    for decoded in (0.0, 0.9):
        wifi = (WifiSpec(2437, load, -60.0, width_mhz, decoded), WifiSpec(2462, 0.2, -88.0, decoded=0.0))
        assert not found(Scenario(1.2, 17, wifi=wifi))


def test_noise_is_no_device_whatever_the_driver_says() -> None:
    for front in (FrontEnd(), FrontEnd(noise_field_dbm=-51), FrontEnd(rssi_stuck_db=12)):
        assert not found(Scenario(1.2, 21, front=front))


def test_two_networks_on_different_channels_are_two_devices() -> None:
    for seed in range(50, 60):
        tracks = [
            track
            for track in analysed(
                simulate(Scenario(1.5, seed, (DeviceSpec("zigbee", -55.0), DeviceSpec("zigbee", -62.0))))
            ).devices()
            if track.device is Device.ZIGBEE
        ]
        if len(tracks) == 2:
            assert abs(tracks[0].center_mhz - tracks[1].center_mhz) > 3
            return
    raise AssertionError("two networks never were told apart")


def _piconets(*levels_dbm: float) -> list[float]:
    devices = tuple(DeviceSpec("bluetooth", level) for level in levels_dbm)
    tracks = analysed(simulate(Scenario(2.0, 72, devices))).devices()
    return sorted(track.rssi_dbm for track in tracks if track.device is Device.BLUETOOTH)


@pytest.mark.thorough
def test_two_piconets_of_different_strength_are_two_devices_and_one_is_one() -> None:
    weak, strong = _piconets(-45.0, -65.0)
    assert abs(weak + 65) < 5
    assert abs(strong + 45) < 5
    assert len(_piconets(-45.0)) == 1


@pytest.mark.parametrize(("device", "expected"), [("analog_audio", {"analog_audio"}), ("cw", {"cw"})])
def test_music_and_a_bare_carrier_between_two_channels_are_told_apart(
    device: str, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Just above what the channel at 2412 MHz shows, and just below what the one at 2432 MHz shows.
    music = Program(np.array([300.0, 1700.0]), np.array([0.05, 0.03]), np.zeros(2))
    carrier = Carrier(2421.8, Modulation.TONE, program=music if device == "analog_audio" else None)
    monkeypatch.setitem(MAKERS, device, lambda seconds, rng: [carrier])
    assert set(found(alone(device, -50.0, 9001))) == expected


def test_a_broadband_jammer_is_found() -> None:
    tracks = found(Scenario(2.0, 31, jammers=(JammerSpec(2440, 60, -55.0),)))
    assert set(tracks) == {"jammer"}
    assert tracks["jammer"].severity > 50


@pytest.mark.parametrize("name", [captures.AR9223, captures.AR9280, captures.AR9550])
def test_the_recorded_camera_is_found(name: str) -> None:
    tracks = analysed([capture(name)]).devices()
    assert [track.device for track in tracks] == [Device.ANALOG_VIDEO]
    assert abs(tracks[0].center_mhz - 2414.3) < 1.0


@pytest.mark.parametrize(
    "name",
    [
        "athspectral_5200_20.log",
        "athspectral_5220_HT40PLUS.log",
        "athspectral_5240_HT20.log",
        "athspectral_5300_40_mixed.log",
        "speccy_fft_2014-11-24_11-24-42.bin",
        "rfelten_dump_2017-02-23.bin",
    ],
)
def test_recorded_wifi_is_no_device(name: str) -> None:
    data = capture_elsewhere(name)
    if name.startswith("rfelten"):
        data = _unframed(data)
    assert not analysed([data]).devices()


def _unframed(data: bytes) -> bytes:
    parts, at = [], 0
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        parts.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return b"".join(parts)


@pytest.mark.parametrize("name", [captures.ATH10K_20, captures.ATH10K_80])
def test_a_recorded_carrier_outside_the_band_of_phones_is_just_a_carrier(name: str) -> None:
    analyzer = analysed([capture(name)])
    (track,) = analyzer.devices()
    assert track.device is Device.CW
    assert abs(track.center_mhz - 5645) < 1
    assert track.confidence <= 1
    # What was found is not among what could not be judged.
    assert "cw" not in {each["device"] for each in analyzer.not_judged()}


OVEN = dict.fromkeys(MAINS, 0.0) | {
    "field_50_hz": 0.9,
    "field_control": 0.2,
    "burst_ms": 8.0,
    "sweep_mhz": 4.0,
}


@pytest.mark.parametrize(
    "other",
    [
        {"burst_ms": 4.3},  # The longest frame of ZigBee.
        {"sweep_mhz": 0.1},  # It stays on one frequency.
        {"field_control": 0.5},  # It follows any period as well.
        {"field_50_hz": 0.4},
    ],
)
def test_an_oven_beyond_doubt_keeps_to_the_mains_in_long_bursts_and_sweeps(other: dict[str, float]) -> None:
    assert is_oven(OVEN)
    assert not is_oven(OVEN | other)


def test_what_slow_samples_cannot_show_is_said() -> None:
    slow = Plan((2412, 2432, 2452, 2472), 0.1, 255)
    scenario = Scenario(3.0, 41, (DeviceSpec("bluetooth", -50.0),), plan=slow)
    analyzer = analysed(simulate(scenario))
    missing = {each["device"]: each["reason"] for each in analyzer.not_judged()}
    assert set(missing) == {"bluetooth", "ble", "zigbee", "fhss_phone", "xbox"}
    assert "spectral_period" in missing["bluetooth"]
    assert not analyzer.devices()
    fast = analysed(simulate(Scenario(1.0, 41)))
    assert not fast.not_judged()


@pytest.mark.thorough
def test_the_result_does_not_depend_on_how_the_stream_is_cut() -> None:
    data = b"".join(simulate(alone("fhss_phone", -60.0, 9001)))
    whole = analysed([data]).devices()
    cut = analysed(data[at : at + 5000] for at in range(0, len(data), 5000)).devices()
    assert [track.device for track in whole] == [track.device for track in cut]


def test_samples_that_share_a_time_stamp_are_one_visit() -> None:
    (block,) = [
        each
        for data in simulate(Scenario(0.2, 3, plan=Plan((2437,), 1.0)))
        for each in Decoder("phy0").feed(data, 0.0)
    ]
    block = replace(block, tsf_us=block.tsf_us - block.tsf_us % 500)
    air = Timeline().air(block)
    assert air is not None
    assert (np.diff(air.time_s) > 0).all()
    assert len(np.unique(air.visit)) == 1


@pytest.mark.thorough
def test_memory_of_the_analyzer_stays_bounded() -> None:
    analyzer = analysed(simulate(Scenario(6.0, 51, (DeviceSpec("bluetooth", -50.0),))))
    held = sum(len(part.air) for kind in analyzer._kinds.values() for part in kind.parts)
    assert held < 20_000


@given(
    st.lists(st.floats(0, 0.2), min_size=2, max_size=60),
    st.sampled_from([625e-6, 5e-3, 833e-6]),
)
def test_times_on_a_grid_have_the_strength_1_and_any_times_at_most_that(
    times: list[float], period: float
) -> None:
    on_grid = np.rint(np.array(times) / period) * period + 0.1e-3
    stretch = np.zeros(len(times), np.int64)
    strength, amount = grid_strength(on_grid, stretch, np.array([period]))
    assert strength[0] == pytest.approx(1, abs=1e-6)
    assert amount[0] == pytest.approx(len(times), rel=1e-6)
    loose, _ = grid_strength(np.array(times), stretch, np.array([period]))
    assert 0 <= loose[0] <= 1 + 1e-9


def test_phases_are_compared_within_a_visit_wherever_on_the_clock_it_lies() -> None:
    # Two visits that the clock's quarters of a second would cut, and one as long as two of them.
    times_s = np.concatenate([np.arange(*each) for each in ((200, 300), (700, 800), (1100, 1550))]) / 1e3
    visit = np.repeat([4, 7, 9], [100, 100, 450])
    assert np.bincount(stretches(times_s, visit)).tolist() == [100, 100, 250, 200]
    assert stretches(times_s[:0], visit[:0]).tolist() == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(2402, 2406), st.floats(-90, -30)), max_size=40))
@example([(2402.0, -30.484986363549822)] * 3)
def test_pulses_anywhere_make_groups_of_their_own(places: list[tuple[float, float]]) -> None:
    count = len(places)
    start_s = np.arange(count) * 5e-3
    frequency, power = (np.array([each[side] for each in places], np.float32) for side in (0, 1))
    width = np.ones(count, np.float32)
    pulses = Pulses(
        start_s, start_s + 1e-3, np.ones(count, np.int64), width * 2412, frequency, width * 0.1, width, width,
        power, width * 20, np.ones(count, np.int64), np.ones(count, bool),
    )  # fmt: skip
    (air,) = [Timeline().air(block) for block in Decoder("phy0").feed(QUIET_AIR, 0.0)]
    assert air is not None
    groups = find_fixed(air, pulses, levels(air, observe(air).picture), [], 0.0)
    members = sum((group.members.astype(int) for group in groups), np.zeros(count, int))
    assert (members <= 1).all()
    assert all(group.members.sum() >= 3 for group in groups)
    assert all(np.isfinite(list(group.features.values())).all() for group in groups)


def _sighting(at_s: float, certain: bool = True, confidence: float = 0.8) -> Found:
    return Found(
        Device.ZIGBEE, confidence, certain, 2425.0, 2.0, -60.0, 0.1, at_s - 1, at_s, tolerance_mhz=2.0
    )


def test_a_device_comes_stays_and_goes() -> None:
    lifecycle = Lifecycle()
    (came,) = lifecycle.update([_sighting(1.0)], 1.0)
    assert (came.active, came.first_seen_s, came.last_seen_s) == (True, 0.0, 1.0)
    (stays,) = lifecycle.update([_sighting(2.0)], 2.0)
    assert stays.id == came.id
    assert not lifecycle.update([], 3.0)
    (gone,) = lifecycle.update([], 2.5 + INACTIVE_AFTER_S)
    assert not gone.active
    (back,) = lifecycle.update([_sighting(20.0)], 20.0)
    assert back.id == came.id
    assert back.active


def test_a_carrier_is_one_device_whatever_single_looks_take_it_for() -> None:
    def look(device: Device, confidence: float, at_s: float) -> Found:
        return Found(device, confidence, True, 2431.0, 0.3, -60.0, 1.0, at_s - 1, at_s, tolerance_mhz=0.8)

    lifecycle = Lifecycle()
    lifecycle.update([look(Device.ANALOG_AUDIO, 0.6, 1.0)], 1.0)
    lifecycle.update([look(Device.ANALOG_PHONE, 0.9, 2.0)], 2.0)
    (track,) = lifecycle.confirmed()
    assert track.device is Device.ANALOG_PHONE
    lifecycle.update([look(Device.ANALOG_AUDIO, 0.3, 3.0)], 3.0)
    assert [each.device for each in lifecycle.confirmed()] == [Device.ANALOG_PHONE]


def test_a_longer_look_at_a_carrier_says_more_than_a_short_one() -> None:
    def look(device: Device, confidence: float, first_s: float, last_s: float) -> Found:
        return Found(device, confidence, True, 2431.0, 0.3, -60.0, 1.0, first_s, last_s, tolerance_mhz=0.8)

    lifecycle = Lifecycle()
    lifecycle.update([look(Device.ANALOG_PHONE, 0.9, 0.0, 0.6)], 0.6)
    lifecycle.update([look(Device.ANALOG_AUDIO, 0.7, 0.0, 1.6)], 1.6)
    assert [each.device for each in lifecycle.confirmed()] == [Device.ANALOG_AUDIO]


def test_two_carriers_that_prove_to_be_one_phone_are_one_device() -> None:
    def look(device: Device, mhz: float, second_mhz: float, at_s: float) -> Found:
        found = Found(device, 0.8, True, mhz, 0.3, -60.0, 1.0, at_s - 1, at_s, tolerance_mhz=0.8)
        return replace(found, features={"second_mhz": second_mhz})

    lifecycle = Lifecycle()
    base, handset, music = 2431.0, 2462.0, 2446.0
    alone = [look(Device.CW, mhz, mhz, 1.0) for mhz in (base, handset, music)]
    assert len(lifecycle.update(alone, 1.0)) == 3
    both = [look(Device.ANALOG_PHONE, base, handset, 3.0), look(Device.CW, music, music, 3.0)]
    changed = lifecycle.update(both, 3.0)
    assert [each.center_mhz for each in changed if not each.active] == [handset]
    assert sorted(each.device for each in lifecycle.confirmed()) == [Device.ANALOG_PHONE, Device.CW]
    # When the handset is the stronger one for once, the phone stays where it is.
    lifecycle.update([look(Device.ANALOG_PHONE, handset, base, 4.0)], 4.0)
    (phone,) = (each for each in lifecycle.confirmed() if each.device is Device.ANALOG_PHONE)
    assert (phone.center_mhz, phone.features["second_mhz"]) == (base, handset)


def test_what_one_uncertain_look_shows_is_no_device_yet() -> None:
    lifecycle = Lifecycle()
    assert not lifecycle.update([_sighting(1.0, certain=False)], 1.0)
    assert not lifecycle.confirmed()
    (confirmed,) = lifecycle.update([_sighting(2.0, certain=False)], 2.0)
    assert confirmed.device is Device.ZIGBEE


@pytest.mark.parametrize(
    ("confidence", "shown_last", "believed"), [(0.6, False, False), (0.8, False, True), (0.6, True, True)]
)
def test_at_the_end_of_a_short_recording_what_the_longer_look_lacks_must_be_likely(
    confidence: float, shown_last: bool, believed: bool
) -> None:
    lifecycle = Lifecycle()
    unsure = [_sighting(1.0, certain=False, confidence=confidence)]
    lifecycle.update([] if shown_last else unsure, 0.6)
    lifecycle.update(unsure if shown_last else [], 1.6)
    assert not lifecycle.confirmed()
    assert len(lifecycle.finish()) == len(lifecycle.confirmed()) == believed


def test_the_model_says_its_version_and_has_all_decisions() -> None:
    model = load_model()
    assert "seed" in model.version
    pulsed = {"bluetooth", "ble", "ble_advertising", "fhss_phone", "microwave", "xbox", "zigbee"}
    carriers = {f"carrier_{kind.value}" for kind in KINDS_OF_CARRIERS}
    assert set(model.decisions) == pulsed | carriers
    for trees in model.decisions.values():
        assert 0 <= trees.probability(dict.fromkeys(trees.names, 0.0)) <= 1

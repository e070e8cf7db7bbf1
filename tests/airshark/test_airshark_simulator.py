"""Simulated samples are like those of real cards."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from services.airshark.domain.block import SampleBlock
from services.airshark.domain.formats import RecordType
from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.emissions import Carrier
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import (
    BadScenario,
    DeviceSpec,
    Scenario,
    WifiSpec,
    parse_scenario,
)
from services.airshark.simulator.simulate import simulate
from services.airshark.simulator.waveforms import Modulation
from tests.support import captures
from tests.support.captures import capture, capture_elsewhere, decode

EXAMPLES = Path(__file__).parents[2] / "examples" / "airshark"


def simulated(scenario: Scenario) -> SampleBlock:
    (block,) = decode(b"".join(simulate(scenario)), None)[0]
    return block


def peak_over_median_db(block: SampleBlock) -> npt.NDArray[np.float64]:
    return block.dbm.max(axis=1) - np.median(block.dbm, axis=1).astype(np.float64)


def within_10_db(block: SampleBlock) -> npt.NDArray[np.int64]:
    return (block.dbm > block.dbm.max(axis=1, keepdims=True) - 10).sum(axis=1)


def percentiles(values: npt.NDArray[np.generic], shares: Sequence[int] = (5, 25, 50, 75, 95)) -> list[float]:
    return [float(each) for each in np.percentile(values, shares)]


def test_a_camera_looks_as_the_recorded_one_does() -> None:
    """Pictures differ, and so do cameras: one of some on this channel must be like the recorded one."""
    real = next(each for each in decode(capture(captures.AR9550))[0] if each.type is RecordType.HT20)
    seeds = [seed for seed in range(60) if _on_2414(seed)]
    cameras = [
        simulated(Scenario(1.0, seed, (DeviceSpec("analog_video", -38.0),), plan=Plan((2412,), 1.0, 255)))
        for seed in seeds
    ]
    assert len(cameras) > 5
    assert any(_alike(ours, real) for ours in cameras)


def _alike(ours: SampleBlock, real: SampleBlock) -> bool:
    zeros = [percentiles((each.magnitudes == 0).sum(axis=1), (50, 90)) for each in (ours, real)]
    return bool(
        np.allclose(percentiles(peak_over_median_db(ours)), percentiles(peak_over_median_db(real)), atol=3.5)
        and np.allclose(percentiles(within_10_db(ours)), percentiles(within_10_db(real)), atol=5)
        and np.allclose(zeros[0], zeros[1], atol=8)
        and abs(np.std(ours.peak_bin) - np.std(real.peak_bin)) < 1.5
    )


def _on_2414(seed: int) -> bool:
    """Tells whether the camera of this seed uses the channel of the recorded one."""
    scenario = Scenario(0.05, seed, (DeviceSpec("analog_video", -38.0),), plan=Plan((2412,), 1.0, 255))
    return bool((peak_over_median_db(simulated(scenario)) > 20).all())


def test_quiet_air_has_the_power_and_the_shape_of_real_quiet_air() -> None:
    real = decode(capture_elsewhere("speccy_fft_2014-11-24_11-24-42.bin"))[0][0]
    ours = simulated(Scenario(1.0, 3, plan=Plan((2412,), 1.0, 255)))
    quiet = real.select(real.centre_mhz == 2412)
    assert abs(np.median(ours.total_dbm) - np.median(quiet.total_dbm)) <= 2.5
    np.testing.assert_allclose(
        percentiles(peak_over_median_db(ours)), percentiles(peak_over_median_db(real)), atol=1.0
    )
    np.testing.assert_allclose(percentiles(within_10_db(ours)), percentiles(within_10_db(real)), atol=4)


def test_wifi_fills_as_many_bins_as_evenly_as_real_wifi() -> None:
    (real,) = decode(capture_elsewhere("athspectral_5240_HT20.log"))[0]
    busy = real.select((real.centre_mhz == 5240) & (real.total_dbm[:, 0] > -30))
    wifi = (WifiSpec(5240, 0.9, -10.0, decoded=0.0),)
    ours = simulated(Scenario(0.5, 4, wifi=wifi, plan=Plan((5240,), 1.0)))
    loud = ours.select(ours.total_dbm[:, 0] > -30)
    for block in (busy, loud):
        mean = 10 * np.log10(np.mean(10 ** (block.dbm / 10), axis=0))
        occupied = mean > np.median(mean) - 3
        assert 50 <= occupied.sum() <= 54
        assert np.std(mean[6:50]) < 1.6


def test_samples_come_in_the_rhythm_of_the_driver() -> None:
    step_us = np.diff(simulated(Scenario(5.0, 5, plan=Plan((2437,), 1.0, 255))).tsf_us.astype(np.int64))
    assert 1491 <= np.percentile(step_us, 1) <= np.percentile(step_us, 99) <= 1497
    busy = (WifiSpec(2437, 0.5, -50.0, decoded=1.0),)
    waits_us = np.diff(
        simulated(Scenario(5.0, 5, wifi=busy, plan=Plan((2437,), 1.0, 255))).tsf_us.astype(np.int64)
    )
    assert waits_us.max() > 2 * 1494  # Frames that are received leave gaps.
    fast_us = np.diff(simulated(Scenario(1.0, 5, plan=Plan((2437,), 1.0))).tsf_us.astype(np.int64))
    assert 114 <= np.median(fast_us) <= 115


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    scenario = parse_scenario((EXAMPLES / "office.yaml").read_text())
    short = [Scenario(0.3, seed, scenario.devices, scenario.wifi) for seed in (1, 1, 2)]
    first, again, other = (b"".join(simulate(each)) for each in short)
    assert first == again != other


def test_faults_are_in_the_records() -> None:
    front = FrontEnd(noise_field_dbm=-51, rssi_stuck_db=7, corrupt_share=0.2, tsf_restarts=True)
    block = simulated(Scenario(0.5, 6, front=front))
    assert set(block.noise_dbm[:, 0]) == {-51}
    assert set(block.rssi_db[:, 0]) == {7}
    assert 0.1 < (block.max_exp == 14).mean() < 0.3
    assert (np.diff(block.tsf_us.astype(np.int64)) < 0).sum() >= 3
    lossy = simulated(Scenario(0.5, 6, front=FrontEnd(lost_share=0.5)))
    assert len(lossy) < 0.6 * len(block)


def test_both_carriers_of_a_phone_lie_within_the_band() -> None:
    rng = np.random.default_rng(1)
    phones = [MAKERS["analog_phone"](1.0, rng) for _ in range(300)]
    places = [[one.frequency_mhz for one in phone if isinstance(one, Carrier)] for phone in phones]
    assert all(2402 < mhz < 2480 for each in places for mhz in each)
    pairs = [each for each in places if len(each) == 2]
    assert len(pairs) > 200
    assert all(2 <= abs(base - handset) <= 37 for base, handset in pairs)


@pytest.mark.parametrize("place_bins", [0.0, 0.3])
def test_wide_skirts_take_no_power_from_a_carrier_and_do_not_make_it_move(
    place_bins: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = FrontEnd(skirt_db=8.0)
    carrier = Carrier(2432.0 + (10 + place_bins) * front.spacing_mhz, Modulation.TONE)
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: [carrier])
    scenario = Scenario(0.2, 3, (DeviceSpec("cw", -50.0),), plan=Plan((2432,), 0.2), front=front)
    block = simulated(scenario)
    assert float(block.total_dbm.mean()) == pytest.approx(-50.0, abs=0.5)
    beside = block.dbm[:, [37, 39]] - block.dbm[:, 38:39]
    assert (beside.mean(axis=0) > -12).all()
    assert beside.std(axis=0).max() < 1.0


@pytest.mark.parametrize("name", ["kitchen", "office", "quiet"])
def test_examples_are_scenarios(name: str) -> None:
    assert parse_scenario((EXAMPLES / f"{name}.yaml").read_text()).seconds >= 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "YAML"),
        ("3", "must be a mapping"),
        ("secnds: 3", "no field secnds"),
        ("seconds: 0", "seconds"),
        ("seconds: soon", "must be a number"),
        ("devices: 3", "devices must be a list"),
        ("devices: [{device: toaster, level_dbm: -50}]", "no device toaster"),
        ("devices: [{device: zigbee}]", "misses a field"),
        ("devices: [{device: zigbee, level_dbm: loud}]", "devices[0].level_dbm must be a number"),
        ("plan: {channels_mhz: [], dwell_s: 1}", "channels_mhz"),
        ("plan: {channels_mhz: [9], dwell_s: 1}", "2300 to 6000"),
        ("plan: {channels_mhz: [2412], dwell_s: 1, period: 999}", "period"),
        ("wifi: [{centre_mhz: 2412, load: 2}]", "wifi.load"),
        ("front: {spacing_mhz: 0}", "spacing_mhz"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_named(text: str, says: str) -> None:
    with pytest.raises(BadScenario, match=says.replace("[", r"\[").replace("]", r"\]")):
        parse_scenario(text)

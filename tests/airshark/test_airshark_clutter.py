"""Flashes beside what never ends are no network, and hide none."""

import numpy as np
import pytest

from services.airshark.analysis.air import Air
from services.airshark.analysis.carriers import levels
from services.airshark.analysis.clutter import without_clutter
from services.airshark.analysis.fixed import find_fixed
from services.airshark.analysis.hopping import by_power, within
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.scene import observe
from tests.support.air import pulses_at, quiet_air

BURST, FLASH, FRAME = 4, 1, 14
"""Samples."""


@pytest.fixture(scope="module")
def air() -> Air:
    return quiet_air(2432, 0.3)


def _together(*parts: Pulses) -> Pulses:
    return Pulses(*(np.concatenate([getattr(each, name) for each in parts]) for name in vars(parts[0])))


def _hopping(count: int, samples: int, power_dbm: float, scatter_db: float = 0.5) -> Pulses:
    rng = np.random.default_rng(count + samples)
    return pulses_at(rng.uniform(2423, 2441, count), rng.normal(power_dbm, scatter_db, count), samples)


def test_flashes_on_one_place_are_left_out_and_what_is_not_of_them_stays(air: Air) -> None:
    rng = np.random.default_rng(1)
    flashes = pulses_at(rng.normal(2436.5, 0.3, 300), rng.normal(-70, 1, 300), FLASH)
    kept = {
        "hops": _hopping(60, BURST, -55.0),
        "flashes of a search": _hopping(50, FLASH, -60.0),
        "frames there": pulses_at(np.full(8, 2436.5), np.full(8, -70.0), FRAME),
        "another there": pulses_at(np.full(8, 2436.5), np.full(8, -50.0), FLASH),
    }
    left = without_clutter(air, _together(flashes, *kept.values()))
    assert abs(len(left) - sum(len(each) for each in kept.values())) < 25
    assert ((left.samples == FRAME) & (left.frequency_mhz == np.float32(2436.5))).sum() == 8
    assert (left.power_dbm == -50.0).sum() == 8
    assert len(without_clutter(air, left)) == len(left)
    assert len(without_clutter(air, left.select(np.zeros(len(left), bool)))) == 0


def test_flashes_do_not_join_two_hoppers() -> None:
    rng = np.random.default_rng(2)
    hoppers = (_hopping(80, BURST, -57.0), _hopping(70, BURST, -66.0))
    flashes = pulses_at(rng.uniform(2423, 2441, 100), rng.uniform(-66, -57, 100), FLASH)
    groups = by_power(_together(*hoppers, flashes))
    powers = [round(float(np.median(each.power_dbm[each.samples == BURST]))) for each in groups]
    assert sorted(powers) == [-66, -57]


def test_frames_longer_than_what_hops_elsewhere_tell_a_network(air: Air) -> None:
    alike = _hopping(200, BURST, -50.0)
    network, chance = (
        pulses_at(np.full(9, 2430.0), np.full(9, -50.0), samples, spread_mhz)
        for samples, spread_mhz in ((FRAME, 0.8), (BURST, 0.45))
    )
    measured = []
    for there in (network, chance):
        pulses = _together(alike, there)
        groups = find_fixed(air, pulses, levels(air, observe(air).picture), [], 0.0)
        mine = [each for each in groups if each.members[-len(there) :].sum() >= 8]
        measured.append(mine[0].features if mine else {"long_over_alike": 0.0, "broad_over_alike": 0.0})
    for name in ("long_over_alike", "broad_over_alike"):
        assert measured[0][name] > 5 > 1 > measured[1][name]


def test_stations_whose_powers_an_oven_joins_are_cut_more_finely() -> None:
    rng = np.random.default_rng(5)
    stations = (_hopping(40, BURST, -50.0), _hopping(40, BURST, -57.0))
    oven = pulses_at(rng.uniform(2423, 2441, 900), rng.uniform(-60, -47, 900), FLASH)
    (group,) = by_power(_together(*stations, oven))
    parts = within(group)
    assert sorted(round(float(np.median(each.power_dbm))) for each in parts) == [-57, -50]
    assert all((each.samples == BURST).all() for each in parts)
    # One station is one, and a few bursts are none.
    (alone,) = by_power(_hopping(60, BURST, -50.0))
    assert within(alone) == []
    assert within(_together(oven, _hopping(4, BURST, -50.0))) == []

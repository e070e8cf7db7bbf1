"""What stays on one frequency is found among what hops over it, by its power."""

from dataclasses import replace

import numpy as np
import pytest

from services.airshark.analysis.carrier import keeps_peaks
from services.airshark.analysis.carrier_kinds import believed
from services.airshark.analysis.carriers import find_carriers, levels
from services.airshark.analysis.fixed import MAX_GROUPS, MAX_OF_CHANNELS, find_fixed
from services.airshark.analysis.scene import describe, observe
from services.airshark.simulator.radio import Plan
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from tests.support.air import air_of_one_block, pulses_at, quiet_air

ZIGBEE_MHZ, ZIGBEE_DBM = 2430.0, -58.0


@pytest.mark.parametrize("seed", range(4))
def test_a_network_is_found_below_three_hoppers_with_more_pulses_on_its_frequency(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hopping = [rng.uniform(2423, 2441, 300) for _ in range(3)]
    powers = [rng.normal(level, 1.0, 300) for level in (-40.0, -48.0, -72.0)]
    staying = ZIGBEE_MHZ + rng.normal(0, 0.1, 14)
    frequency = np.concatenate([*hopping, staying])
    power = np.concatenate([*powers, rng.normal(ZIGBEE_DBM, 0.7, 14)])
    order = rng.permutation(len(frequency))
    pulses = pulses_at(frequency[order], power[order])

    air = quiet_air(2432, 0.05)
    groups = find_fixed(air, pulses, levels(air, observe(air).picture), [], 0.0)

    assert len(groups) <= MAX_GROUPS + MAX_OF_CHANNELS
    mine = [each for each in groups if abs(each.frequency_mhz - ZIGBEE_MHZ) < 0.3]
    assert any((order[each.members] >= 900).sum() >= 12 and each.members.sum() <= 16 for each in mine)


@pytest.mark.parametrize("seed", range(4))
def test_a_network_is_found_by_how_broad_it_is_among_hoppers_of_its_power(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hopping, staying = rng.uniform(2423, 2441, 300), ZIGBEE_MHZ + rng.normal(0, 0.1, 6)
    power = rng.normal(ZIGBEE_DBM, 1.0, 306)
    spread_mhz = np.concatenate((rng.normal(0.45, 0.06, 300), rng.normal(0.8, 0.06, 6)))
    pulses = pulses_at(np.concatenate((hopping, staying)), power, spread_mhz=spread_mhz)

    air = quiet_air(2432, 0.05)
    network, *others = find_fixed(air, pulses, levels(air, observe(air).picture), [], 0.0)

    assert abs(network.frequency_mhz - ZIGBEE_MHZ) < 0.3
    assert network.members[300:].sum() >= 5
    assert network.members[:300].sum() <= 1
    assert network.features["broad_share"] > 0.9
    assert network.features["broad_over_alike"] > 4
    assert all(each.features["broad_share"] < 0.2 for each in others)


@pytest.mark.parametrize(("pausing", "is_picture"), [(0.0, True), (0.2, False)])
def test_what_pauses_is_no_picture(pausing: float, is_picture: bool) -> None:
    plan = Plan((2432,), 0.4)
    camera = air_of_one_block(Scenario(0.4, 1, (DeviceSpec("analog_video", -50.0),), plan=plan))
    quiet = air_of_one_block(Scenario(0.4, 1, plan=plan))
    silent = np.arange(len(camera)) % 100 < 100 * pausing
    dbm = np.where(silent[:, None], quiet.dbm[: len(camera)], camera.dbm)
    scene = describe(observe(replace(camera, dbm=dbm)))

    assert any(each.broad for each in believed(scene)) is is_picture


def test_a_picture_that_leaves_the_view_now_and_then_is_one_and_a_network_is_none() -> None:
    plan = Plan((2432,), 0.4)
    air = air_of_one_block(Scenario(0.4, 1, (DeviceSpec("analog_video", -50.0),), plan=plan))
    observed = observe(air)
    carriers, _ = find_carriers(air, observed.peaks, observed.picture, levels(air, observed.picture))
    picture = next(each for each in carriers if each.is_picture)
    lively = replace(picture, wander_mhz=1.4, spread_mhz=0.5, silence=0.25, edge_mhz=1.8)

    assert lively.is_picture
    # In the middle of the view nothing leaves it, and what moves no further is as broad as a network.
    for network in (
        replace(lively, edge_mhz=6.0),
        replace(lively, wander_mhz=0.5),
        replace(lively, silence=0.5),
        replace(lively, spread_mhz=0.9),
    ):
        assert network.pauses
        assert not network.is_picture
    # It keeps its peaks only where it may be the skirt of a picture: far weaker, or on its place.
    network = replace(lively, silence=0.5, frequency_mhz=picture.frequency_mhz + 8.0)
    assert not keeps_peaks(network, [picture])
    assert keeps_peaks(replace(network, power_dbm=picture.power_dbm - 15.0), [picture])
    assert keeps_peaks(replace(network, frequency_mhz=picture.frequency_mhz + 1.0), [picture])
    assert not keeps_peaks(replace(network, frequency_mhz=picture.frequency_mhz + 20.0), [picture])

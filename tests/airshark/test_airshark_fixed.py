"""What stays on one frequency is found among what hops over it, by its power."""

from dataclasses import replace

import numpy as np
import pytest

from services.airshark.analysis.carrier_kinds import believed
from services.airshark.analysis.carriers import levels
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
    groups = find_fixed(air, pulses, levels(air, observe(air).picture), 0.0)

    assert len(groups) <= MAX_GROUPS + MAX_OF_CHANNELS
    mine = [each for each in groups if abs(each.frequency_mhz - ZIGBEE_MHZ) < 0.3]
    assert any((order[each.members] >= 900).sum() >= 12 and each.members.sum() <= 16 for each in mine)


@pytest.mark.parametrize(("pausing", "is_picture"), [(0.0, True), (0.2, False)])
def test_what_pauses_is_no_picture(pausing: float, is_picture: bool) -> None:
    plan = Plan((2432,), 0.4)
    camera = air_of_one_block(Scenario(0.4, 1, (DeviceSpec("analog_video", -50.0),), plan=plan))
    quiet = air_of_one_block(Scenario(0.4, 1, plan=plan))
    silent = np.arange(len(camera)) % 100 < 100 * pausing
    dbm = np.where(silent[:, None], quiet.dbm[: len(camera)], camera.dbm)
    scene = describe(observe(replace(camera, dbm=dbm)))

    assert any(each.broad for each in believed(scene)) is is_picture

"""What comes with each cycle of the mains shows in how strong parts of a view are."""

from dataclasses import replace

import numpy as np
import pytest

from services.airshark.analysis.air import Air, Bools
from services.airshark.analysis.bands import FAR_OFF_MHZ, describe_bands
from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.carriers import find_carriers, levels
from services.airshark.analysis.peaks import BINS_IN_PART
from services.airshark.analysis.rhythm import CONTROLS_HZ, LINES_HZ, Lines, stretches
from services.airshark.analysis.scene import observe
from services.airshark.simulator.radio import Plan
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from tests.support.air import air_of_one_block

CENTRE_MHZ, PART = 2457, 2
CLEAR, CHANCE = 6.0, 3.0
"""How much better what follows the mains does so than what does not."""


@pytest.fixture(scope="module")
def quiet() -> Air:
    return air_of_one_block(Scenario(0.8, 5, plan=Plan((CENTRE_MHZ, 2442), 0.1)))


def _with(air: Air, on: Bools, more_db: float) -> Air:
    """Returns the same air with one part of one view stronger in some samples."""
    here = on & (air.centre_mhz == CENTRE_MHZ)
    dbm = air.dbm.copy()
    dbm[here, PART * BINS_IN_PART : (PART + 1) * BINS_IN_PART] += more_db
    return replace(air, dbm=dbm)


def _bands(air: Air, carriers: list[CarrierSeen] | None = None) -> dict[str, float]:
    stretch = stretches(air.time_s, air.visit)
    lines = Lines(air.time_s, stretch, np.concatenate((LINES_HZ, CONTROLS_HZ)), air.interval_s)
    return describe_bands(air, observe(air).picture, np.arange(len(air)), lines, stretch, carriers or [])


@pytest.mark.parametrize("hertz", [50.0, 60.0, 120.0])
def test_a_little_more_power_in_half_of_each_cycle_is_seen_and_where(quiet: Air, hertz: float) -> None:
    bands = _bands(_with(quiet, (quiet.time_s * hertz) % 1.0 < 0.5, 1.5))
    assert bands["band_over_control"] > CLEAR
    assert bands["band_twice"] == float(hertz > 60)
    part_mhz = quiet.bins_mhz(CENTRE_MHZ)[PART * BINS_IN_PART : (PART + 1) * BINS_IN_PART]
    assert bands["band_middle_mhz"] == pytest.approx(part_mhz.mean())
    assert bands["band_picture_mhz"] == FAR_OFF_MHZ
    # With no picture around, everything is far from one.
    for each in ("over_control", "middle_mhz", "share"):
        assert bands[f"far_{each}"] == bands[f"band_{each}"]


def test_what_follows_something_else_or_nothing_does_not_follow_the_mains(quiet: Air) -> None:
    assert _bands(quiet)["band_over_control"] < CHANCE
    assert _bands(_with(quiet, (quiet.time_s * 41.0) % 1.0 < 0.5, 1.5))["band_over_control"] < 1.0


def test_what_is_far_stronger_now_and_then_does_not_hide_the_rhythm(quiet: Air) -> None:
    oven = _with(quiet, (quiet.time_s * 50.0) % 1.0 < 0.5, 3.0)
    frames = np.random.default_rng(3).uniform(size=len(quiet)) < 0.1
    assert _bands(_with(oven, frames, 45.0))["band_over_control"] > CLEAR
    assert _bands(_with(quiet, frames, 45.0))["band_over_control"] < CHANCE


def test_beside_a_picture_the_best_part_far_from_it_counts_for_itself(quiet: Air) -> None:
    air = air_of_one_block(Scenario(0.4, 5, (DeviceSpec("cw", -50.0),), plan=Plan((2457,), 0.1)))
    observed = observe(air)
    carriers, _ = find_carriers(air, observed.peaks, observed.picture, levels(air, observed.picture))
    follows = _with(quiet, (quiet.time_s * 60.0) % 1.0 < 0.5, 3.0)
    middle_mhz = _bands(follows)["band_middle_mhz"]
    picture = replace(
        carriers[0], frequency_mhz=middle_mhz - 3.0, wander_mhz=0.8, jumpiness=1.0, power_swing_db=2.0
    )
    beside = _bands(follows, [picture])
    assert beside["band_over_control"] > CLEAR
    assert beside["band_picture_mhz"] == pytest.approx(3.0)
    assert beside["far_over_control"] < CHANCE
    assert beside["far_picture_mhz"] > 9.0


def test_parts_beyond_what_an_oven_fills_and_visits_too_short_tell_nothing() -> None:
    low = air_of_one_block(Scenario(0.4, 5, plan=Plan((2407,), 0.1)))
    lit = replace(low, dbm=low.dbm + 3 * ((low.time_s * 50.0) % 1.0 < 0.5)[:, None])
    assert _bands(lit)["band_over_control"] == 0.0
    short = air_of_one_block(Scenario(0.4, 5, plan=Plan((2457, 2442), 0.02)))
    lit = replace(short, dbm=short.dbm + 3 * ((short.time_s * 50.0) % 1.0 < 0.5)[:, None])
    assert _bands(lit)["band_over_control"] == 0.0

"""What follows the mains is seen in the view that shows it, and beside what is stronger."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.airshark.generators import air_of
from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.carriers import find_carriers, levels
from services.airshark.analysis.mains import LINES_HZ, describe_mains
from services.airshark.analysis.scene import Observed, observe
from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.emissions import Oven
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from services.airshark.simulator.simulate import simulate
from tests.support.cases import thorough_but

CLEAR = 2.0
"""So much better than to other frequencies an oven keeps to the mains."""


def _observed(*devices: DeviceSpec, seed: int) -> tuple[Observed, list[CarrierSeen]]:
    air = air_of([*simulate(Scenario(2.0, seed, devices))])
    assert air is not None
    observed = observe(air)
    return observed, find_carriers(air, observed.peaks, observed.picture, levels(air, observed.picture))[0]


def _mains(observed: Observed, carriers: list[CarrierSeen], show: bool = True) -> dict[str, float]:
    free = np.full(len(observed.peaks), show)
    air, picture = observed.air, observed.picture
    return describe_mains(air, observed.peaks, picture, levels(air, picture), carriers, free)[0]


@pytest.mark.parametrize("seed", thorough_but(range(9001, 9010), 9002))
def test_a_network_with_longer_frames_elsewhere_does_not_hide_an_oven(seed: int) -> None:
    network = DeviceSpec("zigbee", -38.0)
    mains = _mains(*_observed(network, DeviceSpec("microwave", -50.0), seed=seed))
    assert mains["on_over_control"] > CLEAR
    assert mains["on_share"] > 0.15
    assert _mains(*_observed(network, seed=seed))["on_over_control"] < CLEAR


def test_what_is_always_there_keeps_to_the_mains_by_its_ripple(monkeypatch: pytest.MonkeyPatch) -> None:
    # In the next view it is far weaker, and there only while it sweeps that far.
    oven = Oven(50.0, 0.2, 2447.0, 6.0, 1.0, inverter=True)
    monkeypatch.setitem(MAKERS, "inverter_microwave", lambda seconds, rng: [oven])
    mains = _mains(*_observed(DeviceSpec("inverter_microwave", -45.0), seed=9001))
    assert abs(mains["middle_mhz"] - 2448.2) < 1
    assert mains["on_share"] > 0.9
    assert mains["field_100_hz"] > 0.1


def test_the_skirt_of_a_picture_in_the_next_view_is_no_other_one() -> None:
    observed, carriers = _observed(DeviceSpec("cw", -60.0), DeviceSpec("microwave", -45.0), seed=9002)
    picture = replace(carriers[0], wander_mhz=0.5, jumpiness=1.0)
    mains = _mains(observed, [])
    main, skirt = (
        replace(picture, frequency_mhz=mains["middle_mhz"] + off_mhz, power_dbm=level_dbm)
        for off_mhz, level_dbm in ((4.0, -40.0), (1.0, -65.0))
    )
    assert _mains(observed, [main, skirt])["picture_off_mhz"] == pytest.approx(4.0, abs=0.1)
    # As strong, it is another one, and a carrier that shows a picture's lines is one too.
    other = replace(skirt, power_dbm=-42.0)
    assert _mains(observed, [main, other])["picture_off_mhz"] == pytest.approx(1.0, abs=0.1)
    still = replace(skirt, power_dbm=-42.0, wander_mhz=0.02, spread_mhz=0.3, line_share=0.5)
    assert _mains(observed, [main, still])["picture_off_mhz"] == pytest.approx(1.0, abs=0.1)
    silent = replace(still, line_share=0.0)
    assert _mains(observed, [main, silent])["picture_off_mhz"] == pytest.approx(4.0, abs=0.1)


def test_how_many_bins_are_stronger_tells_an_oven_that_shows_no_peak() -> None:
    beside = (DeviceSpec("cw", -30.0), DeviceSpec("microwave", -60.0))
    observed, carriers = _observed(*beside, seed=9002)
    mains = _mains(observed, carriers, show=False)
    assert mains["on_over_control"] == 0
    assert mains["lit_over_control"] > CLEAR
    line = max(LINES_HZ, key=lambda hz: mains[f"lit_{hz:.0f}_hz"])
    assert mains[f"lit_{line:.0f}_hz"] > 0.3
    assert _mains(*_observed(beside[0], seed=9002), show=False)["lit_over_control"] < CLEAR
    # A picture changes the bins of its views with the mains too: nothing is said of these.
    picture = replace(carriers[0], wander_mhz=1.0)
    pictures = [replace(picture, frequency_mhz=mhz) for mhz in (2412.0, 2442.0, 2472.0)]
    assert _mains(observed, pictures, show=False)["lit_over_control"] == 0

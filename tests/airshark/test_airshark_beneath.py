"""A picture beneath a stronger carrier is seen where it has moved away from it."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from services.airshark.analysis.analyzer import decide
from services.airshark.analysis.beneath import find_beneath
from services.airshark.analysis.carriers import find_carriers, levels
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.lifecycle import Lifecycle
from services.airshark.analysis.model import load_model
from services.airshark.analysis.scene import Observed, describe, observe
from services.airshark.simulator.emissions import Bursts, Carrier, Transmitter
from services.airshark.simulator.radio import FrontEnd
from services.airshark.simulator.waveforms import Modulation
from tests.support.air import bursts, on_one_channel

SECONDS, CENTRE_MHZ, STRONG_DBM = 0.6, 2447, -45.0
PICTURE_MHZ = 2450.0
MUSIC = Carrier(2450.8, Modulation.TONE, 0.06)


def _on_air(monkeypatch: pytest.MonkeyPatch, *transmitters: Transmitter) -> Observed:
    """Returns one channel with some transmitters, whose gain is relative to the strongest."""
    return on_one_channel(monkeypatch, transmitters, CENTRE_MHZ, STRONG_DBM, SECONDS, FrontEnd())


def _beneath(observed: Observed) -> list[Found]:
    air, peaks, picture = observed.air, observed.peaks, observed.picture
    return find_beneath(air, peaks, find_carriers(air, peaks, picture, levels(air, picture))[0])


def _bursts(frequency_mhz: "npt.ArrayLike", count: int, each_s: float) -> Bursts:
    return bursts(frequency_mhz, np.linspace(0.0, SECONDS - each_s, count), each_s, -8.0)


@pytest.mark.parametrize("below_db", [5.0, 10.0])
def test_a_picture_beneath_music_is_a_device_of_its_own(
    monkeypatch: pytest.MonkeyPatch, below_db: float
) -> None:
    picture = Carrier(PICTURE_MHZ, Modulation.VIDEO, 1.0, gain_db=-below_db)
    observed = _on_air(monkeypatch, MUSIC, picture)
    (found,) = _beneath(observed)
    assert found.device is Device.ANALOG_VIDEO
    assert found.center_mhz == pytest.approx(PICTURE_MHZ, abs=0.5)
    assert found.rssi_dbm == pytest.approx(STRONG_DBM - below_db, abs=3.0)
    devices = decide(describe(observed), load_model())
    (music,) = (each for each in devices if each.device is not Device.ANALOG_VIDEO)
    assert len(devices) == 2
    lifecycle = Lifecycle()
    for now_s in (1.0, 2.0):
        lifecycle.update(devices, now_s)
    assert {each.device for each in lifecycle.confirmed()} == {music.device, Device.ANALOG_VIDEO}


def test_what_is_beside_a_carrier_otherwise_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    everywhere_mhz = rng.integers(2438, 2457, 900).astype(np.float64)
    for others in (
        (),
        # Another carrier, or a product of the radio, stays where it is.
        (Carrier(2449.0, Modulation.TONE, gain_db=-8.0),),
        # A network comes and goes, and what hops is everywhere.
        (_bursts(2448.0, 12, 5e-3),),
        (_bursts(everywhere_mhz, 900, 0.4e-3),),
    ):
        assert not _beneath(_on_air(monkeypatch, MUSIC, *others))


def test_a_picture_beneath_is_told_by_places_powers_and_times_that_only_a_picture_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observed = _on_air(monkeypatch, MUSIC, Carrier(PICTURE_MHZ, Modulation.VIDEO, 1.0, gain_db=-6.0))
    air, peaks, picture = observed.air, observed.peaks, observed.picture
    carriers, _ = find_carriers(air, peaks, picture, levels(air, picture))
    assert find_beneath(air, peaks, carriers)
    off_mhz = np.abs(peaks.frequency_mhz - MUSIC.frequency_mhz)
    mine = off_mhz > 0.8
    rng = np.random.default_rng(1)
    weaker = (peaks.power_dbm - np.where(mine, 22, 0)).astype(np.float32)
    uneven = (peaks.power_dbm - np.where(mine, rng.uniform(0, 16, len(peaks)), 0)).astype(np.float32)
    in_place = np.where(mine, 2449.0, peaks.frequency_mhz).astype(np.float32)
    at_times = ~mine | (air.time_s[peaks.row] % 0.1 < 0.03)
    for changed in (
        replace(peaks, power_dbm=weaker),
        replace(peaks, power_dbm=uneven),
        replace(peaks, frequency_mhz=in_place),
        peaks.select(at_times),
        peaks.select(~mine | (rng.uniform(size=len(peaks)) < 0.02)),
    ):
        assert not find_beneath(air, changed, carriers)
    # A carrier that is not there all the time hides nothing, and too few samples tell nothing.
    assert not find_beneath(air, peaks, [replace(each, presence=0.5) for each in carriers])
    few = observe(air.select(slice(0, 150)))
    assert not find_beneath(few.air, few.peaks, carriers)

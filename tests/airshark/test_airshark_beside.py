"""What is beside a carrier far stronger is seen: other carriers in its skirts, and bursts."""

from dataclasses import replace

import numpy as np
import pytest

from services.airshark.analysis.background import beside_carriers
from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.carrier_kinds import believed, kind_features
from services.airshark.analysis.carriers import find_carriers, levels
from services.airshark.analysis.faint import find_faint
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.peaks import MIN_OVER_MEDIAN_DB, Peaks, none
from services.airshark.analysis.pictures import has_sound, without_parts
from services.airshark.analysis.scene import Observed, Scene, describe
from services.airshark.analysis.skirts import close_humps, humps, prominence
from services.airshark.simulator.emissions import Bursts, Carrier, Transmitter
from services.airshark.simulator.radio import FrontEnd
from services.airshark.simulator.waveforms import Modulation
from tests.support.air import bursts, on_one_channel

SPACING_MHZ = 22 / 64
SECONDS, CENTRE_MHZ = 0.4, 2442
STRONG_DBM = -35.0
# The skirts of a radio that sees no further than 25 dB below the strongest.
NEAR_SIGHTED = FrontEnd(skirt_db=12.0, skirt_floor_db=25.0)


def _on_air(
    monkeypatch: pytest.MonkeyPatch, *transmitters: Transmitter, front: FrontEnd = NEAR_SIGHTED
) -> Observed:
    """Returns one channel with some transmitters, whose gain is relative to the strongest."""
    return on_one_channel(monkeypatch, transmitters, CENTRE_MHZ, STRONG_DBM, SECONDS, front)


def _carriers(observed: Observed) -> list[CarrierSeen]:
    air, peaks, picture = observed.air, observed.peaks, observed.picture
    return find_carriers(air, peaks, picture, levels(air, picture))[0]


def _bursts(frequency_mhz: float, gain_db: float, each_s: float, every_s: float) -> Bursts:
    return bursts(frequency_mhz, np.arange(0.0, SECONDS, every_s), each_s, gain_db)


def _beside(observed: Observed) -> Peaks:
    air, peaks, picture = observed.air, observed.peaks, observed.picture
    level = levels(air, picture)
    carriers, owned = find_carriers(air, peaks, picture, level)
    return beside_carriers(air, peaks, owned, picture, level, carriers)


def test_a_hump_rises_above_both_of_its_valleys() -> None:
    profile = np.full(56, -90.0, np.float32)
    profile[20:27] = [-88, -86, -84, -82, -84, -86, -88]
    profile[40:] = np.linspace(-90, -60, 16)  # The skirt of something beyond the view.
    assert humps(profile, SPACING_MHZ).keys() == {23}
    assert prominence(profile, SPACING_MHZ)[23] == pytest.approx(8.0)
    assert prominence(profile, SPACING_MHZ)[10] == 0.0
    assert not humps(profile - 0.7 * (profile + 90), SPACING_MHZ)


def test_a_hump_ends_where_a_higher_one_begins() -> None:
    profile = np.full(56, -90.0, np.float32)
    profile[19:24] = [-80, -68, -66, -68, -75]
    profile[24:29] = [-79, -64, -60, -64, -80]
    assert humps(profile, SPACING_MHZ) == {21: (14, 24), 26: (19, 29)}


def test_two_carriers_little_apart_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    front, places_mhz = FrontEnd(spacing_mhz=20 / 64), (2437.7, 2439.1)
    weaker, stronger = (
        Carrier(mhz, Modulation.TONE, gain_db=gain_db)
        for mhz, gain_db in zip(places_mhz, (-3.0, 0.0), strict=True)
    )
    seen = _carriers(_on_air(monkeypatch, stronger, weaker, front=front))
    # As far from the middle of the view as bins seem to be that lie 1.1 times as far apart.
    apparent_mhz = [CENTRE_MHZ + (mhz - CENTRE_MHZ) * 1.1 for mhz in places_mhz]
    assert sorted(each.frequency_mhz for each in seen) == pytest.approx(apparent_mhz, abs=0.1)


def test_a_lively_picture_in_the_skirt_of_a_carrier_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    strong = Carrier(2446.6, Modulation.TONE)
    picture = Carrier(2440.2, Modulation.VIDEO, 0.8, gain_db=-13.0)
    (found,) = [
        each for each in _carriers(_on_air(monkeypatch, strong, picture)) if each.frequency_mhz < 2444
    ]
    assert found.in_skirt
    assert found.is_picture
    assert found.frequency_mhz == pytest.approx(2440.2, abs=0.4)
    (alone,) = _carriers(_on_air(monkeypatch, strong))
    assert not alone.in_skirt


def test_bursts_are_no_carrier_in_the_skirt_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    strong = Carrier(2446.6, Modulation.TONE)
    for share in (0.5, 0.8):
        frames = _bursts(2440.0, -4.0, 4e-3 * share, 4e-3)
        assert not any(each.in_skirt for each in _carriers(_on_air(monkeypatch, strong, frames)))


@pytest.mark.parametrize("share", [0.1, 0.7], ids=["now and then", "most of the time"])
def test_bursts_beside_a_strong_carrier_stand_out_of_what_is_always_there(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    strong = Carrier(2446.6, Modulation.TONE)
    frames = _bursts(2444.4, -4.0, 10e-3 * share, 10e-3)
    observed = _on_air(monkeypatch, strong, frames)
    time_s = observed.air.time_s % 10e-3

    def shown(peaks: Peaks) -> set[int]:
        return set(peaks.row[np.abs(peaks.frequency_mhz - 2444.4) < 0.8].tolist())

    sends = set(np.flatnonzero((time_s > 2e-4) & (time_s < 10e-3 * share - 2e-4)).tolist())
    silent = set(np.flatnonzero(time_s > 10e-3 * share + 4e-4).tolist())
    beside = _beside(observed)
    assert len(shown(beside) & sends) > 0.7 * len(sends)
    assert len(shown(beside) & silent) < 0.05 * len(silent)
    assert len(shown(observed.peaks) & sends) < 0.3 * len(sends)
    # The carrier itself is none of them, and the power is that of the bursts.
    assert (np.abs(beside.frequency_mhz - 2446.6) < 0.5).sum() < 0.02 * len(observed.air)
    mine = beside.power_dbm[np.abs(beside.frequency_mhz - 2444.4) < 0.8]
    assert np.median(mine) == pytest.approx(STRONG_DBM - 4.0, abs=4.0)


def test_faint_bursts_on_a_channel_of_zigbee_are_known_by_all_its_bins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strong = Carrier(2446.6, Modulation.TONE)

    def found(mhz: float, gain_db: float) -> tuple[Observed, Peaks, set[int]]:
        observed = _on_air(monkeypatch, strong, _bursts(mhz, gain_db, 2e-3, 10e-3))
        beside = _beside(observed)
        near = beside.select(np.abs(beside.frequency_mhz - mhz) < 0.8)
        return observed, near, set(near.row[near.over_db < MIN_OVER_MEDIAN_DB].tolist())

    observed, near, faint = found(2440.0, -13.0)
    time_s = observed.air.time_s % 10e-3
    sends = set(np.flatnonzero((time_s > 2e-4) & (time_s < 1.8e-3)).tolist())
    silent = set(np.flatnonzero(time_s > 2.5e-3).tolist())
    assert len(faint & sends) > 0.7 * len(sends)
    assert len(faint & silent) < 0.05 * len(silent)
    assert np.median(near.frequency_mhz) == pytest.approx(2440.0, abs=0.3)
    assert np.median(near.spread_mhz) > 0.6
    # Between channels nothing of the kind is looked for, and what shows by itself is not faint.
    assert not found(2437.4, -13.0)[2]
    _, near, faint = found(2440.0, 0.0)
    assert len(near) > 200
    assert len(faint) < 0.05 * len(near)


def test_faint_bursts_are_looked_for_where_they_could_show(monkeypatch: pytest.MonkeyPatch) -> None:
    air = _on_air(monkeypatch, Carrier(2446.6, Modulation.TONE)).air
    rows, flat, over_db = (
        np.arange(len(air)),
        np.full(56, -80.0, np.float32),
        np.zeros((56, len(air)), np.float32),
    )
    inside = np.abs(air.first_bin_mhz[0] + np.arange(56) * air.spacing_mhz - 2440.0) < 1.0
    over_db[inside, 100:120] = 4.0
    assert find_faint(air, rows, over_db, flat, none()).row.tolist() == list(range(100, 120))
    # Not in fewer samples than a burst has, not with bins as broad as a channel, nor outside the band.
    assert not len(find_faint(air, rows[:3], over_db[:, 100:103], flat, none()))
    assert not len(find_faint(replace(air, spacing_mhz=1.0), rows, over_db, flat, none()))
    assert not len(
        find_faint(replace(air, first_bin_mhz=air.first_bin_mhz + 2800), rows, over_db, flat, none())
    )


def test_a_network_on_top_of_a_carrier_stays_one_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is there all the time is a notch in what is more than that.
    weak = Carrier(2439.8, Modulation.TONE, gain_db=-12.0)
    observed = _on_air(monkeypatch, weak, _bursts(2440.0, 0.0, 1e-3, 10e-3), front=FrontEnd())
    beside = _beside(observed)
    mine = beside.select(np.abs(beside.frequency_mhz - 2440.0) < 3.0)
    assert len(np.unique(mine.row)) > 200
    assert len(mine) < 1.1 * len(np.unique(mine.row))
    assert np.median(mine.frequency_mhz) == pytest.approx(2440.0, abs=0.15)


def test_without_a_carrier_the_peaks_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    observed = _on_air(monkeypatch, _bursts(2440.0, 0.0, 2e-3, 10e-3))
    assert not _carriers(observed)
    beside = _beside(observed)
    assert np.array_equal(beside.row, observed.peaks.row)
    assert np.array_equal(beside.frequency_mhz, observed.peaks.frequency_mhz)


def _scene(observed: Observed) -> tuple[Scene, CarrierSeen]:
    scene = describe(observed)
    return scene, max(believed(scene), key=lambda each: each.power_dbm)


def test_the_sound_of_a_picture_and_its_channel_say_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    front = FrontEnd()
    picture = Carrier(2450.2, Modulation.VIDEO, 0.1)
    sound = Carrier(2450.2 - 6.5, Modulation.TONE, 0.08, gain_db=-20.0)
    other = Carrier(2450.2 - 4.0, Modulation.TONE, 0.08, gain_db=-20.0)
    features = []
    for transmitters in ([picture, sound], [picture, other], [picture]):
        scene, carrier = _scene(_on_air(monkeypatch, *transmitters, front=front))
        features.append(kind_features(carrier, believed(scene), scene))
    heard, beside, silent = (each["sound_db"] for each in features)
    assert heard > 6
    assert max(beside, silent) < 4
    assert all(each["camera_off_mhz"] < 0.4 for each in features)
    # With the other spacing of the bins it would be as far from the middle of the view as that.
    scene, carrier = _scene(_on_air(monkeypatch, picture, front=front))
    off = {
        round(kind_features(replace(carrier, frequency_mhz=mhz), [], scene)["camera_off_mhz"], 1)
        for mhz in (2442.0 + 8.0 * 1.1, 2441.0)
    }
    assert off == {0.0, 3.0}


def test_what_is_alike_on_both_sides_of_a_carrier_is_the_sound_of_a_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = Carrier(2441.2, Modulation.VIDEO, 0.1)
    sound = [Carrier(2441.2 + off, Modulation.TONE, 0.08, gain_db=-20.0) for off in (-6.0, 6.0)]
    alone = Carrier(2441.2 + 4.8, Modulation.TONE, 0.08, gain_db=-20.0)
    for others, places, is_one in (
        (sound, [2441.2], True),
        ([sound[0], alone], [2435.2, 2441.2, 2446.0], False),
    ):
        scene, carrier = _scene(_on_air(monkeypatch, picture, *others, front=FrontEnd()))
        assert has_sound(carrier, scene) is is_one
        assert sorted(each.frequency_mhz for each in believed(scene)) == pytest.approx(places, abs=0.3)


def _found(device: Device, center_mhz: float, rssi_dbm: float, second_mhz: float) -> Found:
    return Found(device, 0.9, True, center_mhz, 0.3, rssi_dbm, 1.0, 0.0, 1.0, 0.5, {"second_mhz": second_mhz})


@pytest.mark.parametrize(
    ("camera_mhz", "phone_mhz", "second_mhz", "is_part"),
    [
        (2448.0, 2454.2, 2454.2, True),
        (2448.0, 2454.2, 2430.4, False),
        (2442.0, 2448.2, 2448.2, False),
    ],
    ids=["where its sound is", "with a carrier elsewhere", "with nothing on the other side"],
)
def test_what_may_be_the_sound_of_a_camera_is_no_phone(
    monkeypatch: pytest.MonkeyPatch, camera_mhz: float, phone_mhz: float, second_mhz: float, is_part: bool
) -> None:
    # The view ends at 2432.4 and 2451.3 MHz; at 2441.8 MHz something is as strong as the phone.
    scene = describe(_on_air(monkeypatch, Carrier(2441.8, Modulation.TONE, gain_db=-25.0), front=FrontEnd()))
    camera = _found(Device.ANALOG_VIDEO, camera_mhz, -40.0, camera_mhz)
    phone = _found(Device.ANALOG_PHONE, phone_mhz, STRONG_DBM - 25.0, second_mhz)
    assert without_parts([camera, phone], scene) == ([camera] if is_part else [camera, phone])


@pytest.mark.parametrize("weaker_db", [5.0, 12.0])
def test_a_carrier_close_to_a_stronger_one_shows_in_its_own_bin(
    weaker_db: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    strong, close = (
        Carrier(mhz, Modulation.TONE, gain_db=gain_db)
        for mhz, gain_db in ((2445.1, 0.0), (2446.15, -weaker_db))
    )
    sharp = FrontEnd()
    below, above = sorted(_carriers(_on_air(monkeypatch, strong, close, front=sharp)), key=_place)
    assert (below.frequency_mhz, above.frequency_mhz) == pytest.approx((2445.1, 2446.15), abs=0.15)
    assert below.power_dbm - above.power_dbm == pytest.approx(weaker_db, abs=2.5)
    assert above.in_skirt
    assert not below.in_skirt
    (alone,) = _carriers(_on_air(monkeypatch, strong, front=sharp))
    assert alone.frequency_mhz == pytest.approx(2445.1, abs=0.1)


def test_bins_one_by_one_show_humps_that_three_together_do_not() -> None:
    profile = np.full(56, -90.0, np.float32)
    profile[20:25] = [-60, -45, -58, -50, -61]
    assert close_humps(profile, SPACING_MHZ).keys() == {21, 23}
    profile[22] = -52.0
    assert close_humps(profile, SPACING_MHZ).keys() == {21}


def _place(carrier: CarrierSeen) -> float:
    return carrier.frequency_mhz

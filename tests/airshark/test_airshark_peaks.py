"""What stands out of a sample is found once, and so is what moves a carrier."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.airshark.generators import air_of
from benchmarks.airshark.scenes import USUAL_PLAN
from services.airshark.analysis.air import Air, Floats
from services.airshark.analysis.carriers import find_carriers, levels, without_folded
from services.airshark.analysis.movement import BASS_S, PICTURE_LINES_HZ, PILOT_HZ, bass_share, tone_shares
from services.airshark.analysis.peaks import (
    BINS_IN_PART,
    GROW_WITHIN_DB,
    MIN_OVER_MEDIAN_DB,
    MIN_OVER_SHOULDERS_DB,
    PEAKS_PER_SAMPLE,
    find_peaks,
    shoulder_bins,
)
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from services.airshark.simulator.simulate import simulate

SPACING_MHZ = 22 / 64
BINS = 56
NOISE_DBM = -110.0
INTERVAL_S = 114e-6


def _air(dbm: Floats, visits: int = 1) -> Air:
    count = len(dbm)
    number, one = np.arange(count), np.ones(count, np.float32)
    total_dbm = 10 * np.log10((10 ** (dbm / 10)).sum(axis=1))
    return Air(
        number * np.float64(INTERVAL_S),
        number * visits // count, one * 2432, one * (2432 - 28 * SPACING_MHZ),
        SPACING_MHZ, dbm.astype(np.float32), one * -95, total_dbm.astype(np.float32), INTERVAL_S,
    )  # fmt: skip


def _tone(at: float, level_dbm: float, tapered: float) -> Floats:
    """Returns bins of a tone, as seen through a window that begins and ends at once, or ever more softly."""
    time = (np.arange(64) + 0.5) / 64
    window = np.sin(np.pi * time) ** (2 * tapered)
    spectrum = np.fft.fft(window * np.exp(2j * np.pi * at * time) / window.sum())[:BINS]
    dbm: Floats = (level_dbm + 20 * np.log10(np.abs(spectrum) + 1e-9)).astype(np.float32)
    return dbm


def _peaks_of(dbm: Floats) -> list[tuple[float, int]]:
    """Returns place and width, in bins, of the peaks of one sample, looked for bin by bin."""
    linear = 10 ** (np.pad(dbm.astype(np.float64), 1, constant_values=-np.inf) / 10)
    smooth = 10 * np.log10(linear[:-2] + linear[1:-1] + linear[2:])
    near, far = shoulder_bins(SPACING_MHZ)
    median = sorted(smooth[::2])[len(smooth[::2]) // 2]
    left, found = smooth.copy(), []
    for number in range(PEAKS_PER_SAMPLE):
        top = int(left.argmax())
        level = left[top]
        if level <= median + MIN_OVER_MEDIAN_DB:
            break
        low = smooth < level - GROW_WITHIN_DB
        first = max((each + 1 for each in range(top) if low[each]), default=0)
        end = min((each for each in range(top + 1, len(dbm)) if low[each]), default=len(dbm))
        shoulders = smooth[max(top - far, 0) : max(top - near + 1, 0)], smooth[top + near : top + far + 1]
        lower = all(not len(each) or each.min() < level - MIN_OVER_SHOULDERS_DB for each in shoulders)
        if not number or (lower and smooth[first:end].max() <= level):
            power = linear[1 + first : 1 + end]
            found.append((float(np.average(np.arange(first, end), weights=power)), end - first))
        left[first:end] = left[max(top - 2, 0) : top + 3] = -np.inf
    return found


@pytest.mark.parametrize("bins", [56, 128, 256, 512])
def test_all_samples_at_once_show_the_peaks_that_each_shows_bin_by_bin(bins: int) -> None:
    rng = np.random.default_rng(bins)
    dbm = rng.normal(-100, 4, (60, bins)).astype(np.float32)
    for row, count in zip(dbm, rng.integers(0, 6, len(dbm)), strict=True):
        for at, width in zip(rng.integers(0, bins, count), rng.integers(1, 9, count), strict=True):
            row[at : at + width] += np.float32(rng.uniform(8, 50))
    peaks, picture = find_peaks(_air(dbm))
    place = (peaks.frequency_mhz - _air(dbm).first_bin_mhz[0]) / SPACING_MHZ
    for number, row in enumerate(dbm):
        mine = peaks.row == number
        found = sorted(zip(place[mine].tolist(), np.rint(peaks.width_mhz[mine] / SPACING_MHZ), strict=True))
        expected = sorted(_peaks_of(row))
        assert [width for _, width in found] == [width for _, width in expected]
        assert [at for at, _ in found] == pytest.approx([at for at, _ in expected], abs=0.01)
    assert len(peaks) > len(dbm)
    parts = dbm.reshape(len(dbm), -1, BINS_IN_PART).mean(axis=2)
    assert picture.parts_dbm == pytest.approx(parts, abs=1e-3)


def _together(*parts: Floats) -> Floats:
    sum_dbm: Floats = 10 * np.log10(sum(10 ** (each / 10) for each in (*parts, np.full(BINS, NOISE_DBM))))
    return sum_dbm


@pytest.mark.parametrize("tapered", [0.0, 0.5, 1.0])
def test_the_skirts_of_a_strong_signal_are_no_signals_of_their_own(tapered: float) -> None:
    rng = np.random.default_rng(2)
    tones = [_together(_tone(at, -40.0, tapered)) for at in rng.uniform(15, 40, 200)]
    peaks, _ = find_peaks(_air(np.array(tones)))
    assert np.array_equal(peaks.row, np.arange(200))


def test_two_signals_with_a_valley_between_them_are_two() -> None:
    peaks, _ = find_peaks(_air(_together(_tone(12.0, -40.0, 0.5), _tone(40.0, -60.0, 0.5))[None]))
    assert sorted(np.round(peaks.power_dbm)) == [-59.0, -39.0]


@pytest.mark.parametrize(
    ("bins_below", "level_dbm", "count"), [(12.0, -72.0, 1), (12.0, -60.0, 2), (9.0, -72.0, 2)]
)
def test_what_mirrors_a_much_stronger_signal_is_made_by_the_radio(
    bins_below: float, level_dbm: float, count: int
) -> None:
    both = _together(_tone(28 + 12.0, -35.0, 1.5), _tone(28 - bins_below, level_dbm, 1.5))
    peaks, _ = find_peaks(_air(both[None]))
    assert len(peaks) == count


@pytest.mark.parametrize(
    ("place", "off_mhz", "weaker_db", "left"),
    [
        (30.0, 22.0, 25.0, 1),
        (26.0, -22.0, 25.0, 1),
        (30.0, 22.0, 5.0, 2),
        (30.0, 20.0, 25.0, 2),
        (20.0, 22.0, 25.0, 2),
    ],
    ids=["above", "below", "too strong", "elsewhere", "from too far outside"],
)
def test_what_the_transform_folds_into_the_next_view_is_no_carrier(
    place: float, off_mhz: float, weaker_db: float, left: int
) -> None:
    air = _air(np.array([_together(_tone(place, -50.0, 0.0))] * 50))
    peaks, picture = find_peaks(air)
    (carrier, *_), _ = find_carriers(air, peaks, picture, levels(air, picture))
    other = replace(
        carrier,
        centre_mhz=carrier.centre_mhz + np.copysign(15, off_mhz),
        frequency_mhz=carrier.frequency_mhz + off_mhz,
        power_dbm=carrier.power_dbm - weaker_db,
    )
    assert len(without_folded([carrier, other], air)) == left


def test_a_tone_far_faster_than_the_samples_is_found_in_what_moves_a_carrier() -> None:
    rng = np.random.default_rng(4)
    count, visits = 2000, 4
    time_s = np.arange(count) * INTERVAL_S + rng.normal(0, 0.7e-6, count)
    visit = np.arange(count) * visits // count
    noise = rng.normal(0, 0.01, count)
    # Its phase is another one in each visit.
    tone = 0.01 * np.sqrt(2) * np.sin(2 * np.pi * (PILOT_HZ * time_s + rng.uniform(size=visits)[visit]))
    assert tone_shares(time_s, noise + tone, visit, PILOT_HZ)[0] == pytest.approx(np.sqrt(0.5), abs=0.05)
    assert tone_shares(time_s, noise + tone, visit, PICTURE_LINES_HZ[0])[0] < 0.1
    assert tone_shares(time_s, noise, visit, PILOT_HZ)[0] < 0.1
    assert tone_shares(time_s, tone, visit, PILOT_HZ)[0] == pytest.approx(1.0, abs=0.02)
    # Nothing moves, or visits are too short to say.
    assert tone_shares(time_s, np.zeros(count), visit, PILOT_HZ)[0] == 0.0
    assert tone_shares(time_s, tone, np.arange(count) // 50, PILOT_HZ)[0] == 0.0


@pytest.mark.parametrize(
    ("device", "pilot", "line"),
    [("analog_audio", True, False), ("analog_video", False, True), ("analog_phone", False, False)],
)
def test_stereo_sound_and_pictures_have_tones_that_speech_has_not(
    device: str, pilot: bool, line: bool
) -> None:
    shares = []
    for seed in range(9001, 9007):
        air = air_of([*simulate(Scenario(0.6, seed, (DeviceSpec(device, -45.0),), plan=USUAL_PLAN))])
        assert air is not None
        peaks, picture = find_peaks(air)
        carriers, _ = find_carriers(air, peaks, picture, levels(air, picture))
        best = max(carriers, key=lambda each: each.power_dbm)
        shares.append((best.pilot_share, best.line_share))
    pilots, lines = np.max(shares, axis=0)
    assert (pilots > 0.15) == pilot
    assert (lines > 0.2) == line


def test_a_carrier_moves_as_far_as_in_its_loudest_visit() -> None:
    rng = np.random.default_rng(1)
    # A visit of silence after each of music, and one that is half as long again.
    moves = np.repeat([0.0, 0.1, 0.0, 0.0, 0.0], 200)
    at = 20.3 + rng.normal(0, 1, len(moves)) * moves
    air = _air(np.array([_together(_tone(each, -50.0, 0.0)) for each in at]), visits=5)
    peaks, picture = find_peaks(air)
    (carrier, *_), _ = find_carriers(air, peaks, picture, levels(air, picture))
    assert carrier.still_mhz == pytest.approx(0.1 * SPACING_MHZ, rel=0.25)


def test_only_music_has_bass() -> None:
    rng = np.random.default_rng(4)
    count, visits = 3200, 4
    time_s = np.arange(count) * INTERVAL_S
    visit = np.arange(count) * visits // count
    noise = rng.normal(0, 0.01, count)
    for hertz, more, less in ((80.0, 0.8, 1.0), (150.0, 0.4, 0.8), (700.0, 0.0, 0.1)):
        tone = 0.1 * np.sin(2 * np.pi * hertz * time_s)
        assert more < bass_share(time_s, tone + noise, visit) < less
    assert bass_share(time_s, noise, visit) == pytest.approx(INTERVAL_S / BASS_S, abs=0.03)
    # What changes from visit to visit is no bass.
    assert bass_share(time_s, noise + 0.3 * visit, visit) < 0.1
    assert bass_share(time_s, np.zeros(count), visit) == 0.0

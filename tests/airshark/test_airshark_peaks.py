"""What stands out of a sample is found once, and so is what moves a carrier."""

import numpy as np
import pytest

from services.airshark.analysis.air import Air, Floats
from services.airshark.analysis.carriers import find_carriers, levels
from services.airshark.analysis.peaks import find_peaks

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


def test_a_carrier_moves_as_far_as_in_its_loudest_visit() -> None:
    rng = np.random.default_rng(1)
    # A visit of silence after each of music, and one that is half as long again.
    moves = np.repeat([0.0, 0.1, 0.0, 0.0, 0.0], 200)
    at = 20.3 + rng.normal(0, 1, len(moves)) * moves
    air = _air(np.array([_together(_tone(each, -50.0, 0.0)) for each in at]), visits=5)
    peaks, picture = find_peaks(air)
    (carrier, *_), _ = find_carriers(air, peaks, picture, levels(air, picture))
    assert carrier.still_mhz == pytest.approx(0.1 * SPACING_MHZ, rel=0.25)

"""Levels are what the formula says, whichever way this processor computes them faster."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from services.airshark.domain import power

WAYS = [power.by_logarithm, power.by_table]


def _formula(data: "npt.NDArray[np.uint8]", total_dbm: float, max_exp: int) -> Any:
    """Returns the levels of one half, in double precision."""
    if not data.any():
        return np.full(len(data), power.SILENT_DBM)
    least = 0.5**max_exp if max_exp <= 7 else 1
    values = data.astype(float)
    shares = 20 * np.log10(np.where(values, values, least)) - 10 * np.log10((values**2).sum())
    return total_dbm + shares


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("bins", "halves"), [(56, 1), (128, 2), (512, 1)])
def test_every_value_and_shift_has_its_level(
    monkeypatch: pytest.MonkeyPatch, way: Callable[..., None], bins: int, halves: int
) -> None:
    monkeypatch.setattr(power, "relative_db", way)
    random = np.random.default_rng(bins)
    count = 2 * power.BINS_AT_ONCE // bins + 3
    magnitudes = random.integers(0, 256, (count, bins), np.uint8)
    magnitudes[::3] *= random.random((count, bins))[::3] < 0.1
    magnitudes[5, : bins // halves] = 0
    totals = random.integers(-120, 20, (count, halves)).astype(np.float32)
    shifts = random.integers(0, 16, count).astype(np.uint8)
    # As in a record, the bins of a row are not right behind those before.
    rows = np.zeros((count, bins + 21), np.uint8)
    rows[:, 21:] = magnitudes

    found = power.bins_dbm(rows[:, 21:], totals, shifts)

    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    for row in [*range(400), *range(count - 100, count)]:
        parts = zip(np.split(magnitudes[row], halves), totals[row], strict=True)
        expected = np.concatenate([_formula(data, total, shifts[row]) for data, total in parts])
        np.testing.assert_allclose(found[row], expected, atol=1e-4)
    assert (found[5, : bins // halves] == power.SILENT_DBM).all()


def test_the_table_is_read_where_numpy_takes_logarithms_one_by_one() -> None:
    program = "from services.airshark.domain import power; print(power.relative_db.__name__)"
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"}
    command = [sys.executable, "-W", "ignore", "-c", program]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "by_table"

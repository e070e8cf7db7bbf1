"""Medians and percentiles are those of numpy, and runs those of itertools."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.airshark.analysis.ranks import median, percentiles, runs

NUMBERS = st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=40)


@given(NUMBERS, st.lists(st.integers(0, 100), min_size=1, max_size=4))
def test_ranks_are_those_of_numpy(numbers: list[float], percents: list[int]) -> None:
    for kind in (np.float32, np.float64):
        values = np.array(numbers, kind)
        before = values.copy()
        assert median(values) == pytest.approx(float(np.median(values)), rel=1e-6, abs=1e-4)
        expected = [float(each) for each in np.percentile(values.astype(np.float64), percents)]
        assert percentiles(values, *percents) == pytest.approx(expected, abs=1e-9)
        assert (values == before).all()


@given(st.lists(st.integers(0, 3), max_size=30))
def test_runs_are_those_of_itertools(numbers: list[int]) -> None:
    starts, lengths = runs(np.array(numbers, np.int64))
    expected = [len(list(each)) for _, each in groupby(numbers)]
    assert lengths.tolist() == expected
    assert starts.tolist() == [sum(expected[:at]) for at in range(len(expected))]

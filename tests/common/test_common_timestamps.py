"""Times cross the wire to the microsecond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.timestamps import to_seconds, to_timestamp


@given(st.floats(-62_000_000_000, 253_000_000_000))
def test_a_time_is_the_same_to_the_microsecond(time_s: float) -> None:
    time = to_timestamp(time_s)
    assert 0 <= time.nanos < 1_000_000_000
    assert time.nanos % 1000 == 0
    assert to_seconds(time) == pytest.approx(time_s, rel=1e-15, abs=1e-6)


def test_a_time_is_rounded_up_into_the_next_second() -> None:
    time = to_timestamp(1.9999999)
    assert (time.seconds, time.nanos) == (2, 0)

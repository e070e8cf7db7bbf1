"""Connections of Bluetooth Low Energy are told by their turns on even frequencies."""

import numpy as np
import pytest

from services.airshark.analysis.air import Air
from services.airshark.analysis.connections import of_connection
from services.airshark.analysis.pulses import Pulses
from tests.support.air import quiet_air

EVENTS = 20
BETWEEN_S, EVERY_S = 150e-6, 15e-3


@pytest.fixture(scope="module")
def air() -> Air:
    return quiet_air(2412, 0.05)


def _pulses(
    places_mhz: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    gap_s: float = BETWEEN_S,
    weaker_db: float = 0.0,
    every_s: float = EVERY_S,
) -> Pulses:
    """Two pulses of 1.9 ms on each of the places, one right after the other, perhaps weaker."""
    rng = np.random.default_rng(3)
    count = len(places_mhz) * 2
    start_s = (np.arange(len(places_mhz))[:, None] * every_s + np.array([0, 1.9e-3 + gap_s])).reshape(-1)
    start_s += rng.uniform(-50e-6, 50e-6, count)
    frequency = np.repeat(places_mhz, 2) + rng.normal(0, 0.08, count)
    one = np.ones(count, np.float32)
    power = np.tile(np.array([-60.0, -60.0 - weaker_db], np.float32), len(places_mhz))
    return Pulses(
        start_s, start_s + 1.9e-3, np.ones(count, np.int64), one * 2412, frequency.astype(np.float32),
        one * 0.1, one, one, power, one * 20, np.ones(count, np.int64), np.ones(count, bool),
    )  # fmt: skip


def _even() -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return 2404 + 2.0 * (np.arange(EVENTS) * 7 % 37)


def test_long_packets_that_take_turns_on_even_frequencies_are_a_connection(air: Air) -> None:
    assert of_connection(air, _pulses(_even())).all()


def test_one_side_of_a_connection_may_be_farther_away(air: Air) -> None:
    assert of_connection(air, _pulses(_even(), weaker_db=14.0)).all()
    assert not of_connection(air, _pulses(_even(), weaker_db=25.0)).any()


@pytest.mark.parametrize(
    ("places_mhz", "gap_s", "every_s"),
    [
        (2402 + 1.0 * (np.arange(EVENTS) * 23 % 79), BETWEEN_S, EVERY_S),
        (2401.5 + 0.864 * (np.arange(EVENTS) * 23 % 90), BETWEEN_S, EVERY_S),
        (np.full(EVENTS, 2426.0), BETWEEN_S, EVERY_S),
        (_even() + 1, BETWEEN_S, EVERY_S),
        (2402 + 2.0 * (np.arange(EVENTS) * 7 % 40), BETWEEN_S, EVERY_S),
        (_even(), 3e-3, EVERY_S),
        (_even()[:4], BETWEEN_S, EVERY_S),
        (_even(), BETWEEN_S, 5e-3),
        (_even(), BETWEEN_S, 8e-3),
        (_even(), BETWEEN_S + 90e-6, EVERY_S),
        (_even(), BETWEEN_S - 100e-6, EVERY_S),
    ],
    ids=[
        "each MHz",
        "a phone's grid",
        "one frequency",
        "odd ones",
        "advertisers' ones",
        "no turns",
        "too few",
        "too soon",
        "at other times",
        "too late an answer",
        "too early an answer",
    ],
)
def test_what_else_hops_or_stays_is_none(
    air: Air, places_mhz: "np.ndarray[tuple[int], np.dtype[np.float64]]", gap_s: float, every_s: float
) -> None:
    assert not of_connection(air, _pulses(places_mhz, gap_s, every_s=every_s)).any()


def test_few_pulses_are_nothing(air: Air) -> None:
    for count in (0, 1, 2):
        pulses = _pulses(_even()).select(np.arange(count))
        assert of_connection(air, pulses).shape == (count,)

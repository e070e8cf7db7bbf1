"""Connections of Bluetooth Low Energy are told by their turns on even frequencies."""

import numpy as np
import pytest

from services.airshark.analysis.air import Air, Timeline
from services.airshark.analysis.connections import of_connection
from services.airshark.analysis.pulses import Pulses
from services.airshark.domain.decoder import Decoder
from services.airshark.simulator.radio import Plan
from services.airshark.simulator.scenario import Scenario
from services.airshark.simulator.simulate import simulate

EVENTS = 20
BETWEEN_S = 150e-6


@pytest.fixture(scope="module")
def air() -> Air:
    chunks = b"".join(simulate(Scenario(0.05, 5, plan=Plan((2412,), 0.05))))
    (air,) = [Timeline().air(block) for block in Decoder("phy0").feed(chunks, 0.0)]
    assert air is not None
    return air


def _pulses(places_mhz: "np.ndarray[tuple[int], np.dtype[np.float64]]", gap_s: float = BETWEEN_S) -> Pulses:
    """Two pulses of 1.9 ms on each of the places, one right after the other."""
    rng = np.random.default_rng(3)
    count = len(places_mhz) * 2
    start_s = (np.arange(len(places_mhz))[:, None] * 15e-3 + np.array([0, 1.9e-3 + gap_s])).reshape(-1)
    start_s += rng.uniform(-50e-6, 50e-6, count)
    frequency = np.repeat(places_mhz, 2) + rng.normal(0, 0.08, count)
    one = np.ones(count, np.float32)
    return Pulses(
        start_s, start_s + 1.9e-3, np.ones(count, np.int64), one * 2412, frequency.astype(np.float32),
        one * 0.1, one, one, one * -60, one * 20, np.ones(count, np.int64), np.ones(count, bool),
    )  # fmt: skip


def _even() -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return 2404 + 2.0 * (np.arange(EVENTS) * 7 % 37)


def test_long_packets_that_take_turns_on_even_frequencies_are_a_connection(air: Air) -> None:
    assert of_connection(air, _pulses(_even())).all()


@pytest.mark.parametrize(
    ("places_mhz", "gap_s"),
    [
        (2402 + 1.0 * (np.arange(EVENTS) * 23 % 79), BETWEEN_S),
        (2401.5 + 0.864 * (np.arange(EVENTS) * 23 % 90), BETWEEN_S),
        (np.full(EVENTS, 2426.0), BETWEEN_S),
        (_even() + 1, BETWEEN_S),
        (_even(), 3e-3),
        (_even()[:4], BETWEEN_S),
    ],
    ids=["each MHz", "a phone's grid", "one frequency", "odd ones", "no turns", "too few"],
)
def test_what_else_hops_or_stays_is_none(
    air: Air, places_mhz: "np.ndarray[tuple[int], np.dtype[np.float64]]", gap_s: float
) -> None:
    assert not of_connection(air, _pulses(places_mhz, gap_s)).any()


def test_few_pulses_are_nothing(air: Air) -> None:
    for count in (0, 1, 2):
        pulses = _pulses(_even()).select(np.arange(count))
        assert of_connection(air, pulses).shape == (count,)

"""Finds connections of Bluetooth Low Energy among pulses that hop over the band.

Both sides of a connection take turns on one frequency, 150 us apart, and move on together to another one of
37 frequencies, even numbers of MHz but not those of advertisers, no sooner than after 7.5 ms and after a
multiple of 1.25 ms. Nothing else in the band does so: Bluetooth, phones and controllers use odd ones as well,
or none that is whole, or move on sooner or at other times, and networks that stay have few frequencies.
"""

import numpy as np

from services.airshark.analysis.air import Air, Bools
from services.airshark.analysis.fixed import BLE_ADVERTISING_MHZ
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.rhythm import grid_strength, stretches

BETWEEN_S = 150e-6
LONGEST_S = 2.4e-3
"""The largest packet takes 2.12 ms."""
SLACK_INTERVALS = 1.3
SAME_MHZ, SAME_DB = 0.5, 18.0
"""One side may be much nearer than the other."""
AHEAD = 3
"""Some pulses of others may come in between."""
MIN_PULSES, MIN_PLACES, MIN_EVEN = 12, 8, 0.85
MOST_OF_ADVERTISERS = 0.02
"""Share of the pulses that may lie on their frequencies by chance."""
SOONEST_S, MOST_TOO_SOON = 7e-3, 0.08
"""A connection moves on after 7.5 ms at the soonest; how often something may seem to do so sooner."""
UNIT_S, LEAST_ON_GRID, ENOUGH_PAIRS = np.array([1.25e-3]), 0.4, 8
"""A connection moves on after a whole number of these; how well its moves lie on their grid, at least, if so
many pairs of moves within a visit tell."""
MEAN_BETWEEN_S = (85e-6, 200e-6)
"""Between both sides, on average: more exact than each single time by far."""


def of_connection(air: Air, pulses: Pulses) -> Bools:
    """Returns which pulses belong to a connection: none if there is none."""
    turns = _taking_turns(air, pulses)
    if turns.sum() < MIN_PULSES:
        return np.zeros(len(pulses), bool)
    frequency = pulses.frequency_mhz.astype(np.float64)
    places, of_place = np.unique(np.rint(frequency[turns]), return_inverse=True)
    # Each place counts once, however much is said there; an even number turns the wave full circle.
    mean_mhz = np.bincount(of_place, frequency[turns]) / np.bincount(of_place)
    even = float(np.cos(np.pi * mean_mhz).mean())
    is_one = len(places) >= MIN_PLACES and even >= MIN_EVEN and not _of_another(pulses.select(turns))
    return turns if is_one else np.zeros(len(pulses), bool)


def _of_another(turns: Pulses) -> bool:
    """Tells whether pulses that take turns use the frequencies of advertisers, move on too soon, at
    other times, or answer sooner or later than a connection does."""
    frequency = turns.frequency_mhz
    advertises = np.min([np.abs(frequency - each) for each in BLE_ADVERTISING_MHZ], axis=0) < SAME_MHZ
    if advertises.mean() > MOST_OF_ADVERTISERS:
        return True
    moves = np.abs(np.diff(frequency)) > SAME_MHZ
    moved = np.flatnonzero(moves) + 1
    together = np.diff(turns.visit[moved]) == 0
    too_soon = np.diff(turns.start_s[moved])[together] < SOONEST_S
    if too_soon.sum() > MOST_TOO_SOON * len(too_soon):
        return True
    times_s = turns.start_s[moved].astype(np.float64)
    stretch = stretches(times_s, turns.visit[moved])
    size = np.bincount(stretch)
    on_grid, _ = grid_strength(times_s, stretch, UNIT_S)
    if (size * (size - 1)).sum() >= 2 * ENOUGH_PAIRS and on_grid[0] < LEAST_ON_GRID:
        return True
    gap_s = turns.start_s[1:] - turns.end_s[:-1]
    answers = ~moves & (gap_s < 2 * BETWEEN_S) & (np.diff(turns.visit) == 0)
    mean_s = float(gap_s[answers].mean()) if answers.any() else BETWEEN_S
    return not MEAN_BETWEEN_S[0] < mean_s < MEAN_BETWEEN_S[1]


def _taking_turns(air: Air, pulses: Pulses) -> Bools:
    """Returns which pulses answer, or are answered by, another one on the same frequency."""
    turns = np.zeros(len(pulses), bool)
    short = pulses.duration_s < LONGEST_S
    for ahead in range(1, min(AHEAD, len(pulses) - 1) + 1):
        now, then = slice(ahead, None), slice(None, -ahead)
        gap_s = pulses.start_s[now] - pulses.end_s[then]
        fits = (
            short[now]
            & short[then]
            & (np.abs(gap_s - BETWEEN_S) < SLACK_INTERVALS * air.interval_s)
            & (np.abs(pulses.frequency_mhz[now] - pulses.frequency_mhz[then]) < SAME_MHZ)
            & (np.abs(pulses.power_dbm[now] - pulses.power_dbm[then]) < SAME_DB)
            & (pulses.visit[now] == pulses.visit[then])
        )
        turns[now] |= fits
        turns[then] |= fits
    return turns

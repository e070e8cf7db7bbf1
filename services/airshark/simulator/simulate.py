"""Puts devices, air and radio together."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.emissions import Floats, Transmitter
from services.airshark.simulator.noise_like import Frames, Jammer, gaussian, network, shape
from services.airshark.simulator.radio import WINDOW_S, records, smeared
from services.airshark.simulator.scenario import Scenario
from services.airshark.simulator.waveforms import BINS, windows

ROWS_AT_ONCE = 4096
REACH_MHZ = 18.0
"""Signals further from the tuned centre than this are not seen at all."""
PASSBAND_MHZ = 10.0
STOPBAND_DB_PER_MHZ = 6.0
"""Read from a recorded carrier outside the passband: some 15 dB at 12.7 MHz, and 45 dB at 17.7 MHz."""


def simulate(scenario: Scenario) -> Iterator[bytes]:
    """Yields the driver's records, some thousands at a time."""
    rng = np.random.default_rng(scenario.seed)
    transmitters = [
        (transmitter, spec.level_dbm)
        for spec in scenario.devices
        for transmitter in MAKERS[spec.device](scenario.seconds, rng)
    ]
    networks = [
        (
            network(scenario.seconds, each.load, each.centre_mhz, each.level_dbm, each.width_mhz, rng),
            each.decoded,
        )
        for each in scenario.wifi
    ]
    jammers = [Jammer(each.centre_mhz, each.width_mhz, each.level_dbm) for each in scenario.jammers]
    time_s, channel = scenario.plan.times(scenario.seconds, rng)
    keep = ~_suppressed(time_s, channel, networks, rng)
    time_s, channel = time_s[keep], channel[keep]
    for start in range(0, len(time_s), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        spectrum = _noise_like(scenario, time_s[rows], channel[rows], networks, jammers, rng)
        for transmitter, level_dbm in transmitters:
            _add(spectrum, transmitter, level_dbm, time_s[rows], channel[rows], scenario, rng)
        yield records(time_s[rows], channel[rows], spectrum, scenario.front, rng).tobytes()


def _suppressed(
    time_s: Floats,
    channel: "npt.NDArray[np.int64]",
    networks: list[tuple[Frames, float]],
    rng: np.random.Generator,
) -> "npt.NDArray[np.bool_]":
    """Tells which samples the radio does not take because it receives a frame."""
    result = np.zeros(len(time_s), bool)
    for frames, decoded in networks:
        received = rng.uniform(size=len(frames.start_s)) < decoded
        which = frames.at(time_s)
        tuned = np.abs(channel - frames.centre_mhz) < 3
        # It recognises a frame only after its first symbols.
        recognised = time_s - frames.start_s[which] > WINDOW_S
        result |= (which >= 0) & received[which] & tuned & recognised
    return result


def _noise_like(
    scenario: Scenario,
    time_s: Floats,
    channel: "npt.NDArray[np.int64]",
    networks: list[tuple[Frames, float]],
    jammers: list[Jammer],
    rng: np.random.Generator,
) -> "npt.NDArray[np.complex64]":
    spacing = scenario.front.spacing_mhz
    axis = channel[:, None] + (np.arange(BINS) - BINS // 2) * spacing
    density = np.full((len(time_s), BINS), 10 ** (scenario.front.floor_dbm / 10) / 20 * spacing)
    for jammer in jammers:
        density += jammer.power_mw(axis - jammer.centre_mhz) * spacing
    for frames, _ in networks:
        which = frames.at(time_s)
        for dsss in (False, True):
            rows = np.flatnonzero((which >= 0) & (frames.dsss[which] == dsss))
            level = 10 ** (frames.level_dbm[which[rows]] / 10)
            offset = axis[rows] - frames.centre_mhz
            density[rows] += level[:, None] * shape(offset, frames.width_mhz, dsss) * spacing
    return gaussian(density, rng)


def _add(
    spectrum: "npt.NDArray[np.complex64]",
    transmitter: Transmitter,
    level_dbm: float,
    time_s: Floats,
    channel: "npt.NDArray[np.int64]",
    scenario: Scenario,
    rng: np.random.Generator,
) -> None:
    for seen in transmitter.seen(time_s, rng):
        offset = seen.frequency_mhz - channel[seen.rows]
        near = np.abs(offset) < REACH_MHZ
        if not near.any():
            continue
        signal = windows(seen.modulation, offset[near].astype(np.float32), scenario.front.spacing_mhz, rng)
        beyond = np.maximum(np.abs(offset[near]) - PASSBAND_MHZ, 0)
        amplitude = 10 ** ((level_dbm + seen.gain_db[near] - STOPBAND_DB_PER_MHZ * beyond) / 20)
        signal = smeared(signal, scenario.front)
        # Rows are unique within one `Seen`.
        spectrum[seen.rows[near]] += (signal * amplitude[:, None]).astype(np.complex64)

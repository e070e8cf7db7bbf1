"""Analyses simulated air and recordings the way a node does."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from services.airshark.analysis.air import Air, Timeline
from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.lifecycle import Track
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.scene import Observed, observe
from services.airshark.domain.decoder import Decoder
from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.emissions import Bursts, Transmitter
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from services.airshark.simulator.simulate import simulate
from services.airshark.simulator.waveforms import Modulation


def analysed(chunks: Iterable[bytes]) -> Analyzer:
    """Returns an analyzer that has seen everything."""
    decoder, analyzer = Decoder("phy0"), Analyzer()
    for chunk in chunks:
        for block in decoder.feed(chunk, 0.0):
            analyzer.feed(block)
    for block in decoder.finish(0.0):
        analyzer.feed(block)
    analyzer.finish()
    return analyzer


def found(scenario: Scenario) -> dict[str, Track]:
    """Returns the devices found in a scenario, by kind."""
    return {track.device.value: track for track in analysed(simulate(scenario)).devices()}


def alone(device: str, level_dbm: float, seed: int, seconds: float = 2.0) -> Scenario:
    """Returns a scenario with one device."""
    return Scenario(seconds, seed, (DeviceSpec(device, level_dbm),))


def air_of_one_block(scenario: Scenario) -> Air:
    """Returns the samples of a scenario that is short enough for one block."""
    (air,) = [Timeline().air(block) for block in Decoder("phy0").feed(b"".join(simulate(scenario)), 0.0)]
    assert air is not None
    return air


def on_one_channel(
    monkeypatch: pytest.MonkeyPatch,
    transmitters: Iterable[Transmitter],
    centre_mhz: int,
    level_dbm: float,
    seconds: float,
    front: FrontEnd,
) -> Observed:
    """Returns what one channel shows of some transmitters, whose gain is relative to the level."""
    monkeypatch.setitem(MAKERS, "cw", lambda seconds, rng: list(transmitters))
    plan = Plan((centre_mhz,), seconds)
    return observe(
        air_of_one_block(Scenario(seconds, 3, (DeviceSpec("cw", level_dbm),), plan=plan, front=front))
    )


def bursts(
    frequency_mhz: "npt.ArrayLike", start_s: "npt.NDArray[np.float64]", each_s: float, gain_db: float
) -> Bursts:
    """Returns bursts as broad as ZigBee's, on one frequency or each on its own."""
    one = np.ones(len(start_s))
    return Bursts(start_s, start_s + each_s, one * frequency_mhz, one * gain_db, Modulation.OQPSK)


def quiet_air(centre_mhz: int, seconds: float) -> Air:
    """Returns some time of one channel without anything on it."""
    return air_of_one_block(Scenario(seconds, 5, plan=Plan((centre_mhz,), seconds)))


def pulses_at(
    frequency_mhz: "npt.NDArray[np.float64]",
    power_dbm: "npt.NDArray[np.float64]",
    samples: int = 4,
    spread_mhz: "npt.ArrayLike" = 0.45,
) -> Pulses:
    """Returns pulses on the channel at 2432 MHz, one each millisecond, so many samples long; what hops has
    the usual spread, and ZigBee 0.8 MHz."""
    count = len(frequency_mhz)
    start_s = np.arange(count, dtype=np.float64) * 1e-3
    one, number = np.ones(count, np.float32), np.ones(count, np.int64)
    spread = np.broadcast_to(np.asarray(spread_mhz, np.float32), (count,))
    return Pulses(
        start_s, start_s + samples * 115e-6, number, one * 2432, frequency_mhz.astype(np.float32), one * 0.1,
        spread, one, power_dbm.astype(np.float32), one * 20, number * samples, np.ones(count, bool),
    )  # fmt: skip

"""Analyses simulated air and recordings the way a node does."""

from collections.abc import Iterable

from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.lifecycle import Track
from services.airshark.domain.decoder import Decoder
from services.airshark.simulator.scenario import DeviceSpec, Scenario
from services.airshark.simulator.simulate import simulate


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

"""The models of air: three that share no code, so that what one has wrong can be seen with another."""

from collections.abc import Callable

from benchmarks.airshark.other.receiver import render as render_densities
from benchmarks.airshark.scenes import Truth, truth_of
from benchmarks.airshark.waves.receiver import render as render_waves
from services.airshark.analysis.air import Air, Timeline, concatenate
from services.airshark.domain.decoder import Decoder
from services.airshark.simulator.scenario import Scenario
from services.airshark.simulator.simulate import simulate


def first(scenario: Scenario) -> tuple[list[bytes], list[Truth]]:
    """Returns a scenario as the simulator of the product makes it."""
    return [*simulate(scenario)], truth_of(scenario)


GENERATORS: dict[str, Callable[[Scenario], tuple[list[bytes], list[Truth]]]] = {
    "first": first,
    "second": render_densities,
    "third": render_waves,
}
"""Records of a scenario, and what is in it, by name."""


def air_of(records: list[bytes]) -> Air | None:
    """Returns samples as the analyzer sees them."""
    decoder, timeline = Decoder("simulated"), Timeline()
    parts = [
        air
        for data in records
        for block in decoder.feed(data, 0.0)
        if (air := timeline.air(block)) is not None
    ]
    return concatenate(parts) if parts else None

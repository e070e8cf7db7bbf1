"""Says what could be seen of the devices that are missed: `python -m benchmarks.airshark.visible`.

Each window with four devices is made once more, from the same seed, without a device that was missed in it:
what differs is what the samples show of that device. What changes hardly any of them is covered by something
stronger; what changes many is there for a better detector.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.airshark.evaluate import Run
from benchmarks.airshark.generators import GENERATORS, air_of
from benchmarks.airshark.judging import Cell
from services.airshark.simulator.scenario import Scenario

SILENT_DBM = -250.0
SEEN_DB, SEEN_SAMPLES = 10.0, 100
"""A device that changes a bin by so much in so many samples could be seen."""


@dataclass(frozen=True)
class Missed:
    """A device that was on the air and not reported."""

    seed: int
    """Of the window."""
    device: str
    level_dbm: float
    samples: int | None
    """How many show it clearly; None if the generator makes other samples without it."""

    @property
    def could_be_seen(self) -> bool:
        """Whether enough samples show it."""
        return self.samples is not None and self.samples >= SEEN_SAMPLES


def missed(judged: tuple[Scenario, Cell], generator: str) -> list[Missed]:
    """Returns what was missed in a window, with what could be seen of it."""
    scenario, cell = judged
    return [
        Missed(scenario.seed, each.device, each.level_dbm, _seen_samples(scenario, each.device, generator))
        for each in scenario.devices
        if cell.hits[each.device] < cell.on[each.device]
    ]


def _seen_samples(scenario: Scenario, device: str, generator: str) -> int | None:
    silenced = tuple(
        replace(each, level_dbm=SILENT_DBM) if each.device == device else each for each in scenario.devices
    )
    both = [
        air_of(GENERATORS[generator](each)[0]) for each in (scenario, replace(scenario, devices=silenced))
    ]
    with_it, without_it = (each.dbm if each is not None else np.zeros((0, 0), np.float32) for each in both)
    if with_it.shape != without_it.shape:
        return None
    return int((with_it - without_it > SEEN_DB).any(axis=1).sum())


def lines(found: list[Missed]) -> Iterator[str]:
    """Yields one line for each device that was missed, and one for all of them."""
    for each in sorted(found, key=lambda one: (one.device, one.seed)):
        shown = "?" if each.samples is None else each.samples
        yield f"{each.seed} {each.device} {each.level_dbm:.0f} dBm, clearly seen in {shown} samples"
    seen = sum(each.could_be_seen for each in found)
    yield f"{len(found)} missed, {seen} of them clearly seen in {SEEN_SAMPLES} samples and more"


def main() -> None:
    """Prints them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=62)
    parser.add_argument("--windows", type=int, default=6, help="a twentieth of the windows")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--generator", choices=tuple(GENERATORS), default="first")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.workers) as pool:
        run = Run(given.seed, given.windows, given.seconds, given.generator, pool=pool)
        several = pool.map(partial(missed, generator=given.generator), run.several(4))
        for line in lines([each for window in several for each in window]):
            print(line)


if __name__ == "__main__":
    main()

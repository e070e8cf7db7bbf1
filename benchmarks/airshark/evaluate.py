"""Judges the detector: `python -m benchmarks.airshark.evaluate`, by the protocol of the README beside it.

Every window is simulated anew, with devices, clocks and front ends that the model was not trained on, and
goes through the kernel's bytes, the decoder and the analyzer, as on a node.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.airshark.generators import GENERATORS
from benchmarks.airshark.judging import CLASSES, MORE, Cell, Cost, judge
from benchmarks.airshark.report import BY_SPACING, GAPS, USUAL_SECONDS, is_unseen, table
from benchmarks.airshark.scenes import FOUR_BANDS, USUAL_PLAN, random_front
from services.airshark.analysis.model import MODEL_FILE, Model, load_model
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import DeviceSpec, JammerSpec, Scenario, WifiSpec

LEVELS_DBM = tuple(range(-100, -25, 5))
PAPER = {
    "one device, -80 dBm and above": 0.98,
    "four devices, -80 dBm and above": 0.91,
    "false positives, mean": 0.0039,
    "false positives, worst": 0.013,
}
STRONG_DBM = -80
SEVERAL_TIMES = 20
"""So many windows of several devices for each one of a single device at one level."""
SEED_STEP = 7919
RESULTS = Path(__file__).parent / "results"


class Run:
    """One evaluation."""

    def __init__(
        self,
        seed: int,
        windows: int,
        seconds: float,
        generator: str,
        model: Model | None = None,
        pool: Executor | None = None,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.windows = windows
        self.seconds = seconds
        self.cost = Cost()
        self._judge = partial(judge, generator=generator, model=model)
        self._map = pool.map if pool else map
        self._seed = 77_000_000 + seed * SEED_STEP * 1000

    def cell(self, make: Callable[[int], Scenario], windows: int) -> Cell:
        """Judges windows that `make` makes of a seed."""
        return _total(cell for _, cell in self._each(make, windows))

    def _each(self, make: Callable[[int], Scenario], windows: int) -> list[tuple[Scenario, Cell]]:
        first, self._seed = self._seed + 1, self._seed + windows
        scenarios = [make(seed) for seed in range(first, first + windows)]
        judged = list(self._map(self._judge, scenarios))
        for _, cost in judged:
            self.cost.add(cost)
        return [(scenario, cell) for scenario, (cell, _) in zip(scenarios, judged, strict=True)]

    def scenario(self, seed: int, *devices: tuple[str, float], **more: Any) -> Scenario:
        """Returns a window on the usual plan with a card of its own."""
        front = more.pop("front", None) or replace(
            random_front(self.rng), rssi_stuck_db=None, noise_field_dbm=int(self.rng.choice([-95, -92, -90]))
        )
        return Scenario(
            more.pop("seconds", self.seconds),
            seed,
            tuple(DeviceSpec(name, level) for name, level in devices),
            plan=more.pop("plan", USUAL_PLAN),
            front=front,
            **more,
        )

    def level(self) -> float:
        """Returns a level of the range in which the paper judges several devices."""
        return float(self.rng.uniform(-80, -30))

    def single(self) -> Iterator[tuple[str, int, Cell]]:
        """Set A: one device at each level."""
        for name in (*CLASSES, *MORE):
            for level in LEVELS_DBM:
                make = lambda seed, name=name, level=level: self.scenario(seed, (name, float(level)))  # noqa: E731
                yield name, level, self.cell(make, self.windows)

    def several(self, count: int, **more: Any) -> list[tuple[Scenario, Cell]]:
        """Judges windows with some different devices at once."""

        def make(seed: int) -> Scenario:
            names = self.rng.choice(CLASSES, count, replace=False)
            return self.scenario(seed, *((str(name), self.level()) for name in names), **more)

        return self._each(make, self.windows * SEVERAL_TIMES)

    def all_several(self) -> Iterator[tuple[str, Cell]]:
        """Set B; of four devices also by the spacing of the card's bins, and with gaps between views."""
        for count in (2, 3, 4):
            judged = self.several(count)
            yield f"{count} devices", _total(cell for _, cell in judged)
        for name, spacing_mhz in BY_SPACING.items():
            yield name, _total(cell for each, cell in judged if each.front.spacing_mhz == spacing_mhz)
        yield GAPS, _total(cell for _, cell in self.several(4, plan=Plan(FOUR_BANDS, 0.1)))

    def none(self) -> Iterator[tuple[str, Cell]]:
        """Set C: no device at all."""
        yield "noise", self.cell(lambda seed: self.scenario(seed), self.windows)
        for load in (0.05, 0.25, 0.5, 0.75, 0.9):
            yield (
                f"Wi-Fi load {load:.0%}",
                self.cell(partial(self._busy, load=load), self.windows),
            )
        for name, specs in {
            "weak Wi-Fi": (WifiSpec(2437, 0.4, -88.0, decoded=0.0),),
            "beacons alone": (WifiSpec(2412, 0.002, -55.0), WifiSpec(2437, 0.002, -70.0, decoded=0.0)),
            "three networks": (
                WifiSpec(2412, 0.3, -50.0),
                WifiSpec(2437, 0.6, -62.0),
                WifiSpec(2462, 0.2, -75.0, decoded=0.0),
            ),
            "40 MHz, none received": (WifiSpec(2447, 0.6, -60.0, 40.0, decoded=0.0),),
            "40 MHz, half received": (WifiSpec(2422, 0.4, -45.0, 40.0, decoded=0.5),),
        }.items():
            yield name, self.cell(partial(self.scenario, wifi=specs), self.windows)

    def _busy(self, seed: int, load: float) -> Scenario:
        wifi = WifiSpec(
            float(self.rng.choice([2412, 2417, 2437, 2442, 2462])), load, float(self.rng.uniform(-85, -40))
        )
        return self.scenario(seed, wifi=(wifi,))

    def load(self) -> Iterator[tuple[str, str, Cell]]:
        """Set D: one device beside Wi-Fi that takes half of the time of a channel."""
        for name in CLASSES:
            for load in (0.25, 0.5, 0.75):

                def make(seed: int, name: str = name, load: float = load) -> Scenario:
                    wifi = WifiSpec(float(self.rng.choice([2412, 2437, 2462])), load, -60.0)
                    return self.scenario(seed, (name, self.level()), wifi=(wifi,))

                yield name, f"{load:.0%}", self.cell(make, self.windows)

    def look_alike(self) -> Iterator[tuple[str, Cell]]:
        """Set E: what is easily taken for something else."""
        for name, devices in {
            "BLE alone": ("ble",),
            "oven with inverter": ("inverter_microwave",),
            "carrier with nothing on it": ("cw",),
            "two piconets": ("bluetooth", "bluetooth"),
            "two ovens": ("microwave", "microwave"),
        }.items():

            def make(seed: int, devices: tuple[str, ...] = devices) -> Scenario:
                return self.scenario(seed, *((device, self.level()) for device in devices))

            yield name, self.cell(make, self.windows)
        wide = WifiSpec(2447, 0.6, -60.0, 40.0, decoded=0.0)
        yield "40 MHz Wi-Fi", self.cell(lambda seed: self.scenario(seed, wifi=(wide,)), self.windows)
        noise = JammerSpec(2440, 60, -55)
        yield "broadband jammer", self.cell(lambda seed: self.scenario(seed, jammers=(noise,)), self.windows)

    def front_ends(self) -> Iterator[tuple[str, Cell]]:
        """Set F: cards with faults, and other plans; one to three devices each."""
        fronts = {
            "noise field -86": FrontEnd(noise_field_dbm=-86),
            "noise field -51": FrontEnd(noise_field_dbm=-51),
            "RSSI stuck": FrontEnd(rssi_stuck_db=10),
            "312.5 kHz": FrontEnd(spacing_mhz=0.3125),
            "clock restarts": FrontEnd(tsf_restarts=True),
            "2 % lost, 0.1 % corrupt": FrontEnd(lost_share=0.02, corrupt_share=0.001),
        }
        for name, front in fronts.items():
            yield name, self.cell(partial(self._mixed, front=front), self.windows * 2)
        plans = {
            "seven sub-bands": Plan(tuple(range(2412, 2473, 10)), 0.1),
            "one channel": Plan((2437,), 0.1),
            "every 1494 us": replace(USUAL_PLAN, period=255),
        }
        for name, plan in plans.items():
            yield name, self.cell(partial(self._mixed, plan=plan), self.windows * 2)

    def _mixed(self, seed: int, **more: Any) -> Scenario:
        names = self.rng.choice(CLASSES, int(self.rng.integers(1, 4)), replace=False)
        return self.scenario(seed, *((str(name), self.level()) for name in names), **more)


def _total(cells: Iterable[Cell]) -> Cell:
    result = Cell()
    for each in cells:
        result.add(each)
    return result


def evaluate(run: Run, seed: int, sets: str, generator: str, version: str) -> dict[str, Any]:
    """Runs the chosen sets and returns all figures."""
    out: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "generator": generator,
        "seed": seed,
        "windows_per_cell": run.windows,
        "seconds": run.seconds,
        "model": version,
        "paper": PAPER,
    }
    quiet, strong = Cell(), Cell()
    if "A" in sets:
        table: dict[str, dict[int, float]] = defaultdict(dict)
        for name, level, cell in run.single():
            table[name][level] = cell.accuracy()
            _say(f"A {name} {level}: {cell.accuracy():.3f}", cell)
            if name in CLASSES:
                quiet.add(cell)
            if level >= STRONG_DBM:
                strong.add(cell)
        out["A"] = table
        means = {
            name: float(np.mean([row[level] for level in LEVELS_DBM if level >= STRONG_DBM]))
            for name, row in table.items()
        }
        out["A, -80 dBm and above"] = means
        out["A, mean of eight"] = float(np.mean([means[name] for name in CLASSES]))
        out["A, worst of eight"] = min((means[name], name) for name in CLASSES)
        out["A, at -85 dBm, mean of eight"] = float(np.mean([table[name][-85] for name in CLASSES]))
    for letter, cells in (
        ("B", run.all_several()),
        ("C", run.none()),
        ("D", ((f"{name}, load {load}", cell) for name, load, cell in run.load())),
        ("E", run.look_alike()),
        ("F", run.front_ends()),
    ):
        if letter not in sets:
            continue
        out[letter] = {}
        for name, cell in cells:
            out[letter][name] = cell.figures()
            _say(f"{letter} {name}: {cell.accuracy():.3f}", cell)
            if name in BY_SPACING:
                continue  # These windows count already.
            if letter in "BC":
                quiet.add(cell)
            if letter == "B":
                strong.add(cell)
    rates = {
        name: quiet.false[name] / count for name, count in quiet.off.items() if name in CLASSES and count
    }
    if rates:
        out["false positives"] = {
            "mean": float(np.mean(list(rates.values()))),
            "worst": max(rates.values()),
            **dict(sorted(rates.items())),
            "of": dict(quiet.false_with.most_common(30)),
        }
    out["errors at -80 dBm and above"] = strong.errors()
    out["times real time"] = run.cost.air_s / max(run.cost.cpu_s, 1e-9)
    out["samples per CPU second"] = run.cost.samples / max(run.cost.cpu_s, 1e-9)
    return out


def _say(text: str, cell: Cell) -> None:
    missed = {
        name: round(cell.hits[name] / count, 2) for name, count in cell.on.items() if cell.hits[name] < count
    }
    print(text, missed, dict(cell.false_with), flush=True)


def main() -> None:
    """Runs the evaluation, and writes figures into a folder and their table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=USUAL_SECONDS)
    parser.add_argument("--sets", default="ABCDEF")
    parser.add_argument("--generators", choices=sorted(GENERATORS), nargs="+", default=sorted(GENERATORS))
    parser.add_argument("--model", type=Path, default=MODEL_FILE)
    parser.add_argument("--workers", type=int, default=1, help="processes; they do not change the figures")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for figures and their table")
    given = parser.parse_args()
    model = load_model(given.model)
    given.output.mkdir(parents=True, exist_ok=True)
    runs = []
    with ProcessPoolExecutor(given.workers) as pool:
        for generator in given.generators:
            run = Run(given.seed, given.windows, given.seconds, generator, model, pool)
            figures = evaluate(run, given.seed, given.sets, generator, model.version)
            runs.append(json.loads(json.dumps(figures, default=float)))
            name = generator + ("-unseen" if is_unseen(runs[-1]) else "")
            if given.seconds != USUAL_SECONDS:
                name += f"-{given.seconds:g}s"
            (given.output / f"{name}.json").write_text(json.dumps(runs[-1], indent=1) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()

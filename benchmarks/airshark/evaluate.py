"""Judges the detector: `python -m benchmarks.airshark.evaluate`, by the protocol of the README beside it.

Every window is simulated anew, with devices, clocks and front ends that the model was not trained on, and
goes through the kernel's bytes, the decoder and the analyzer, as on a node.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.airshark.scenes import FOUR_BANDS, random_front, truth_of
from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.lifecycle import Track
from services.airshark.domain.decoder import Decoder
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import DeviceSpec, JammerSpec, Scenario, WifiSpec
from services.airshark.simulator.simulate import simulate

CLASSES = (
    "microwave", "bluetooth", "zigbee", "analog_phone", "fhss_phone", "analog_video", "analog_audio", "xbox",
)  # fmt: skip
MORE = ("ble", "cw", "inverter_microwave")
LEVELS_DBM = tuple(range(-100, -25, 5))
REPORTED_AS = {"inverter_microwave": "microwave"}
PAPER = {
    "one device, -80 dBm and above": 0.98,
    "four devices, -80 dBm and above": 0.91,
    "false positives, mean": 0.0039,
    "false positives, worst": 0.013,
}
SEED_STEP = 7919


@dataclass
class Cell:
    """What happened in windows of one kind."""

    windows: int = 0
    on: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    off: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    exact: int = 0
    center_error_mhz: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rssi_error_db: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    detect_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    false_with: Counter[str] = field(default_factory=Counter)

    def accuracy(self) -> float:
        """Mean over classes of the share of windows in which a class was reported while it was on."""
        shares = [self.hits[name] / count for name, count in self.on.items()]
        return float(np.mean(shares)) if shares else float("nan")


@dataclass
class Cost:
    """CPU time of the analyzer, decoding included."""

    cpu_s: float = 0.0
    air_s: float = 0.0


def window(scenario: Scenario, cell: Cell, cost: Cost) -> None:
    """Simulates and judges one window."""
    data = [*simulate(scenario)]
    analyzer, decoder = Analyzer(), Decoder("simulated")
    began = time.process_time()
    for piece in data:
        for block in decoder.feed(piece, 0.0):
            analyzer.feed(block)
    analyzer.finish()
    cost.cpu_s += time.process_time() - began
    cost.air_s += scenario.seconds
    _score(scenario, analyzer.devices(), cell)


def _score(scenario: Scenario, tracks: list[Track], cell: Cell) -> None:
    cell.windows += 1
    expected = {REPORTED_AS.get(spec.device, spec.device): spec for spec in scenario.devices}
    if scenario.jammers:
        expected["jammer"] = DeviceSpec("jammer", scenario.jammers[0].level_dbm)
    reported = {track.device.value: track for track in tracks}
    places = {REPORTED_AS.get(each.device, each.device): each.frequencies_mhz for each in truth_of(scenario)}
    for name in {*CLASSES, "ble", "cw", "jammer", "unknown", *expected}:
        if name not in expected:
            cell.off[name] += 1
            cell.false[name] += name in reported
            if name in reported:
                cell.false_with[f"{name} for {'+'.join(sorted(expected)) or 'nothing'}"] += 1
            continue
        cell.on[name] += 1
        track = reported.get(name)
        if track is None:
            continue
        cell.hits[name] += 1
        cell.rssi_error_db[name].append(track.rssi_dbm - expected[name].level_dbm)
        if name in ("zigbee", "analog_phone", "analog_audio", "analog_video", "cw") and places.get(name):
            cell.center_error_mhz[name].append(min(abs(track.center_mhz - each) for each in places[name]))
    cell.exact += set(reported) == set(expected)


class Run:
    """One evaluation."""

    def __init__(self, seed: int, windows: int, seconds: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.windows = windows
        self.seconds = seconds
        self.cost = Cost()
        self._seed = 77_000_000 + seed * SEED_STEP * 1000

    def cell(self, make: Callable[[int], Scenario], windows: int) -> Cell:
        """Judges windows that `make` makes of a seed."""
        result = Cell()
        for _ in range(windows):
            self._seed += 1
            window(make(self._seed), result, self.cost)
        return result

    def scenario(self, seed: int, *devices: tuple[str, float], **more: Any) -> Scenario:
        """Returns a window on the usual plan with a card of its own."""
        front = more.pop("front", None) or replace(
            random_front(self.rng), rssi_stuck_db=None, noise_field_dbm=int(self.rng.choice([-95, -92, -90]))
        )
        return Scenario(
            more.pop("seconds", self.seconds),
            seed,
            tuple(DeviceSpec(name, level) for name, level in devices),
            plan=more.pop("plan", Plan(FOUR_BANDS, 0.1)),
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

    def several(self, count: int, wifi: tuple[WifiSpec, ...] = ()) -> Cell:
        """Set B: several different devices at once."""

        def make(seed: int) -> Scenario:
            names = self.rng.choice(CLASSES, count, replace=False)
            return self.scenario(seed, *((str(name), self.level()) for name in names), wifi=wifi)

        return self.cell(make, self.windows * 3)

    def none(self) -> Iterator[tuple[str, Cell]]:
        """Set C: no device at all."""
        yield "noise", self.cell(lambda seed: self.scenario(seed), self.windows)
        for load in (0.05, 0.25, 0.5, 0.75, 0.9):
            yield (
                f"Wi-Fi load {load:.0%}",
                self.cell(partial(self._busy, load=load), self.windows),
            )
        weak = WifiSpec(2437, 0.4, -88.0, decoded=0.0)
        yield "weak Wi-Fi", self.cell(lambda seed: self.scenario(seed, wifi=(weak,)), self.windows)

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
            "every 1494 us": Plan(FOUR_BANDS, 0.1, 255),
        }
        for name, plan in plans.items():
            yield name, self.cell(partial(self._mixed, plan=plan), self.windows * 2)

    def _mixed(self, seed: int, **more: Any) -> Scenario:
        names = self.rng.choice(CLASSES, int(self.rng.integers(1, 4)), replace=False)
        return self.scenario(seed, *((str(name), self.level()) for name in names), **more)


def evaluate(seed: int, windows: int, seconds: float, sets: str) -> dict[str, Any]:
    """Runs the chosen sets and returns all figures."""
    run = Run(seed, windows, seconds)
    out: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seed": seed,
        "windows_per_cell": windows,
        "seconds": seconds,
        "model": Analyzer().model.version,
        "paper": PAPER,
    }
    quiet = Cell()
    if "A" in sets:
        table: dict[str, dict[int, float]] = defaultdict(dict)
        for name, level, cell in run.single():
            table[name][level] = cell.accuracy()
            _say(f"A {name} {level}: {cell.accuracy():.3f}", cell)
            _add_false(quiet, cell)
        out["A"] = table
        strong = {
            name: float(np.mean([row[level] for level in LEVELS_DBM if level >= -80]))
            for name, row in table.items()
        }
        out["A, -80 dBm and above"] = strong
        out["A, mean of eight"] = float(np.mean([strong[name] for name in CLASSES]))
        out["A, at -85 dBm, mean of eight"] = float(np.mean([table[name][-85] for name in CLASSES]))
    for letter, cells in (
        ("B", ((f"{count} devices", run.several(count)) for count in (2, 3, 4))),
        ("C", run.none()),
        ("D", ((f"{name}, load {load}", cell) for name, load, cell in run.load())),
        ("E", run.look_alike()),
        ("F", run.front_ends()),
    ):
        if letter not in sets:
            continue
        out[letter] = {}
        for name, cell in cells:
            out[letter][name] = _figures(cell)
            _say(f"{letter} {name}: {cell.accuracy():.3f}", cell)
            if letter in "BC":
                _add_false(quiet, cell)
    rates = {
        name: quiet.false[name] / count for name, count in quiet.off.items() if name in CLASSES and count
    }
    if rates:
        out["false positives"] = {
            "mean": float(np.mean(list(rates.values()))),
            "worst": max(rates.values()),
            **rates,
        }
    out["times real time"] = run.cost.air_s / max(run.cost.cpu_s, 1e-9)
    return out


def _figures(cell: Cell) -> dict[str, Any]:
    return {
        "windows": cell.windows,
        "accuracy": cell.accuracy(),
        "per_class": {name: cell.hits[name] / count for name, count in sorted(cell.on.items())},
        "exact_set": cell.exact / cell.windows,
        "false": {name: cell.false[name] / cell.off[name] for name in sorted(cell.false) if cell.false[name]},
        "center_error_mhz": {name: float(np.median(each)) for name, each in cell.center_error_mhz.items()},
        "rssi_error_db": {name: float(np.median(each)) for name, each in cell.rssi_error_db.items()},
    }


def _add_false(total: Cell, cell: Cell) -> None:
    total.off += cell.off
    total.false += cell.false


def _say(text: str, cell: Cell) -> None:
    missed = {
        name: round(cell.hits[name] / count, 2) for name, count in cell.on.items() if cell.hits[name] < count
    }
    print(text, missed, dict(cell.false_with), flush=True)


def main() -> None:
    """Runs the evaluation and writes its results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--sets", default="ABCDEF")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    figures = evaluate(given.seed, given.windows, given.seconds, given.sets)
    text = json.dumps(figures, indent=1, default=float)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

"""Runs one window of air through decoder and analyzer and compares what is reported with what is there."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.airshark.generators import GENERATORS
from benchmarks.airshark.scenes import STAYS, Truth
from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.model import Model
from services.airshark.domain.decoder import Decoder
from services.airshark.simulator.scenario import Scenario

CLASSES = (
    "microwave", "bluetooth", "zigbee", "analog_phone", "fhss_phone", "analog_video", "analog_audio", "xbox",
)  # fmt: skip
MORE = ("ble", "cw", "inverter_microwave")
REPORTED_AS = {"inverter_microwave": "microwave"}
READ_BYTES = 870 * 76
"""What a node reads at a time: a tenth of a second at the highest rate."""


def _lists() -> "defaultdict[str, list[float]]":
    return defaultdict(list)


@dataclass
class Cell:
    """What happened in windows of one kind."""

    windows: int = 0
    on: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    off: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    false_with: Counter[str] = field(default_factory=Counter)
    exact: int = 0
    center_error_mhz: "defaultdict[str, list[float]]" = field(default_factory=_lists)
    rssi_error_db: "defaultdict[str, list[float]]" = field(default_factory=_lists)
    duty_error: "defaultdict[str, list[float]]" = field(default_factory=_lists)
    detect_s: "defaultdict[str, list[float]]" = field(default_factory=_lists)

    def accuracy(self) -> float:
        """Mean over classes of the share of windows in which a class was reported while it was on."""
        shares = [self.hits[name] / count for name, count in self.on.items()]
        return float(np.mean(shares)) if shares else float("nan")

    def add(self, other: "Cell") -> None:
        """Takes in the counts and errors of another cell."""
        self.windows += other.windows
        self.exact += other.exact
        for name in ("on", "hits", "off", "false", "false_with"):
            getattr(self, name).update(getattr(other, name))
        for name in ("center_error_mhz", "rssi_error_db", "duty_error", "detect_s"):
            for device, values in getattr(other, name).items():
                getattr(self, name)[device] += values

    def figures(self) -> dict[str, Any]:
        """Returns everything as it stands in the results."""
        return {
            "windows": self.windows,
            "accuracy": self.accuracy(),
            "per_class": {name: self.hits[name] / count for name, count in sorted(self.on.items())},
            "exact_set": self.exact / max(self.windows, 1),
            "false": {name: count / self.off[name] for name, count in sorted(self.false.items()) if count},
            "false_for": dict(self.false_with),
        }

    def errors(self) -> dict[str, Any]:
        """Returns medians of the errors and times, per device."""

        def medians(table: "defaultdict[str, list[float]]", size: bool) -> dict[str, float]:
            return {
                name: round(float(np.median(np.abs(values) if size else values)), 3)
                for name, values in sorted(table.items())
                if values
            }

        return {
            "center_error_mhz": medians(self.center_error_mhz, size=True),
            "rssi_error_db": medians(self.rssi_error_db, size=True),
            "duty_error": medians(self.duty_error, size=True),
            "time_to_detect_s": medians(self.detect_s, size=False),
            "time_to_detect_p95_s": {
                name: round(float(np.percentile(values, 95)), 3)
                for name, values in sorted(self.detect_s.items())
            },
        }


@dataclass
class Cost:
    """CPU time of the analyzer, decoding included."""

    cpu_s: float = 0.0
    air_s: float = 0.0
    samples: int = 0

    def add(self, other: "Cost") -> None:
        """Takes in another cost."""
        self.cpu_s += other.cpu_s
        self.air_s += other.air_s
        self.samples += other.samples


def judge(scenario: Scenario, generator: str, model: Model | None = None) -> tuple[Cell, Cost]:
    """Returns what happens in one window, and what it costs."""
    cell, cost = Cell(), Cost()
    window(scenario, generator, cell, cost, model)
    return cell, cost


def window(scenario: Scenario, generator: str, cell: Cell, cost: Cost, model: Model | None = None) -> None:
    """Makes and judges one window; with the model of the product unless another is given."""
    made, truths = GENERATORS[generator](scenario)
    data = b"".join(made)
    analyzer, decoder = Analyzer(model), Decoder("simulated")
    since: dict[str, float] = {}
    began = time.process_time()
    for at in range(0, len(data), READ_BYTES):
        for block in decoder.feed(data[at : at + READ_BYTES], 0.0):
            for track in analyzer.feed(block):
                since.setdefault(track.device.value, analyzer.now_s)
    analyzer.finish()
    cost.cpu_s += time.process_time() - began
    cost.air_s += scenario.seconds
    cost.samples += len(data) // 76
    _score(scenario, truths, analyzer, since, cell)


def _score(
    scenario: Scenario, truths: list[Truth], analyzer: Analyzer, since: dict[str, float], cell: Cell
) -> None:
    cell.windows += 1
    expected: dict[str, list[Truth]] = defaultdict(list)
    for truth in truths:
        expected[REPORTED_AS.get(truth.device, truth.device)].append(truth)
    for jammer in scenario.jammers:
        expected["jammer"].append(Truth("jammer", jammer.level_dbm, 0, (jammer.centre_mhz,), 1.0))
    reported = {track.device.value: track for track in analyzer.devices()}
    for name in {*CLASSES, "ble", "cw", "jammer", "unknown", *expected}:
        if name not in expected:
            cell.off[name] += 1
            cell.false[name] += name in reported
            if name in reported:
                cell.false_with[f"{name} for {'+'.join(sorted(expected)) or 'nothing'}"] += 1
            continue
        cell.on[name] += 1
        if name not in reported:
            continue
        cell.hits[name] += 1
        track, own = reported[name], expected[name]
        if len(own) > 1:
            continue
        cell.detect_s[name].append(since.get(name, scenario.seconds))
        if scenario.front.rssi_stuck_db is None and scenario.front.noise_field_dbm > -97:
            wrong = scenario.front.noise_field_dbm - scenario.front.floor_dbm
            cell.rssi_error_db[name].append(track.rssi_dbm - wrong - own[0].level_dbm)
        cell.duty_error[name].append(track.duty_cycle - own[0].duty_cycle)
        if name in STAYS and own[0].frequencies_mhz:
            cell.center_error_mhz[name].append(
                min(abs(track.center_mhz - each) for each in own[0].frequencies_mhz)
            )
    cell.exact += set(reported) == set(expected)

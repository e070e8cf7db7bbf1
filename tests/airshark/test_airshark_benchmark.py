"""The evaluation kit judges with a generator that the model has not seen, and its figures mean something."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.airshark import evaluate, report, visible
from benchmarks.airshark.generators import GENERATORS
from benchmarks.airshark.judging import CLASSES, Cell, Cost, window
from benchmarks.airshark.other.receiver import render
from benchmarks.airshark.scenes import Truth
from services.airshark.analysis.model import MODEL_FILE
from services.airshark.domain.decoder import Decoder
from services.airshark.domain.power import by_logarithm, relative_db
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import DeviceSpec, Scenario, WifiSpec

SEEDS = {"second": (501, 502, 503, 504), "third": (601, 602, 603)}


@pytest.mark.thorough
@pytest.mark.parametrize("generator", SEEDS)
@pytest.mark.parametrize("device", [*CLASSES, "ble"])
def test_a_device_of_another_simulator_is_named(device: str, generator: str) -> None:
    cell = Cell()
    for seed in SEEDS[generator]:
        window(Scenario(1.5, seed, (DeviceSpec(device, -60.0),)), generator, cell, Cost())
    assert cell.hits[device] >= len(SEEDS[generator]) - 1
    assert sum(cell.false.values()) <= 1


@pytest.mark.thorough
@pytest.mark.parametrize("generator", SEEDS)
@pytest.mark.parametrize("load", [0.1, 0.6, 0.9])
def test_wifi_of_another_simulator_is_no_device(load: float, generator: str) -> None:
    cell = Cell()
    for seed in SEEDS[generator][:3]:
        # Not in the middle of a channel of the radio: part of each network is in view, never all of it.
        wifi = (WifiSpec(2422, load, -55.0, 20.0, 0.9), WifiSpec(2462, load, -60.0, 40.0, 0.0))
        window(Scenario(1.0, seed, wifi=wifi), generator, cell, Cost())
    assert not cell.false_with


@pytest.mark.thorough
@pytest.mark.parametrize("generator", SEEDS)
def test_the_other_generators_write_what_a_driver_writes(generator: str) -> None:
    front = FrontEnd(spacing_mhz=0.3125, noise_field_dbm=-90, rssi_stuck_db=4, lost_share=0.1)
    scenario = Scenario(0.5, 7, (DeviceSpec("cw", -50.0),), plan=Plan((2437,), 0.5), front=front)
    parts, (truth,) = GENERATORS[generator](scenario)
    assert GENERATORS[generator](scenario)[0] == parts
    (block,) = [each for part in [b"".join(parts)] for each in Decoder("x").feed(part, 0.0)]
    assert set(block.noise_dbm[:, 0]) == {-90}
    assert set(block.rssi_db[:, 0]) == {4}
    assert 0.8 < len(block) * scenario.plan.interval_s / scenario.seconds < 0.95
    assert 114 <= np.median(np.diff(block.tsf_us.astype(np.int64))) <= 115
    assert truth.duty_cycle == 1.0


def test_what_could_be_seen_of_a_missed_device_is_what_its_window_lacks_without_it() -> None:
    levels = {"zigbee": -50.0, "analog_phone": -200.0, "xbox": -60.0}
    scenario = Scenario(0.5, 503, tuple(DeviceSpec(*each) for each in levels.items()))
    cell = Cell()
    cell.on.update(levels.keys())
    cell.hits["xbox"] += 1
    seen, covered = visible.missed((scenario, cell), "first")
    assert (seen.device, covered.device) == ("zigbee", "analog_phone")
    assert seen.could_be_seen
    assert covered.samples == 0
    *each, total = visible.lines([seen, covered])
    assert each[0] == "503 analog_phone -200 dBm, clearly seen in 0 samples"
    assert total == "2 missed, 1 of them clearly seen in 100 samples and more"


@pytest.mark.thorough
def test_hits_misses_and_false_positives_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell()
    window(Scenario(1.0, 503, (DeviceSpec("fhss_phone", -50.0),)), "second", cell, Cost())
    window(Scenario(1.0, 503, (DeviceSpec("fhss_phone", -130.0),)), "second", cell, Cost())
    assert (cell.on["fhss_phone"], cell.hits["fhss_phone"]) == (2, 1)
    assert cell.accuracy() == 0.5
    assert cell.exact == 1
    (error,) = cell.duty_error["fhss_phone"]
    assert abs(error) < 0.05
    assert cell.detect_s["fhss_phone"][0] <= 1.0
    # What is there under another name is a false positive and a miss.
    made, (truth,) = render(Scenario(1.0, 503, (DeviceSpec("fhss_phone", -50.0),)))
    other = Truth("zigbee", truth.level_dbm, truth.samples, (), 0.1)
    monkeypatch.setitem(GENERATORS, "second", lambda scenario: (made, [other]))
    wrong = Cell()
    window(Scenario(1.0, 503, (DeviceSpec("zigbee", -50.0),)), "second", wrong, Cost())
    assert wrong.false["fhss_phone"] == 1
    assert wrong.hits["zigbee"] == 0


@pytest.mark.thorough
def test_the_model_is_what_its_training_makes() -> None:
    from benchmarks.airshark import train  # It brings scikit-learn, for which every worker would wait.

    model = json.loads(MODEL_FILE.read_text())
    # Nobody has changed a number in it by hand,
    expected = f"seed{train.SEED}-scenes{train.SCENES}-{train.digest(model['decisions'])}"
    assert model["version"] == expected
    for name, decision in model["decisions"].items():
        low, high = train.BOUNDS.get(name, train.LEAST_BOUNDS)
        assert low <= decision["least"] <= high
        shape = train.COARSE if name.startswith("carrier_") else train.Shape()
        assert (len(decision["trees"]), decision["depth"]) == (shape.trees, shape.depth)
    # and simulators and features are still those with which it was made.
    made: dict[int, dict[str, dict[str, float]]] = {}
    for name, first in model["first_examples"].items():
        seed = first["seed"]
        assert train.first_seed(train.SEED) <= seed < train.first_seed(train.SEED) + train.SCENES
        if seed not in made:
            made[seed] = {}
            for decision, features, _ in train.examples_of(seed):
                made[seed].setdefault(decision, features)
        features = made[seed][name]
        assert list(features) == model["decisions"][name]["features"]
        # A processor that rounds sines and logarithms otherwise makes a pulse more or less here and there.
        least = 1.0 if relative_db is by_logarithm else 0.75
        assert np.isclose([*features.values()], first["row"], rtol=1e-3, atol=1e-3).mean() >= least


@pytest.mark.thorough
def test_the_results_become_a_table(tmp_path: Path) -> None:
    figures = evaluate.evaluate(evaluate.Run(1, 1, 1.0, "first"), 1, "C", "first", "v-without-first")
    figures = json.loads(json.dumps(figures, default=float))
    text = report.table([figures])
    assert "false positives, mean" in text
    assert "beacons alone" in text
    assert "first generator, not trained with, seed 1" in text
    for path in sorted((Path(evaluate.__file__).parent / "results").glob("*.json")):
        assert json.loads(path.read_text())["generator"] in GENERATORS

"""Makes the model of the detector: `python -m benchmarks.airshark.train`.

Simulates random scenes, measures them as the node does, fits one boosted forest of small trees for each
decision, chooses from which probability a decision is yes on scenes that were not fitted, and writes
`services/airshark/analysis/model.json`. The same seed and libraries give the same file. Needs scikit-learn,
which a node does not.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier  # type: ignore[import-untyped]

from benchmarks.airshark.scenes import Truth, air_of, offset_db, random_scenario, truth_of
from services.airshark.analysis.hopping import by_power, describe_hops
from services.airshark.analysis.model import FORMAT, MODEL_FILE
from services.airshark.analysis.scene import Scene, describe

TREES, DEPTH, RATE = 90, 4, 0.08
FALSE_ALARMS = 0.002
"""Share of the scenes without a device in which it may be reported; sets the least probability."""
LEAST_BOUNDS = (0.5, 0.9)
CAUTIOUS = {"ble": 0.85}
"""Kinds that other hoppers are easily taken for, with the lowest least probability."""
WEAKEST_DBM = -92.0
MIN_SAMPLES = {"microwave": 200, "zigbee": 12}
HOPPERS = ("bluetooth", "ble", "fhss_phone", "xbox")
SAME_POWER_DB, OTHER_POWER_DB = 4.0, 10.0
NEAR_ZIGBEE_MHZ, NEAR_BLE_MHZ = 1.3, 1.2


@dataclass
class Examples:
    """What one decision is learned from."""

    names: list[str] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)

    def add(self, features: dict[str, float], answer: bool) -> None:
        """Adds one example."""
        self.names = list(features)
        self.rows.append(list(features.values()))
        self.answers.append(answer)


def collect(first_seed: int, count: int) -> dict[str, Examples]:
    """Returns examples from `count` scenes."""
    examples: dict[str, Examples] = {}
    for seed in range(first_seed, first_seed + count):
        scenario = random_scenario(seed)
        air = air_of(scenario)
        if air is None or len(air) < 50:
            continue
        for name, features, answer in _of_scene(
            describe(air), truth_of(scenario), offset_db(scenario), scenario.front.rssi_stuck_db is not None
        ):
            examples.setdefault(name, Examples()).add(features, answer)
    return examples


def _of_scene(
    scene: Scene, truths: list[Truth], offset_db: float, one_power: bool
) -> Iterator[tuple[str, dict[str, float], bool]]:
    on = {truth.device: truth for truth in truths}
    ovens = [truth for truth in truths if "microwave" in truth.device]
    if all(_fair(truth, "microwave") for truth in ovens) and scene.mains["longest_look_s"]:
        yield "microwave", scene.mains, bool(ovens)
    pulses = scene.pulses
    for group in scene.fixed:
        near = [
            abs(group.frequency_mhz - each) < NEAR_ZIGBEE_MHZ
            for truth in truths
            if truth.device == "zigbee"
            for each in truth.frequencies_mhz
        ]
        yield "zigbee", group.features, any(near)
        advertises = "ble" in on and group.features["ble_off_mhz"] < NEAR_BLE_MHZ and not any(near)
        yield "ble_advertising", group.features, advertises
        if any(near):
            pulses = pulses.select(~np.isin(pulses.start_s, scene.pulses.start_s[group.members]))
    for hops in by_power(pulses):
        features = describe_hops(scene.air, hops)
        power = float(np.median(hops.power_dbm))
        for name in HOPPERS:
            distance = abs(power - on[name].level_dbm - offset_db) if name in on else np.inf
            if one_power and name in on:
                distance = 0.0
            # A group that holds some of a device's pulses, but not most of them, teaches nothing.
            if distance < SAME_POWER_DB or distance > OTHER_POWER_DB:
                yield name, features, distance < SAME_POWER_DB


def _fair(truth: Truth, kind: str) -> bool:
    """Tells whether a device can be expected to be found: strong enough, and seen often enough."""
    return truth.level_dbm >= WEAKEST_DBM and truth.samples >= MIN_SAMPLES.get(kind, 12)


def fit(examples: Examples, judged: Examples, seed: int, lowest: float) -> dict[str, Any]:
    """Returns one decision as it stands in the model file."""
    forest = GradientBoostingClassifier(
        n_estimators=TREES,
        max_depth=DEPTH,
        learning_rate=RATE,
        subsample=0.7,
        max_features=0.35,
        min_samples_leaf=12,
        random_state=seed,
    )
    forest.fit(np.array(examples.rows, np.float32), np.array(examples.answers))
    probability = forest.predict_proba(np.array(judged.rows, np.float32))[:, 1]
    answers = np.array(judged.answers)
    least = float(np.clip(np.quantile(probability[~answers], 1 - FALSE_ALARMS), lowest, LEAST_BOUNDS[1]))
    hits = float((probability[answers] >= least).mean()) if answers.any() else 0.0
    print(
        f"  {len(examples.rows)} examples, {sum(examples.answers)} yes; judged on {len(answers)}: "
        f"least {least:.2f}, "
        f"hits {hits:.3f}, false {float((probability[~answers] >= least).mean()):.4f}"
    )
    prior = float(np.mean(examples.answers))
    return {
        "features": examples.names,
        "base": round(float(np.log(prior / (1 - prior))), 6),
        "depth": DEPTH,
        "least": round(least, 4),
        "trees": [_tree(each.tree_) for each in forest.estimators_[:, 0]],
    }


def _tree(tree: Any) -> dict[str, list[float]]:
    leaf = tree.children_left < 0
    own = np.arange(tree.node_count)
    return {
        "feature": np.where(leaf, 0, tree.feature).tolist(),
        # Rows are float32 in the node as well as here, so a rounded threshold must not move to their other
        # side.
        "threshold": [float(f"{value:.8g}") for value in np.where(leaf, 0, tree.threshold)],
        "below": np.where(leaf, own, tree.children_left).tolist(),
        "above": np.where(leaf, own, tree.children_right).tolist(),
        "value": [round(float(value) * RATE, 6) for value in np.where(leaf, tree.value[:, 0, 0], 0)],
    }


def main() -> None:
    """Trains and writes the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--output", type=Path, default=MODEL_FILE)
    given = parser.parse_args()
    first = given.seed * 10**6
    learned = collect(first, given.scenes)
    judged = collect(first + 500_000, given.scenes // 2)
    write(learned, judged, given.seed, given.scenes, given.output)


def write(
    learned: dict[str, Examples], judged: dict[str, Examples], seed: int, scenes: int, output: Path
) -> None:
    """Fits all decisions and writes the file."""
    decisions = {}
    for name in sorted(learned):
        print(name)
        decisions[name] = fit(learned[name], judged[name], seed, CAUTIOUS.get(name, LEAST_BOUNDS[0]))
    document = {
        "format": FORMAT,
        "version": f"{datetime.now(UTC):%Y.%m.%d}-seed{seed}-scenes{scenes}",
        "decisions": decisions,
    }
    output.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{output}: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""Makes the model of the detector: `python -m benchmarks.airshark.train`.

Simulates random scenes with one model of air after the other, measures them as the node does, fits one
boosted forest of small trees for each decision, chooses from which probability a decision is yes on scenes of
models of air that were not fitted, and writes `services/airshark/analysis/model.json`. `--unseen FOLDER`
writes there also what was fitted without each of the models of air, to be judged by it. The same seed,
libraries and kind of processor give the same files. Needs scikit-learn, which a node does not.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier  # type: ignore[import-untyped]

from benchmarks.airshark.generators import GENERATORS, air_of
from benchmarks.airshark.scenes import Truth, offset_db, random_scenario
from services.airshark.analysis.carrier_kinds import KINDS, believed, kind_features
from services.airshark.analysis.hopping import by_power, describe_hops, within
from services.airshark.analysis.model import FORMAT, MODEL_FILE
from services.airshark.analysis.pulsed_kinds import MIN_LEFT
from services.airshark.analysis.scene import Scene, describe, observe
from services.airshark.analysis.slots import EXPLAINED, without

SEED, SCENES = 31, 14000
"""Of the model of the product."""
RATE = 0.08
FALSE_ALARMS = 0.002
"""Share of the scenes without a device in which it may be reported; sets the least probability."""
LEAST_BOUNDS = (0.5, 0.75)
BOUNDS = {
    "ble": (0.9, 0.9),
    "ble_advertising": (0.85, 0.9),
    "zigbee": (0.6, 0.6),
    "microwave": (0.75, 0.75),
    "xbox": (0.5, 0.5),
} | {name: (0.4, 0.4) for name in ("fhss_phone", *(f"carrier_{kind.value}" for kind in KINDS))}
"""Other bounds: other hoppers are easily taken for Bluetooth LE, hardly ever for a phone or a controller. A
carrier is of the likeliest kind. What is not certain must be seen twice."""
WEAKEST_DBM = -92.0
MIN_SAMPLES = {"microwave": 200, "zigbee": 12}
HOPPERS = ("bluetooth", "ble", "fhss_phone", "xbox")
SAME_POWER_DB, OTHER_POWER_DB = 4.0, 10.0
CARRIERS = tuple(each.value for each in KINDS)
NEAR_CARRIER_MHZ, NEAR_PICTURE_MHZ = 0.6, 2.5
AROUND_CARRIER_MHZ = 2.5
"""What lies further from a carrier, up to this, may be its own skirt."""
NEAR_ZIGBEE_MHZ, NEAR_BLE_MHZ = 1.3, 1.2


@dataclass
class Examples:
    """What one decision is learned from."""

    names: list[str] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)
    generators: list[str] = field(default_factory=list)
    """Which model of air each is from."""
    seeds: list[int] = field(default_factory=list)
    """Of the scene that each is from."""

    def add(self, features: dict[str, float], answer: bool, seed: int) -> None:
        """Adds one example."""
        self.generators.append(generator_of(seed))
        self.seeds.append(seed)
        self.names = list(features)
        self.rows.append(list(features.values()))
        self.answers.append(answer)

    def without(self, generator: str) -> "Examples":
        """Returns those of the other models of air."""
        kept = [at for at, each in enumerate(self.generators) if each != generator]
        return Examples(
            self.names,
            [self.rows[at] for at in kept],
            [self.answers[at] for at in kept],
            [self.generators[at] for at in kept],
            [self.seeds[at] for at in kept],
        )


def collect(first_seed: int, count: int, pool: Executor) -> dict[str, Examples]:
    """Returns examples from `count` scenes, from each model of air in turn."""
    examples: dict[str, Examples] = {}
    seeds = range(first_seed, first_seed + count)
    for seed, found in zip(seeds, pool.map(examples_of, seeds, chunksize=8), strict=True):
        for name, features, answer in found:
            examples.setdefault(name, Examples()).add(features, answer, seed)
    return examples


def generator_of(seed: int) -> str:
    """Returns which model of air makes the scene of a seed."""
    return tuple(GENERATORS)[seed % len(GENERATORS)]


def examples_of(seed: int) -> list[tuple[str, dict[str, float], bool]]:
    """Returns the examples of one scene: of which decision, what was measured, and the answer."""
    scenario = random_scenario(seed)
    records, truths = GENERATORS[generator_of(seed)](scenario)
    air = air_of(records)
    if air is None or len(air) < 50:
        return []
    stuck = scenario.front.rssi_stuck_db is not None
    return list(_of_scene(describe(observe(air)), truths, offset_db(scenario), stuck))


def _of_scene(
    scene: Scene, truths: list[Truth], offset_db: float, one_power: bool
) -> Iterator[tuple[str, dict[str, float], bool]]:
    on = {truth.device: truth for truth in truths}
    ovens = [truth for truth in truths if "microwave" in truth.device]
    if all(_fair(truth, "microwave") for truth in ovens) and scene.mains["longest_look_s"]:
        yield "microwave", scene.mains, bool(ovens)
    carriers = [(each, _carrier_kind(each.frequency_mhz, truths)) for each in believed(scene)]
    phone = [each for each, kind in carriers if kind == "analog_phone"]
    # As the detector judges: with all, and what is no part of a phone without the two carriers of one.
    for taken in ([], phone) if len(phone) == 2 else ([],):
        others = [each for each, _ in carriers if each not in taken]
        for carrier, kind in carriers:
            if kind is None or carrier.outermost or carrier in taken:
                continue
            features = kind_features(carrier, others, scene)
            for each in KINDS:
                yield f"carrier_{each.value}", features, kind == each.value
    pulses = scene.pulses
    for group in scene.fixed:
        near = [
            truth
            for truth in truths
            if truth.device == "zigbee"
            and any(abs(group.frequency_mhz - each) < NEAR_ZIGBEE_MHZ for each in truth.frequencies_mhz)
        ]
        power = float(np.median(scene.pulses.power_dbm[group.members]))
        of_network = any(one_power or _off_db(each, power - offset_db) < OTHER_POWER_DB for each in near)
        # What hops comes by on the channel of a network too.
        if of_network or not near:
            yield "zigbee", group.features, of_network
        advertises = "ble" in on and group.features["ble_off_mhz"] < NEAR_BLE_MHZ and not near
        yield "ble_advertising", group.features, advertises
        if of_network:
            pulses = pulses.select(~np.isin(pulses.start_s, scene.pulses.start_s[group.members]))
    groups = by_power(pulses.select(pulses.clear))
    for hops in (*groups, *(part for group in groups for part in within(group))):
        power = float(np.median(hops.power_dbm))
        distance = dict.fromkeys(HOPPERS, np.inf)
        for name in on.keys() & distance.keys():
            distance[name] = 0.0 if one_power else _off_db(on[name], power - offset_db)
        explained = [device for device in EXPLAINED if distance[device.value] < SAME_POWER_DB]
        left = without(hops, explained)
        for those, removed in ((hops, []), (left, explained)):
            if those is left and (not explained or len(left) < MIN_LEFT):
                continue
            features = describe_hops(scene.air, those)
            for name in HOPPERS:
                # A group that holds some of a device's pulses, but not most of them, teaches nothing.
                is_one = distance[name] < SAME_POWER_DB
                if (is_one or distance[name] > OTHER_POWER_DB) and name not in removed:
                    yield name, features, is_one


def _off_db(truth: Truth, power_dbm: float) -> float:
    """Returns by how much the station of a device whose power is nearest is stronger or weaker."""
    return min((abs(power_dbm - truth.level_dbm - gain) for gain in truth.gains_db), default=np.inf)


def _carrier_kind(frequency_mhz: float, truths: list[Truth]) -> str | None:
    """Returns which device a carrier is of, "" for none, and None where that cannot be said."""
    near = set()
    around = False
    for truth in truths:
        reach = NEAR_PICTURE_MHZ if truth.device == "analog_video" else NEAR_CARRIER_MHZ
        around |= truth.device in CARRIERS and any(
            abs(frequency_mhz - each) < AROUND_CARRIER_MHZ for each in truth.frequencies_mhz
        )
        if truth.device in CARRIERS and any(
            abs(frequency_mhz - each) < reach for each in truth.frequencies_mhz
        ):
            near.add(truth.device)
            if truth.device == "analog_video" and abs(frequency_mhz - truth.frequencies_mhz[0]) > reach:
                return None  # Its sound.
    if len(near) > 1 or (around and not near):
        return None
    return next(iter(near), "")


def _fair(truth: Truth, kind: str) -> bool:
    """Tells whether a device can be expected to be found: strong enough, and seen often enough."""
    return truth.level_dbm >= WEAKEST_DBM and truth.samples >= MIN_SAMPLES.get(kind, 12)


@dataclass(frozen=True)
class Shape:
    """How large a forest is."""

    trees: int = 110
    depth: int = 4
    leaf: int = 12
    """Least examples in a leaf."""

    def forest(self, seed: int) -> GradientBoostingClassifier:
        """Returns one that has learned nothing yet."""
        return GradientBoostingClassifier(
            n_estimators=self.trees,
            max_depth=self.depth,
            learning_rate=RATE,
            subsample=0.7,
            max_features=0.35,
            min_samples_leaf=self.leaf,
            random_state=seed,
        )


COARSE = Shape(150, 3, 15)
"""For kinds of carriers, whose finer details depend on how a model of air is made."""


def fit(name: str, examples: Examples, seed: int) -> dict[str, Any]:
    """Returns one decision as it stands in the model file."""
    shape = COARSE if name.startswith("carrier_") else Shape()
    rows, answers = np.array(examples.rows, np.float32), np.array(examples.answers)
    # Each model of air is judged by what was fitted to the others.
    fold = np.array(examples.generators)
    probability = np.zeros(len(rows))
    for each in np.unique(fold):
        forest = shape.forest(seed).fit(rows[fold != each], answers[fold != each])
        probability[fold == each] = forest.predict_proba(rows[fold == each])[:, 1]
    forest = shape.forest(seed).fit(rows, answers)
    bounds = BOUNDS.get(name, LEAST_BOUNDS)
    least = float(np.clip(np.quantile(probability[~answers], 1 - FALSE_ALARMS), *bounds))
    print(
        f"{name}: {len(rows)} examples, {answers.sum()} yes; least {least:.2f}, "
        f"hits {float((probability[answers] >= least).mean()):.3f}, "
        f"false {float((probability[~answers] >= least).mean()):.4f}",
        flush=True,
    )
    prior = float(answers.mean())
    return {
        "features": examples.names,
        "base": round(float(np.log(prior / (1 - prior))), 6),
        "depth": shape.depth,
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
        "threshold": [float(f"{value:.7g}") for value in np.where(leaf, 0, tree.threshold)],
        "below": np.where(leaf, own, tree.children_left).tolist(),
        "above": np.where(leaf, own, tree.children_right).tolist(),
        "value": [round(float(value) * RATE, 5) for value in np.where(leaf, tree.value[:, 0, 0], 0)],
    }


def main() -> None:
    """Trains and writes the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--workers", type=int, default=1, help="processes; they do not change the model")
    parser.add_argument("--output", type=Path, default=MODEL_FILE)
    parser.add_argument("--unseen", type=Path, help="folder for models that lack one model of air each")
    given = parser.parse_args()
    with ProcessPoolExecutor(given.workers) as pool:
        examples = collect(first_seed(given.seed), given.scenes, pool)
        write(examples, given.seed, given.scenes, given.output, pool)
        if given.unseen:
            given.unseen.mkdir(parents=True, exist_ok=True)
            for name in GENERATORS:
                others = {decision: each.without(name) for decision, each in examples.items()}
                output = given.unseen / f"without-{name}.json"
                write(others, given.seed, given.scenes, output, pool, f"-without-{name}")


def first_seed(seed: int) -> int:
    """Returns the seed of the first scene of a training."""
    return seed * 10**6


def digest(decisions: dict[str, Any]) -> str:
    """Returns what tells one set of decisions from any other."""
    return hashlib.sha256(json.dumps(decisions, sort_keys=True).encode()).hexdigest()[:8]


def write(
    examples: dict[str, Examples], seed: int, scenes: int, output: Path, pool: Executor, suffix: str = ""
) -> None:
    """Fits all decisions and writes the file, with the first example of each."""
    names = sorted(examples)
    fitted = pool.map(partial(fit, seed=seed), names, [examples[name] for name in names])
    decisions = dict(zip(names, fitted, strict=True))
    document = {
        "format": FORMAT,
        "version": f"seed{seed}-scenes{scenes}{suffix}-{digest(decisions)}",
        "first_examples": {
            name: {"seed": each.seeds[0], "row": [float(f"{value:.5g}") for value in each.rows[0]]}
            for name, each in sorted(examples.items())
        },
        "decisions": decisions,
    }
    output.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{output}: {output.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()

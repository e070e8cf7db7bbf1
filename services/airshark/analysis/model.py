"""Boosted decision trees, evaluated with numpy: a small file made by `benchmarks/airshark/train.py`."""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 1
CERTAIN = 0.9
DOUBTFUL = 0.6
"""Share of the least probability from which something is believed all the same where several devices are."""
MODEL_FILE = Path(__file__).with_name("model.json")


@dataclass(frozen=True)
class Trees:
    """One yes-or-no decision; arrays are (trees, nodes), and a leaf points to itself."""

    names: tuple[str, ...]
    """Features in the order of the columns."""
    base: float
    feature: "npt.NDArray[np.int16]"
    threshold: "npt.NDArray[np.float32]"
    below: "npt.NDArray[np.int16]"
    above: "npt.NDArray[np.int16]"
    value: "npt.NDArray[np.float32]"
    depth: int
    least: float
    """Probability from which the decision is yes; chosen on scenes that were not trained on."""

    def probability(self, features: dict[str, float]) -> float:
        """Returns how likely the answer is yes."""
        row = np.array([features[name] for name in self.names], np.float32)
        at, below, above = self._places
        for _ in range(self.depth):
            goes_below = row.take(self.feature.take(at)) <= self.threshold.take(at)
            at = np.where(goes_below, below.take(at), above.take(at))
        score = self.base + float(self.value.take(at).sum())
        return float(1 / (1 + np.exp(-score)))

    def is_certain(self, probability: float) -> bool:
        """Tells whether a device that is so likely need not be seen twice."""
        return probability >= max(CERTAIN, self.least)

    @property
    def doubtful_least(self) -> float:
        """Returns the probability from which the decision is yes where several devices are certain."""
        return DOUBTFUL * self.least

    @cached_property
    def _places(self) -> "tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]":
        """Where each tree begins, and where it goes on from each node, if the nodes of all lie in one row."""
        begin = np.arange(len(self.feature)) * self.feature.shape[1]
        return begin, begin[:, None] + self.below, begin[:, None] + self.above


@dataclass(frozen=True)
class Model:
    """All decisions, with the version that travels with each detection."""

    version: str
    decisions: dict[str, Trees]


@lru_cache(maxsize=1)
def load_model(path: Path = MODEL_FILE) -> Model:
    """Reads a model; raises `ValueError` if this version cannot use it."""
    document = json.loads(path.read_text())
    if document.get("format") != FORMAT:
        raise ValueError(f"{path.name} has format {document.get('format')}; this version reads {FORMAT}.")
    return Model(document["version"], {name: _trees(each) for name, each in document["decisions"].items()})


def _trees(document: dict[str, Any]) -> Trees:
    rows = document["trees"]
    size = max(len(tree["feature"]) for tree in rows)

    def table(key: str, dtype: type[np.generic]) -> Any:
        values = np.zeros((len(rows), size), dtype)
        for row, tree in zip(values, rows, strict=True):
            row[: len(tree[key])] = tree[key]
        return values

    return Trees(
        names=tuple(document["features"]),
        base=document["base"],
        feature=table("feature", np.int16),
        threshold=table("threshold", np.float32),
        below=table("below", np.int16),
        above=table("above", np.int16),
        value=table("value", np.float32),
        depth=document["depth"],
        least=document["least"],
    )

"""Counts calls of one gRPC server; cheap enough for every call."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper limits of the ranges of durations."""

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""
    """What stands behind the name of the family, such as "_total"."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its labels."""

    name: str
    help: str
    kind: Kind
    samples: Sequence[Sample]


Collect = Callable[[], Sequence[Family]]
"""Returns what a service counts besides its calls; called in the event loop, so it must not block."""


class _Durations:
    """How long the calls of one method took."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0


class CallMetrics:
    """What was called, how that ended, how long it took, and which streams are open."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, _Durations] = {}
        self._streams: Counter[str] = Counter()

    def called(self, method: str, code: str, duration_s: float) -> None:
        """Counts a unary call that has ended with a status code such as "OK"."""
        self._calls[method, code] += 1
        durations = self._durations.get(method)
        if durations is None:
            durations = self._durations[method] = _Durations()
        durations.buckets[bisect_left(BUCKETS_S, duration_s)] += 1
        durations.sum_s += duration_s

    def stream_began(self, method: str) -> None:
        """Counts a stream that has been opened."""
        self._streams[method] += 1

    def stream_ended(self, method: str, code: str) -> None:
        """Counts a stream that has ended."""
        self._streams[method] -= 1
        self._calls[method, code] += 1

    def families(self) -> list[Family]:
        """Returns all of it."""
        return [
            Family(
                "paradrop_rpc_calls",
                "Calls that have ended, by method and status code.",
                "counter",
                [
                    Sample(count, _labels(method) | {"code": code}, "_total")
                    for (method, code), count in sorted(self._calls.items())
                ],
            ),
            Family(
                "paradrop_rpc_duration_seconds",
                "Durations of unary calls.",
                "histogram",
                [sample for method in sorted(self._durations) for sample in self._histogram(method)],
            ),
            Family(
                "paradrop_rpc_open_streams",
                "Streams that are open.",
                "gauge",
                [Sample(count, _labels(method)) for method, count in sorted(self._streams.items())],
            ),
        ]

    def _histogram(self, method: str) -> Iterator[Sample]:
        durations, labels, total = self._durations[method], _labels(method), 0
        for limit_s, count in zip((*BUCKETS_S, float("inf")), durations.buckets, strict=True):
            total += count
            limit = "+Inf" if limit_s == float("inf") else str(limit_s)
            yield Sample(total, labels | {"le": limit}, "_bucket")
        yield Sample(total, labels, "_count")
        yield Sample(durations.sum_s, labels, "_sum")


def _labels(method: str) -> dict[str, str]:
    _, service, name = method.split("/")
    return {"service": service, "method": name}

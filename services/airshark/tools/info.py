"""Tells what a file of samples holds."""

from collections import Counter
from pathlib import Path
from typing import Any

from services.airshark.tools.reading import Report, read_blocks


def describe(path: Path) -> dict[str, Any]:
    """Returns the findings; raises `NoCapture` or OSError."""
    report = Report()
    kinds: Counter[str] = Counter()
    centres: set[float] = set()
    for block, _ in read_blocks(path, report):
        kinds[f"{block.type.name.lower()} with {block.bin_count} bins"] += len(block)
        centres |= set(block.centre_mhz.tolist())
    assert report.contents is not None  # noqa: S101  # Reading sets it or raises.
    contents = report.contents
    found: dict[str, Any] = {
        "file": path.name,
        "form": contents.kind.value,
        "size_bytes": path.stat().st_size,
        "samples": report.counts["samples"],
        "kinds": dict(kinds),
        "air_time_s": round(report.air_time_s, 3),
        "centres_mhz": sorted(centres),
        "counts": {reason: count for reason, count in sorted(report.counts.items()) if count},
    }
    if contents.header is not None:
        found |= {
            "radio": contents.header.radio,
            "source_kind": contents.header.source_kind,
            "description": contents.header.description,
            "start_time_s": contents.header.start_time_s,
            "complete": contents.complete,
            "damaged_bytes": contents.damaged_bytes,
        }
    return found

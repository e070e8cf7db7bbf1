"""Analyses a file of samples: what `paradrop airshark analyze` prints."""

import json
from collections.abc import Iterator
from pathlib import Path

from services.airshark.adapters.files import Contents, NoCapture, probe, read
from services.airshark.analysis.analyzer import Analyzer
from services.airshark.analysis.lifecycle import Track
from services.airshark.domain.decoder import Decoder


def analyze(path: Path) -> Iterator[str]:
    """Yields lines of JSON: one for each device found, then a summary. Raises `NoCapture` or OSError.
    Blocking."""
    contents = Contents(probe(path))
    decoder, analyzer = Decoder(path.stem), Analyzer()
    # Devices that went long before the end of the file are its devices too, though the analyzer forgets them.
    found: dict[int, Track] = {}
    for chunk in read(path, contents):
        for block in decoder.feed(chunk.data, chunk.wall_time_s):
            found |= {track.id: track for track in analyzer.feed(block)}
    for block in decoder.finish(0.0):
        found |= {track.id: track for track in analyzer.feed(block)}
    found |= {track.id: track for track in analyzer.finish()}
    if not decoder.counts["samples"]:
        raise NoCapture(f"{path.name} holds no spectral samples that can be decoded.")
    devices = [track for track in found.values() if not track.withdrawn]
    for track in devices:
        yield json.dumps(detection(track, analyzer.model.version))
    counts = {name: count for name, count in sorted(decoder.counts.items()) if name != "samples" and count}
    yield json.dumps(
        {
            "type": "summary",
            "file": path.name,
            "format": contents.kind.value,
            **analyzer.summary(),
            "devices": len(devices),
            "decoder": counts,
        }
    )


def detection(track: Track, model_version: str) -> dict[str, object]:
    """Returns a device as one JSON object."""
    return {
        "type": "detection",
        "device": track.device.value,
        "confidence": round(track.confidence, 3),
        "center_mhz": round(track.center_mhz, 2),
        "bandwidth_mhz": round(track.bandwidth_mhz, 2),
        "rssi_dbm": round(track.rssi_dbm, 1),
        "duty_cycle": round(track.duty_cycle, 4),
        "first_seen_s": round(max(track.first_seen_s, 0.0), 3),
        "last_seen_s": round(track.last_seen_s, 3),
        "severity": track.severity,
        "active": track.active,
        "model_version": model_version,
        "features": {name: round(value, 4) for name, value in track.features.items()},
    }

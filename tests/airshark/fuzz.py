"""Feeds what atheris makes up to decoder and container: `python tests/airshark/fuzz.py SEEDS ...`.

The first byte says how the rest is cut. Whatever comes, nothing raises, and every number is finite.
"""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[2])]

with atheris.instrument_imports(include=["services.airshark.domain"]):
    from services.airshark.domain import container
    from services.airshark.domain.decoder import Decoder

import numpy as np  # noqa: E402  # After what is instrumented.


def one(data: bytes) -> None:
    """Tries one input."""
    piece_bytes = data[0] + 1 if data else 1
    decoder, parser, found = Decoder("phy0"), container.Parser(), 0
    blocks = []
    for start in range(1, len(data), piece_bytes):
        piece = data[start : start + piece_bytes]
        blocks += decoder.feed(piece, 0.0)
        for frame in parser.feed(piece):
            container.to_header(frame), container.to_chunk(frame), container.to_index(frame)
    for block in blocks + decoder.finish(0.0):
        found += len(block)
        assert np.isfinite(block.dbm).all()
        assert np.isfinite(block.frequencies_mhz()).all()
    assert found == decoder.counts["samples"]


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()

"""Recordings of real radios, and records made to measure."""

import gzip
import json
import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from services.airshark.domain.block import SampleBlock
from services.airshark.domain.decoder import Decoder

CAPTURES = Path(__file__).parent.parent / "airshark" / "captures"
ELSEWHERE = Path(os.environ.get("PARADROP_CAPTURES") or Path(__file__).parents[3] / "shared" / "captures")
"""Recordings that may not be copied into this repository: beside it, or where PARADROP_CAPTURES says."""

AR9223 = "ffteval_ar9223_analog_camera_ch1.dump"
AR9280 = "ffteval_ar9280_analog_camera_ch1.dump"
AR9550 = "ffteval_ar9550_20mhz_analog_camera_ch1.dump"
ATH10K_20 = "ffteval_ath10k_20mhz.dump"
ATH10K_80 = "ffteval_ath10k_80mhz.dump"
CRASH = "ffteval_crash_1.dump"
ALL = (AR9223, AR9280, AR9550, ATH10K_20, ATH10K_80, CRASH)


def capture(name: str) -> bytes:
    """Returns a recording that is part of this repository."""
    return (CAPTURES / name).read_bytes()


def capture_elsewhere(name: str) -> bytes:
    """Returns a recording that is not, or skips the test."""
    path = ELSEWHERE / name
    if not path.exists():
        pytest.skip(f"{name} is not under a licence to copy it here, and not in {ELSEWHERE}")
    return path.read_bytes()


def fft_eval(name: str) -> list[dict[str, Any]]:
    """Returns what FFT_eval made of a recording."""
    decoded: list[dict[str, Any]] = json.loads(gzip.decompress((CAPTURES / f"{name}.json.gz").read_bytes()))
    return decoded


def decode(data: bytes, piece_bytes: int | None = None) -> tuple[list[SampleBlock], Counter[str]]:
    """Decodes a whole stream, in pieces if wanted."""
    decoder = Decoder("phy0")
    blocks = []
    step = piece_bytes or max(len(data), 1)
    for start in range(0, len(data), step):
        blocks += decoder.feed(data[start : start + step], 0.0)
    return blocks + decoder.finish(0.0), +decoder.counts


def ht20(
    bins: bytes = b"\x01" * 56,
    *,
    max_exp: int = 0,
    freq: int = 2437,
    rssi: int = 20,
    noise: int = -95,
    tsf: int = 0,
) -> bytes:
    """Returns an HT20 record."""
    return (
        struct.pack(
            ">BHBHbbHBBQ", 1, 73, max_exp, freq, rssi, noise, min(max(bins) << max_exp, 4095), 0, 0, tsf
        )
        + bins
    )


def ht40(
    lower: bytes = b"\x01" * 64,
    upper: bytes = b"\x01" * 64,
    *,
    channel_type: int = 3,
    freq: int = 2412,
    rssi: tuple[int, int] = (20, 30),
    noise: tuple[int, int] = (-95, -96),
    tsf: int = 0,
) -> bytes:
    """Returns an HT40 record."""
    head = struct.pack(
        ">BHBHbbQbbHHBBBBB", 2, 152, channel_type, freq, *rssi, tsf, *noise, 1, 1, 0, 0, 0, 0, 0
    )
    return head + lower + upper


def ath10k(
    bins: bytes = b"\x01" * 64,
    *,
    width: int = 22,
    freq: int = 5180,
    rssi: int = 20,
    noise: int = -105,
    tsf: int = 0,
    max_exp: int = 0,
) -> bytes:
    """Returns an ath10k record."""
    head = struct.pack(
        ">BHBHHhHHHQbBBBB", 3, 26 + len(bins), width, freq, 0, noise, 1, 0, 0, tsf, 0, rssi, 0, 0, max_exp
    )
    return head + bins


def ath11k(
    bins: bytes = b"\x01" * 64,
    *,
    width: int = 20,
    freq: int = 5180,
    rssi: int = 20,
    noise: int = -105,
    tsf: int = 0,
    vendor: bool = False,
) -> bytes:
    """Returns an ath11k record, with the byte that vendors' kernels add if wanted."""
    extra = b"\x01" if vendor else b""
    head = struct.pack(">BHBbB", 4, 19 + len(extra) + len(bins), width, 0, 0) + extra
    return head + struct.pack(">HHHHIi", freq, 0, 1, rssi, tsf, noise) + bins

"""Runs a program of ours that feeds parsers with what atheris makes up, from seeds on, for a short time."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

SECONDS = 10


def fuzz(program: Path, seeds: Mapping[str, bytes], folder: Path, *, max_len: int) -> None:
    """Fails if anything of up to `max_len` bytes makes the program crash, hang or swell."""
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
    (folder / "seeds").mkdir()
    for name, seed in seeds.items():
        (folder / "seeds" / name).write_bytes(seed)
    limits = [
        f"-max_total_time={SECONDS}",
        f"-max_len={max_len}",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-verbosity=0",
    ]
    done = subprocess.run(
        [sys.executable, program, str(folder / "seeds"), *limits],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert list(folder.glob("crash-*")) == []

"""A short run of the fuzzer from the recordings on; more of it: see tests/airshark/fuzz.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.airshark.domain import container
from tests.support import captures
from tests.support.captures import capture

pytestmark = pytest.mark.thorough

SECONDS = 10


def test_nothing_that_a_fuzzer_makes_up_hurts(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    for name in captures.ALL:
        (seeds / name).write_bytes(b"\x50" + capture(name)[:4095])
    writer = container.Writer()
    recording = writer.begin(container.Header("phy0", "hardware", "", 1.0, {}))
    recording += writer.chunk(capture(captures.AR9223)[:760], 1.0) + writer.end()
    (seeds / "recording").write_bytes(b"\x50" + recording)
    limits = [
        f"-max_total_time={SECONDS}",
        "-max_len=6000",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-verbosity=0",
    ]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("fuzz.py"), str(seeds), *limits],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert list(tmp_path.glob("crash-*")) == []

"""The unit for systemd, as systemd itself reads it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "packaging" / "paradrop.service"
DOCS = Path(__file__).parents[2] / "docs" / "operators.md"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is missing; install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def test_the_documented_score_is_systemds() -> None:
    told = analyze("security", "--offline=true", str(UNIT))

    score = re.search(r"Overall exposure level for paradrop.service: ([\d.]+)", told.stdout)
    assert score, told
    assert f"exposure level of {score[1]}" in DOCS.read_text()


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    # The command need not be installed here to check the rest.
    unit = tmp_path / "paradrop.service"
    unit.write_text(UNIT.read_text().replace("/opt/paradrop/bin/paradrop", "/bin/true"))

    told = analyze("verify", "--man=no", str(unit))

    assert [line for line in told.stderr.splitlines() if "paradrop.service" in line] == []

"""The temperature as sensors tell it: files of the kernel, which lie where the kernel has them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cases import thorough_but

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to put sensors into /sys")

# Runs in a mount namespace of its own.
PROGRAM = """
import json, sys
from pathlib import Path
from services.common.settings import load_settings
from services.node.adapters.facts import machine_facts
from services.node.domain.diagnosis import diagnose
facts = machine_facts(load_settings({"PARADROP_HOME": sys.argv[1]}))
issues = {issue.id: issue.message for issue in diagnose(facts)}
print(json.dumps([facts.hottest_celsius, issues.get("too-hot")]))
"""


def told(folder: Path, sensors: dict[str, str]) -> list[object]:
    """Returns the hottest temperature and the issue that a node tells which has these sensors."""
    for name, content in sensors.items():
        (folder / "class" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "class" / name).write_text(f"{content}\n")
    (folder / "class").mkdir(exist_ok=True)
    (folder / "home").mkdir()
    script = 'mount --bind "$1/class" /sys/class && exec "$2" -c "$3" "$1/home"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), sys.executable, PROGRAM]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    found: list[object] = json.loads(output)
    return found


CHIP = {"hwmon/hwmon0/name": "k10temp", "hwmon/hwmon0/temp1_label": "Tctl"}
RADIO = {"hwmon/hwmon1/name": "ath10k_hwmon", "hwmon/hwmon1/temp1_input": "61000"}
ZONE = {"thermal/thermal_zone0/type": "cpu-thermal"}


HOT = (CHIP | RADIO | {"hwmon/hwmon0/temp1_input": "96500"}, 96.5, True)
CASES = [
    ({}, None, False),
    (CHIP | RADIO | {"hwmon/hwmon0/temp1_input": "48125"}, 61.0, False),
    HOT,
    # Small ARM boards have this and no other.
    (ZONE | {"thermal/thermal_zone0/temp": "91200"}, 91.2, True),
]


@pytest.mark.parametrize(("sensors", "celsius", "hot"), thorough_but(CASES, HOT))
def test_the_hottest_sensor_is_told(
    tmp_path: Path, sensors: dict[str, str], celsius: float | None, hot: bool
) -> None:
    hottest, issue = told(tmp_path, sensors)

    assert hottest == celsius
    assert (issue is not None) == hot
    assert not hot or f"{celsius:.0f} °C" in str(issue)


def test_a_sensor_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "class/hwmon/hwmon0/temp1_input").mkdir(parents=True)

    assert told(tmp_path, RADIO)[0] == 61.0

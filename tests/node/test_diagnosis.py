"""Each thing that can be wrong is found, and a sound node has nothing."""

from dataclasses import replace

import pytest

from services.node.domain.diagnosis import CHECKS, diagnose
from services.node.domain.diagnosis.facts import Disk, Facts

DAY_S = 86400
NOW_S = 1_800_000_000.0
SOUND = Facts(
    disks=[Disk("/", 100, 50)],
    memory_total_bytes=1000,
    memory_available_bytes=500,
    hottest_celsius=50.0,
    time_s=NOW_S,
    built_s=NOW_S - DAY_S,
    clock_synchronised=True,
    engine_available=True,
    services={"auth": "SERVING"},
    radios=["pci-wifi-0"],
    wanted_radios=["pci-wifi-0"],
    certificate_ends_s=NOW_S + 90 * DAY_S,
    controller="grpcs://c",
    controller_connected=True,
)
WRONG = {
    "disk-nearly-full": ({"disks": [Disk("/", 100, 50), Disk("/data", 100, 9)]}, "warning", "91 %"),
    "disk-read-only": ({"disks": [Disk("/data", 100, 50, read_only=True)]}, "error", "/data"),
    "memory-pressure": ({"memory_available_bytes": 99}, "warning", "10 %"),
    "too-hot": ({"hottest_celsius": 95.0}, "warning", "95 °C"),
    "clock-wrong": ({"time_s": 0.0, "certificate_ends_s": None}, "error", "1970-01-01"),
    "clock-not-synchronised": ({"clock_synchronised": False}, "warning", "clock"),
    "engine-down": ({"engine_available": False}, "error", "engine"),
    "service-down": ({"services": {"chutes": "NOT_SERVING"}}, "error", "chutes (NOT_SERVING)"),
    "radio-standin": ({"wanted_radios": ["standin-wifi-0"]}, "warning", "nothing is on air"),
    "radio-missing": ({"wanted_radios": ["usb-wifi-0"]}, "error", "usb-wifi-0"),
    "certificate-expiring": ({"certificate_ends_s": NOW_S + 3 * DAY_S}, "warning", "3 days"),
    "controller-certificate-expiring": (
        {"controller_certificate_ends_s": NOW_S - 1}, "error", "certificate for its controller has ended",
    ),
    "secrets-readable": ({"readable_secrets": ["/x/key"]}, "error", "/x/key"),
    "settings-ignored": ({"settings_problems": ["f:3: no"]}, "warning", "f:3: no"),
    "controller-unreachable": ({"controller_connected": False}, "warning", "grpcs://c"),
}  # fmt: skip


def test_a_sound_node_has_no_issue() -> None:
    assert diagnose(SOUND) == []
    assert diagnose(Facts()) == []


@pytest.mark.parametrize("issue", WRONG)
def test_each_issue_is_found_alone_with_its_numbers(issue: str) -> None:
    changes, severity, words = WRONG[issue]
    (found,) = diagnose(replace(SOUND, **changes))
    assert (found.id, found.severity) == (issue, severity)
    assert words in found.message
    assert found.suggestion.endswith(".")


def test_every_check_is_tried_here() -> None:
    assert len(WRONG) == len(CHECKS)


def test_errors_come_first_and_grow_from_warnings() -> None:
    facts = replace(SOUND, hottest_celsius=99.0, engine_available=False, disks=[Disk("/", 100, 1)])
    assert [issue.id for issue in diagnose(facts)] == ["disk-nearly-full", "engine-down", "too-hot"]
    assert diagnose(replace(SOUND, certificate_ends_s=NOW_S - 1))[0].severity == "error"

"""Services in processes of their own that meet on a network."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.auth.adapters.authority import Authority
from tests.support.node import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

COMMAND = Path(sys.executable).with_name("paradrop")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for part in ("auth", "node"):
        (tmp_path / "tls" / part).mkdir(parents=True)
    return os.environ | {
        "PARADROP_HOME": str(tmp_path / "home"),
        "PARADROP_AUTH_ADDRESS": f"127.0.0.1:{free_port()}",
        "PARADROP_INTERNAL_TLS": str(tmp_path / "tls" / "auth"),
    }


@pytest.fixture
def auth(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([COMMAND, "serve", "auth"], env=environment, stderr=subprocess.DEVNULL) as process:
        yield process
        process.terminate()


def health(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "health", "auth", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_auth_issues_at_its_first_start_and_ends_to_start_again_with_a_new_one(
    environment: dict[str, str], auth: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    ready = health(environment, "--wait", "30")
    assert ready.stdout == "auth is healthy\n", ready
    assert {file.name for file in (tmp_path / "tls" / "node").iterdir()} == {"ca.pem", "part.pem"}

    unknown = {name: value for name, value in environment.items() if name != "PARADROP_INTERNAL_TLS"}
    assert health(unknown).returncode == 1
    node = environment | {"PARADROP_INTERNAL_TLS": str(tmp_path / "tls" / "node")}
    assert health(node).stdout == "auth is healthy\n"

    # As if it had been renewed.
    Authority(tmp_path / "home" / "auth", lambda: time.time() + 300 * 86400).issue(
        [tmp_path / "tls" / "auth"]
    )
    assert auth.wait(30) == 0


def test_a_part_without_a_certificate_says_what_it_waits_for(environment: dict[str, str]) -> None:
    ran = subprocess.run(
        [COMMAND, "serve", "node"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert "auth issues it when it starts" in ran.stderr

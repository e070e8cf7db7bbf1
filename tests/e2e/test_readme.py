"""What the README tells a newcomer to type works as it stands there."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.support.node import NodeProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
DEFAULT_HOME = "~/.local/state/paradrop"
DEFAULT_TARGET = "127.0.0.1:8080"


@pytest.fixture
def node(tmp_path: Path, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    # As somebody has it who sets nothing.
    node = NodeProcess(
        tmp_path / "home", environment={"PARADROP_ADMIN_PASSWORD": "", "PARADROP_GRACE_S": "3"}
    )
    node.start()
    try:
        yield node
    finally:
        node.stop()


def _snippet(heading: str) -> str:
    readme = (ROOT / "README.md").read_text()
    return re.search(rf"### {heading}\n.*?```sh[^\n]*\n(.*?)```", readme, re.DOTALL)[1]


def test_the_first_chute_with_curl(node: NodeProcess) -> None:
    script = _snippet("With curl")
    assert DEFAULT_TARGET in script
    assert DEFAULT_HOME in script
    script = script.replace(DEFAULT_TARGET, node.target).replace(DEFAULT_HOME, str(node.home))
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr + node.output
    assert '{"change_id":1}' in ran.stdout
    assert '"status":"succeeded"' in ran.stdout
    assert "Hello from a chute" in ran.stdout
    assert "response:200" in ran.stdout
    assert '{"change_id":2}' in ran.stdout
    node.login((node.home / "admin-password").read_text().strip())
    assert node.ended(2)["status"] == "succeeded"


def test_the_banner_names_what_the_readme_promises(node: NodeProcess) -> None:
    deadline = time.monotonic() + 10
    while "Ctrl-C" not in node.output and time.monotonic() < deadline:
        time.sleep(0.05)
    assert f"http://{node.target}" in node.output
    assert str(node.home / "admin-password") in node.output
    assert "paradrop" in node.output
    password = (node.home / "admin-password").read_text().strip()
    assert len(password) >= 20
    assert password not in node.output

"""Every path of the OpenAPI document, with good and with bad input: what comes back is what is documented.

All checks of schemathesis run as they are.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from gateway import descriptors
from tests.e2e import schemathesis_hooks
from tests.fakes.cloud import running_cloud
from tests.support.node import NodeProcess
from tests.support.pulse import running_pulseaudio

pytestmark = [pytest.mark.e2e, pytest.mark.apart]

ROOT = Path(__file__).parents[2]
SEED = "20261125"
# These would end the node's state or the token that the fuzzer works with; they have tests of their own.
NOT_FUZZED = ["/api/v1/config/factoryReset", "/api/v1/password/change", "/api/v1/password/clear"]


@pytest.fixture
def node(tmp_path: Path, engine: docker.DockerClient) -> Iterator[NodeProcess]:
    # A 503 is for what is missing, so nothing is.
    with running_pulseaudio(tmp_path) as address:
        node = NodeProcess(tmp_path / "home", environment={"PULSE_SERVER": address})
        node.start()
        node.login()
        yield node
        assert node.stop() == 0


@pytest.mark.timeout(400)
def test_nothing_answers_otherwise_than_documented(node: NodeProcess, tmp_path: Path) -> None:
    streams = {b.template for b in descriptors.http_bindings(descriptors.load()) if b.server_streaming}
    excluded = [f"--exclude-path={path}" for path in sorted({*NOT_FUZZED, *streams})]
    limits = ["--phases=examples,coverage,fuzzing", "--max-examples=2", "--max-time=120", f"--seed={SEED}"]
    with running_cloud() as controller:
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("st"), "run", f"http://{node.target}/openapi.json"),
                f"--header=Authorization: Bearer {node.token}",
                *limits,
                "--no-color",
                "--continue-on-failure",
                "--request-timeout=20",
                "--warnings=off",
                *excluded,
            ],
            cwd=tmp_path,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": schemathesis_hooks.__name__,
                schemathesis_hooks.CONTROLLER: controller.address,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]

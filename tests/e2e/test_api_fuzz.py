"""Every path of the OpenAPI document, with good and with bad input: what comes back is what is documented."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import descriptors
from tests.support.node import NodeProcess

pytestmark = [pytest.mark.e2e, pytest.mark.apart]

CONFIG = Path(__file__).with_name("schemathesis.toml")
SEED = "20261125"
# These would end the node's state or the token that the fuzzer works with; they have tests of their own.
NOT_FUZZED = ["/api/v1/config/factoryReset", "/api/v1/password/change", "/api/v1/password/clear"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    # Without an engine changes wait instead of running: this is about the interface.
    node = NodeProcess(tmp_path / "home", environment={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    node.start()
    node.login()
    yield node
    assert node.stop() == 0


@pytest.mark.timeout(400)
def test_nothing_answers_otherwise_than_documented(node: NodeProcess, tmp_path: Path) -> None:
    streams = {b.template for b in descriptors.http_bindings(descriptors.load()) if b.server_streaming}
    excluded = [f"--exclude-path={path}" for path in sorted({*NOT_FUZZED, *streams})]
    run = [Path(sys.executable).with_name("st"), f"--config-file={CONFIG}", "run", "--no-color"]
    limits = ["--phases=examples,coverage,fuzzing", "--max-examples=2", "--max-time=120", f"--seed={SEED}"]
    done = subprocess.run(
        [
            *run,
            f"http://{node.target}/openapi.json",
            f"--header=Authorization: Bearer {node.token}",
            *limits,
            "--continue-on-failure",
            "--request-timeout=20",
            "--warnings=off",
            *excluded,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]

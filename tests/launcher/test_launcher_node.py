"""The whole node, started, stopped and killed as it happens to it in the field."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.launcher.lifetime import ECHO_S
from tests.support.node import NodeProcess, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

COMMAND = Path(sys.executable).with_name("paradrop")
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
PATIENCE_S = 20.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path / "home")
    try:
        yield node
    finally:
        if node.process is not None:
            node.stop()


def until(condition: Callable[[], object]) -> None:
    """Waits for something outside this process that tells nobody when it happens."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def announced(node: NodeProcess) -> str:
    until(lambda: "Ctrl-C stops it." in node.output)
    return node.output


def envoy_of(node: NodeProcess) -> psutil.Process | None:
    assert node.process is not None
    children = psutil.Process(node.process.pid).children()
    return next((child for child in children if child.name() == "envoy"), None)


def run_again(node: NodeProcess, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a second node to its end, which is expected to be soon."""
    return subprocess.run(
        [COMMAND, "run"],
        env=os.environ | {"PARADROP_HOME": str(node.home), "PARADROP_LISTEN": node.target} | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_one_banner_tells_what_there_is_to_know(node: NodeProcess) -> None:
    node.environment = {"PARADROP_ADMIN_PASSWORD": ""}
    node.start()
    banner = announced(node)
    password_file = node.home / "admin-password"
    password = password_file.read_text().strip()
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    assert len(password) >= 16
    assert f"http://{node.target}" in banner
    assert f"in {password_file}" in banner
    assert password not in banner
    assert banner.count("it started in") == 1
    node.login(password)


def test_a_given_password_is_honoured_and_written_nowhere(node: NodeProcess) -> None:
    node.environment = {"PARADROP_ADMIN_PASSWORD": "a:given/password"}
    node.start()
    banner = announced(node)
    node.login("a:given/password")
    assert "as given in PARADROP_ADMIN_PASSWORD" in banner
    assert "a:given/password" not in node.output
    assert not (node.home / "admin-password").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_that_was_started(node: NodeProcess, number: signal.Signals) -> None:
    node.start()
    assert node.process is not None
    family = psutil.Process(node.process.pid).children(recursive=True)
    assert [process.name() for process in family] == ["envoy"]
    node.process.send_signal(number)
    assert node.process.wait(PATIENCE_S) == 0
    assert not [process for process in family if process.is_running()]
    assert not [path for path in node.home.rglob("*") if path.is_socket()]


def test_a_signal_while_it_starts_ends_it_as_well(node: NodeProcess) -> None:
    node.home.mkdir()
    process = subprocess.Popen(
        [COMMAND, "run", "--log-level", "debug"],
        env=os.environ | {"PARADROP_HOME": str(node.home), "PARADROP_LISTEN": node.target},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if '"auth"' in line and "started" in line:
            process.terminate()
            break
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "it started in" not in output
    assert "Traceback" not in errors
    assert not [path for path in node.home.rglob("*") if path.is_socket()]


def test_a_second_signal_ends_it_on_the_spot(node: NodeProcess) -> None:
    node.start()
    envoy = envoy_of(node)
    assert node.process is not None
    assert envoy is not None
    envoy.suspend()  # It will not answer when it is asked to end.
    node.process.send_signal(signal.SIGINT)
    until(lambda: "Stopping" in node.output)
    # One that comes at once is the same one, passed on by whoever started the node.
    node.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        node.process.wait(2 * ECHO_S)
    node.process.send_signal(signal.SIGINT)
    assert node.process.wait(2) == 130
    until(lambda: not envoy.is_running())


def test_a_second_node_on_the_same_state_is_refused(node: NodeProcess) -> None:
    node.start()
    second = run_again(node, PARADROP_LISTEN=f"127.0.0.1:{free_port()}")
    assert second.returncode == 1
    assert re.fullmatch(rf"Error: Another node \(process \d+\) runs with .*{node.home}.*\n", second.stderr)
    assert node.request("GET", "/healthz").status == 200


def test_a_taken_port_is_one_clear_line(node: NodeProcess, tmp_path: Path) -> None:
    node.start()
    second = run_again(node, PARADROP_HOME=str(tmp_path / "other-home"))
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert node.target in second.stderr
    assert "PARADROP_LISTEN" in second.stderr
    assert node.request("GET", "/healthz").status == 200


def test_a_part_that_cannot_start_is_one_clear_line(node: NodeProcess) -> None:
    (node.home / "auth").mkdir(parents=True)
    (node.home / "auth" / "auth.sqlite3").write_bytes(b"not a database" * 100)
    broken = run_again(node)
    assert broken.returncode == 1
    assert re.fullmatch(r"Error: auth does not start: /.*auth\.sqlite3 cannot be used .*\n", broken.stderr)
    assert not [path for path in node.home.rglob("*") if path.is_socket()]


def test_a_dispensable_part_that_cannot_start_is_reported(node: NodeProcess) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    node.environment = {"PARADROP_AIRSHARK_ADDRESS": address}
    node.home.mkdir()
    environment = os.environ | {"PARADROP_HOME": str(node.home), "PARADROP_LISTEN": node.target}
    with node.output_file.open("ab") as output:
        node.process = subprocess.Popen(
            [COMMAND, "run"], env=environment | node.environment, stdout=output, stderr=output
        )
    with taken:
        banner = announced(node)
        assert "runs, degraded" in banner
        assert f"airshark: does not start: cannot listen at {address}" in banner
        status = subprocess.run(
            [COMMAND, "status"],
            env=environment | node.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert status.returncode == 1


def test_without_an_engine_the_node_serves_and_says_so(node: NodeProcess) -> None:
    node.environment = NO_ENGINE
    node.home.mkdir()
    environment = os.environ | {"PARADROP_HOME": str(node.home), "PARADROP_LISTEN": node.target} | NO_ENGINE
    with node.output_file.open("ab") as output:
        node.process = subprocess.Popen([COMMAND, "run"], env=environment, stdout=output, stderr=output)
    banner = announced(node)
    assert "Degraded" in banner
    assert "Docker engine: no Docker engine answers at unix:///nowhere/docker.sock" in banner
    node.login((node.home / "admin-password").read_text().strip())
    assert node.request("GET", "/api/v1/chutes/").status in (200, 503)


def test_after_a_kill_it_starts_again_at_once(node: NodeProcess) -> None:
    node.start()
    envoy = envoy_of(node)
    assert envoy is not None
    node.kill()
    until(lambda: not envoy.is_running())
    node.start()
    node.login()
    assert node.stop() == 0


def test_envoy_comes_back_when_it_dies(node: NodeProcess) -> None:
    node.start()
    for _ in range(2):
        envoy = envoy_of(node)
        assert envoy is not None
        envoy.kill()
        until(lambda dead=envoy: (new := envoy_of(node)) is not None and new != dead)  # type: ignore[misc]
        until(lambda: healthy(node))
    assert "Envoy ended and is started again" in node.output


def healthy(node: NodeProcess) -> bool:
    try:
        return node.request("GET", "/healthz").status == 200
    except OSError:
        return False


def test_status_of_a_healthy_node(node: NodeProcess) -> None:
    node.start()
    status = subprocess.run(
        [COMMAND, "status"],
        env=os.environ | {"PARADROP_HOME": str(node.home), "PARADROP_LISTEN": node.target},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is healthy" in status.stdout, status
    assert status.returncode == 0


def test_health_of_each_part(node: NodeProcess) -> None:
    def health(part: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PARADROP_HOME": str(node.home), "PARADROP_LISTEN": node.target}
        command = [COMMAND, "health", part]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    node.start()
    for part in ("auth", "network", "airshark", "chutes", "node", "bridge", "gateway"):
        done = health(part)
        assert (done.returncode, done.stdout) == (0, f"{part} is healthy\n")
    (node.home / "run" / "airshark.sock").unlink()
    done = health("airshark")
    assert (done.returncode, "its socket was deleted" in done.stdout) == (1, True)
    node.stop()
    for part in ("auth", "bridge", "gateway"):
        done = health(part)
        assert done.returncode == 1
        assert "does not answer" in done.stdout


def test_health_waits_for_a_part_that_is_about_to_be_well(node: NodeProcess) -> None:
    environment = os.environ | {"PARADROP_HOME": str(node.home), "PARADROP_LISTEN": node.target}
    command = [COMMAND, "health", "auth", "--wait", "30"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1.5)
        node.start()
        assert waiting.wait(30) == 0
        assert waiting.stdout.read() == "auth is healthy\n"

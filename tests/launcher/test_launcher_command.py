"""The command as a person types it."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.cases import thorough_but
from tests.support.node import free_port

COMMAND = Path(sys.executable).with_name("paradrop")


def paradrop(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=os.environ | {"PARADROP_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


HELP = [["--help"], ["run", "--help"], ["serve", "--help"], ["status", "-h"]]


@pytest.mark.parametrize("arguments", thorough_but(HELP, ["run", "--help"]))
def test_help(tmp_path: Path, arguments: list[str]) -> None:
    done = paradrop(tmp_path, *arguments)
    assert done.returncode == 0
    assert "Usage: paradrop" in done.stdout


def test_version(tmp_path: Path) -> None:
    assert paradrop(tmp_path, "--version").stdout.startswith("paradrop, version 1.")


def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path) -> None:
    for command in ("run", "status"):
        done = paradrop(tmp_path, command, PARADROP_LISTEN="nowhere")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "PARADROP_LISTEN" in done.stderr


@pytest.mark.parametrize("home", thorough_but(["/proc/paradrop", "/dev/null"], "/dev/null"))
def test_a_state_folder_that_cannot_be_is_one_line_that_says_what_to_do(tmp_path: Path, home: str) -> None:
    done = paradrop(tmp_path, "run", PARADROP_HOME=home, PARADROP_LISTEN=f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: The folder {home} cannot be made (")
    assert "set PARADROP_HOME to" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_log_of_no_service_is_a_usage_error_that_names_the_services(tmp_path: Path) -> None:
    done = paradrop(tmp_path, "logs", "--service", "chuets")
    assert done.returncode == paradrop(tmp_path, "logs", "--level", "loud").returncode == 2
    assert "'chuets' is not one of auth, network, airshark, chutes, node, gateway" in done.stderr


@pytest.mark.thorough
def test_a_node_does_not_run_because_another_s_gateway_answers(tmp_path: Path) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"services": {"chutes": "SERVING"}}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever).start()
        done = paradrop(tmp_path, "status", PARADROP_LISTEN=f"127.0.0.1:{server.server_port}")
        server.shutdown()
    assert (done.returncode, "is not running" in done.stdout) == (3, True)
    assert "gateway   ok" in done.stdout


@pytest.mark.thorough
def test_status_of_nothing(tmp_path: Path) -> None:
    done = paradrop(tmp_path, "status", "--json", PARADROP_LISTEN="127.0.0.1:9")
    assert done.returncode == 3
    status = json.loads(done.stdout)
    assert status["state"] == "not running"
    assert {part["part"] for part in status["parts"] if not part["ok"]} >= {"auth", "chutes", "gateway"}
    table = paradrop(tmp_path, "status", PARADROP_LISTEN="127.0.0.1:9")
    assert table.returncode == 3
    assert "is not running" in table.stdout


@pytest.mark.thorough
def test_one_service_alone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [COMMAND, "serve", "airshark"],
        env=os.environ | {"PARADROP_HOME": str(tmp_path / "home")},
        stderr=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stderr is not None
        assert "serving" in served.stderr.readline()
        done = paradrop(tmp_path / "home", "status", "--json", PARADROP_LISTEN="127.0.0.1:9")
        served.terminate()
        assert served.wait(10) == 0
    up = {part["part"] for part in json.loads(done.stdout)["parts"] if part["ok"]} - {"engine"}
    assert (up, done.returncode) == ({"airshark"}, 1)


def test_the_command_is_there_at_once(tmp_path: Path) -> None:
    began_s = time.monotonic()
    paradrop(tmp_path, "--help")
    assert time.monotonic() - began_s < 2

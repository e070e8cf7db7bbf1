"""What can be known before any service starts."""

import json
import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from services.common.errors import Unavailable
from services.common.settings import SettingError, load_settings
from services.launcher import processes
from services.launcher.engine import ask, last_words
from services.launcher.errors import StartError, explain
from services.launcher.ports import check_port


def test_a_taken_port_is_named_with_the_setting_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = replace(
            load_settings({"PARADROP_HOME": str(tmp_path)}), listen_port=other.getsockname()[1]
        )
        with pytest.raises(StartError, match=r"127\.0\.0\.1:\d+ .*in use.*PARADROP_LISTEN"):
            check_port(settings)
    check_port(settings)


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    settings = load_settings({"PARADROP_HOME": str(tmp_path), "PARADROP_LISTEN": "192.0.2.1:8080"})
    with pytest.raises(StartError, match=r"192\.0\.2\.1:8080.*PARADROP_LISTEN"):
        check_port(settings)


def test_an_explanation_is_one_line() -> None:
    assert explain(StartError("auth does\nnot start")) == "auth does not start"
    assert explain(SettingError("wrong")) == explain(Unavailable("wrong")) == "wrong"
    assert explain(OSError(13, "Permission denied", "/x")) == "/x: Permission denied"
    assert explain(OSError(28, "No space left on device")) == "No space left on device"
    assert explain(ExceptionGroup("several", [KeyError("a"), KeyError("b")])) == "KeyError: 'a'"
    assert explain(ValueError()) == "ValueError"


def test_an_engine_that_is_not_there_is_reported(tmp_path: Path) -> None:
    report = ask(f"unix://{tmp_path}/docker.sock")
    assert report.version == ""
    assert f"no Docker engine answers at unix://{tmp_path}/docker.sock" in report.problem
    assert "scheme" in ask("ssh://somewhere:22").problem


def test_the_last_words_are_the_failure_if_there_is_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_words(log) == "nothing was logged"
    log.write_text("one\ntwo\n\n")
    assert last_words(log) == "two"
    log.write_text("failed to start daemon: no iptables\nbye\n")
    assert last_words(log) == "failed to start daemon: no iptables"


def test_a_process_is_recognised_by_more_than_its_number(tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    assert processes.recall(note) is None
    me = psutil.Process()
    processes.remember(note, me)
    assert processes.recall(note) == me
    note.write_text(json.dumps({"pid": me.pid, "birth": processes.birth(1)}))
    assert processes.recall(note) is None
    note.write_text("not json")
    assert processes.recall(note) is None


def test_a_process_that_has_ended_is_not_recognised(tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    with subprocess.Popen(["sleep", "1000"]) as child:
        processes.remember(note, psutil.Process(child.pid))
        assert processes.recall(note) == psutil.Process(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # Dead, and not yet buried.
        assert processes.recall(note) is None
    assert processes.recall(note) is None

"""Children end with their parent, when they are asked to, and when they do not listen."""

import asyncio
import signal
import subprocess
import sys
import time

import psutil
import pytest

from services.common.children import end, tied


@pytest.mark.parametrize(
    ("trap", "ends_by"), [("trap - TERM", signal.SIGTERM), ("trap '' TERM", signal.SIGKILL)]
)
async def test_a_child_is_asked_and_then_forced(trap: str, ends_by: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"{trap}; echo ready; while true; do sleep 0.05; done", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await end(process, patience_s=0.3)
    assert process.returncode == -ends_by
    # One that has ended is left alone.
    await end(process, patience_s=0.3)


def test_a_tied_child_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, time; from services.common.children import tied;"
            "print(subprocess.Popen(tied(['sleep', '60'])).pid, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    while "sleep" not in child.name():
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline_s = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_without_the_tool_the_command_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert tied(["sleep", "1"]) == ["sleep", "1"]
